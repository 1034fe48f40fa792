"""A table of predictions holds the newest line of each slide, whenever it is written, and loses no earlier answer."""

import csv
import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrmil.errors import OverwriteError
from lrmil.io import atomic
from lrmil.prediction import table as prediction_table
from lrmil.prediction.table import PredictionRow, PredictionTable, table_of
from lrmil.tasks.classification import Classification

CLASSES = Classification(("no", "yes"))
NAMES = st.sampled_from(["a", "b", "c", "=d", "é, \n"])
ROWS = st.builds(
    PredictionRow,
    slide_id=NAMES,
    status=st.sampled_from(["ok", "uncertain", "failed", "new"]),
    label=st.sampled_from(["", "no", "yes"]),
    probabilities=st.sampled_from([{}, {"no": 0.25, "yes": 0.75}]),
    model=st.sampled_from(["", "ab" * 32]),
    message=st.text(max_size=5),
)


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def answer(name: str, *, model: str = "ab" * 32, yes: float = 0.75) -> PredictionRow:
    return PredictionRow(name, "ok", "yes", {"no": 1 - yes, "yes": yes}, model=model)


@settings(max_examples=60, deadline=None)
@given(known=st.lists(ROWS, max_size=6), added=st.lists(ROWS, max_size=8), pause=st.sampled_from([-1.0, 1e12]))
def test_it_holds_what_a_plain_list_would(known: list[PredictionRow], added: list[PredictionRow], pause: float) -> None:
    expected = list(known)
    for row in added:
        places = [place for place, one in enumerate(expected) if one.slide_id == row.slide_id]
        first = places[0] if places else len(expected)
        expected[first : first + 1] = [row]
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(prediction_table, "PAUSE", pause)
        path = Path(name) / "list.csv"
        table = PredictionTable(path, CLASSES, rows=known)
        for row in added:
            table.add(row)
        table.write()
        assert path.read_bytes() == table_of(expected, CLASSES).encode("utf-8", errors="backslashreplace")


@pytest.mark.parametrize(("pause", "writings"), [(-1.0, 51), (1e12, 1)])
def test_it_is_written_after_a_pause_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pause: float, writings: int
) -> None:
    written: list[Path] = []
    monkeypatch.setattr(prediction_table, "PAUSE", pause)
    monkeypatch.setattr(atomic, "write_text", lambda path, *_: written.append(path))
    table = PredictionTable(tmp_path / "list.csv", CLASSES)
    for number in range(50):
        table.add(answer(str(number)))
    table.write()
    assert written == [tmp_path / "list.csv"] * writings


@pytest.mark.parametrize("begins", [True, False])
def test_a_copy_is_kept_before_an_answer_is_replaced_and_only_then(
    tmp_path: Path, begins: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the table begins with given lines."""
    path = tmp_path / "list.csv"
    known = [answer("a"), PredictionRow("b", "failed", message="broken"), PredictionRow("c", "new")]
    for row in known:
        (tmp_path / f"{row.slide_id}.json").touch()  # its answer
    first = PredictionTable(path, CLASSES, rows=known)
    first.write()
    before = path.read_bytes()
    table = PredictionTable(path, CLASSES, model="ab" * 32, rows=known if begins else None)
    for row in (answer("a"), answer("b"), answer("c"), answer("d")):
        table.add(row)
    assert not (tmp_path / "list-1.csv").exists()
    table.write()
    written = path.read_bytes()
    with caplog.at_level(logging.WARNING):
        table.add(answer("a", yes=0.5))
        table.add(answer("d", yes=0.5))
    assert (tmp_path / "list-1.csv").read_bytes() == written != before and len(caplog.messages) == 1
    assert not (tmp_path / "list-2.csv").exists()


@pytest.mark.parametrize(("model", "copies"), [("ab" * 32, 0), ("cd" * 32, 1)])
def test_a_table_that_begins_anew_keeps_the_lines_of_another_model(tmp_path: Path, model: str, copies: int) -> None:
    path = tmp_path / "list.csv"
    PredictionTable(path, CLASSES, rows=[answer("a"), PredictionRow("b", "failed")]).write()
    PredictionTable(path, CLASSES, model=model, rows=[PredictionRow("a", "other model")]).write()
    assert len(list(tmp_path.glob("list-*.csv"))) == copies
    assert [line["status"] for line in lines_of(path)] == ["other model"]


@pytest.mark.parametrize("kind", ["text", "folder", "link"])
def test_what_is_no_table_is_not_replaced_by_a_list(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "list.csv", tmp_path / "other"
    other.write_text("the user's")
    if kind == "text":
        path.write_text("the user's")
    elif kind == "folder":
        path.mkdir()
        (path / "notes.txt").write_text("the user's")
    else:
        path.symlink_to(other)
    with pytest.raises(OverwriteError):
        PredictionTable(path, CLASSES, rows=[answer("a")])
    assert other.read_text() == "the user's"
