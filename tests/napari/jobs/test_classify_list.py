"""A list is classified by the core's loop: one table written now and then, one failed row for a bad slide, resumed."""

import csv
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.components import ViewerModel

from lrmil.errors import RunError
from lrmil.io import atomic
from lrmil.models.bundle import Bundle, load_bundle
from lrmil.patches.tissue import segment_tissue
from lrmil.prediction import one
from lrmil.prediction import table as prediction_table
from lrmil.prediction.files import read_prediction, read_tissue
from lrmil.slides.discovery import find_slides
from lrmil.slides.opening import open_slide
from lrmil.slides.slide import Slide
from lrmil.slides.source import SlideSource
from lrmil.steps import Step, last
from napari_lrmil.docks.worklist import Worklist
from napari_lrmil.jobs.classify_list import classify_list, open_entry
from napari_lrmil.layers import averaged
from napari_lrmil.session.session import Session
from napari_lrmil.state.answers import answers_of, case_folder, table_file
from napari_lrmil.state.known_models import note_model
from napari_lrmil.state.messages import REMEDY_HERE
from napari_lrmil.state.painted_mask import PaintedMask
from napari_lrmil.state.shown import shown_steps
from napari_lrmil.state.worklist import Entry, entries_of, scan
from napari_lrmil.state.worklist_memory import list_file, read_memory
from napari_lrmil.widgets.worklist.line import SLIDE, STATUS
from support.runs import stamp_of
from support.slides import write_pyramid

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

Finish = Callable[[Session], None]
Written = Counter[str]
PATIENCE = 60_000
TISSUE = np.clip(np.random.default_rng(0).normal((200, 130, 180), 25, (1024, 1024, 3)), 1, 255).astype(np.uint8)
LEFT = ".lrmil-0123456789abcdef.tmp"


@pytest.fixture(scope="module")
def bundle(model_folder: Path) -> Bundle:
    return load_bundle(model_folder)


@pytest.fixture
def folder(cohort: Path, tmp_path: Path) -> Path:
    """A broken file, then three slides."""
    folder = tmp_path / "slides"
    folder.mkdir()
    (folder / "broken.svs").write_bytes(b"x" * 100)
    for name in ("demo-000", "demo-001", "demo-002"):
        shutil.copy(cohort / f"slides/{name}.ome.tif", folder)
    return folder


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    """How often the files of lists were written, by their endings."""
    counts, real = Counter[str](), atomic.write_text

    def write_text(path: Path, *arguments: object, **options: object) -> None:
        if path.parent.name == "worklists":
            counts[path.suffix] += 1
        real(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(atomic, "write_text", write_text)
    return counts


@pytest.fixture
def dock(
    viewer: ViewerModel, session: Session, model_folder: Path, bundle: Bundle, qtbot: "QtBot"
) -> Callable[[Path, int], Worklist]:
    """Make the dock and wait until so many slides of a folder are listed."""

    def make(folder: Path, count: int) -> Worklist:
        session.bundle, session.model_folder = bundle, model_folder
        worklist = Worklist(viewer)
        qtbot.addWidget(worklist)
        worklist.open_folder(folder)
        qtbot.waitUntil(lambda: len(worklist.table.lines) == count, timeout=PATIENCE)
        return worklist

    return make


def classify(folder: Path, results: Path, bundle: Bundle, **options: float) -> dict[str, Entry]:
    """Classify a folder as if nothing had been read of it."""
    entries = entries_of(find_slides(folder))
    steps = classify_list(entries, entries, bundle, folder, results, device="cpu", **options)
    return {entry.slide_id: entry for entry in last(steps)}


def table(results: Path, folder: Path) -> list[dict[str, str]]:
    with list_file(results, folder, ".csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def failures(results: Path, folder: Path) -> list[str]:
    return sorted(name.rsplit("-", 1)[0] for name in read_memory(list_file(results, folder, ".json")).failures)


def states(worklist: Worklist) -> dict[str, str]:
    return {line.text(SLIDE): line.text(STATUS) for line in worklist.table.lines}


def test_the_table_of_200_slides_is_not_written_once_a_slide(
    dock: Callable[[Path, int], Worklist], tmp_path: Path, written: Written, finish: Finish
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(200):
        (folder / f"s{number:03}.svs").write_bytes(b"x")
    worklist = dock(folder, 200)
    begun = time.monotonic()
    worklist.classify_all()
    finish(worklist.session)
    seconds = time.monotonic() - begun
    results = worklist.session.preferences.results
    for ending in (".csv", ".json"):
        assert 1 <= written[ending] <= min(2 + seconds / prediction_table.PAUSE, 199)
    assert [row["status"] for row in table(results, folder)] == ["failed"] * 200
    assert len(failures(results, folder)) == 200 and set(states(worklist).values()) == {"failed"}


@pytest.mark.parametrize("count", [1, 7, 40])
def test_what_is_quick_is_written_once_however_long_the_list(
    count: int, bundle: Bundle, tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_table, "PAUSE", 1e12)
    (tmp_path / "slides").mkdir()
    for number in range(count):
        (tmp_path / f"slides/s{number}.svs").write_bytes(b"x")
    classify(tmp_path / "slides", tmp_path / "results", bundle)
    assert written == {".csv": 1, ".json": 1}
    assert len(table(tmp_path / "results", tmp_path / "slides")) == count


def test_a_cancelled_list_keeps_what_is_finished_and_is_resumed(
    dock: Callable[[Path, int], Worklist],
    folder: Path,
    finish: Finish,
    qtbot: "QtBot",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worklist = dock(folder, 4)
    session, results = worklist.session, worklist.session.preferences.results
    cancelled, real = Event(), one.classify_steps

    def waiting(slide: Slide, *arguments: object, **options: object) -> Iterator[Step[object]]:
        if slide.slide_id == "demo-001":
            assert cancelled.wait(PATIENCE / 1000)
        yield from real(slide, *arguments, **options)  # type: ignore[arg-type]

    def stop(step: Step[object]) -> None:
        if states(worklist)["demo-000"] == "ok":
            session.jobs.cancel()
            cancelled.set()

    monkeypatch.setattr(one, "classify_steps", waiting)
    session.jobs.stepped.connect(stop)
    worklist.classify_all()
    finish(session)
    session.jobs.stepped.disconnect(stop)
    stopped = states(worklist)
    assert stopped == {"broken": "failed", "demo-000": "ok", "demo-001": "new", "demo-002": "new"}
    assert {row["slide_id"]: row["status"] for row in table(results, folder)} == stopped
    assert failures(results, folder) == ["broken"]
    assert not [path for path in results.rglob("*") if atomic.LEFTOVER.fullmatch(path.name)]
    card = case_folder(results, "demo-000", folder / "demo-000.ome.tif") / "demo-000.json"
    before = stamp_of(card)
    worklist.read_again()  # as at the next start
    qtbot.waitUntil(lambda: not worklist.scanning, timeout=PATIENCE)
    worklist.classify_all()
    finish(session)
    expected = {"broken": "failed", "demo-000": "ok", "demo-001": "ok", "demo-002": "ok"}
    assert states(worklist) == expected and stamp_of(card) == before
    assert {row["slide_id"]: row["status"] for row in table(results, folder)} == expected
    assert not list((results / "worklists").glob("*-1.csv")), "no answer was replaced"


def test_a_list_that_is_closed_before_its_first_slide_can_be_classified_at_once(
    folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    entries = entries_of(find_slides(folder))
    steps = classify_list(entries, entries, bundle, folder, tmp_path / "results", device="cpu")
    first = next(iter(steps))
    assert first.result is not None and first.result[0].status == "running"
    steps.close()  # type: ignore[attr-defined]
    files_of_list = [list_file(tmp_path / "results", folder, ending) for ending in (".csv", ".json")]
    assert not any(path.exists() for path in files_of_list)
    assert [one.status for one in classify(folder, tmp_path / "results", bundle).values()] == ["failed", *["ok"] * 3]


def test_one_list_is_classified_once_at_a_time_and_another_list_beside_it(
    folder: Path, cohort: Path, bundle: Bundle, tmp_path: Path
) -> None:
    results, other = tmp_path / "results", tmp_path / "other"
    other.mkdir()
    shutil.copy(cohort / "slides/demo-010.ome.tif", other)
    entries = entries_of(find_slides(folder))
    running: Iterator[Step[list[Entry]]] = classify_list(entries, entries, bundle, folder, results, device="cpu")
    next(running)
    with pytest.raises(RunError, match="Another process is writing the table slides-"):
        classify(folder, results, bundle)
    assert classify(other, results, bundle)["demo-010"].status == "ok"
    running.close()  # type: ignore[attr-defined]


def test_leftovers_of_a_killed_window_go_and_those_of_other_lists_stay(
    folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    mine = case_folder(results, "demo-000", folder / "demo-000.ome.tif") / f".demo-000{LEFT}"
    tables = [list_file(results, place, ".csv") for place in (folder, tmp_path / "another")]
    own, others = (path.with_name(f".{path.name}{LEFT}") for path in tables)
    kept = mine.with_name(".demo-000.tmp")
    for path in (mine, kept, own, others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    classify(folder, results, bundle)
    assert [path.exists() for path in (mine, kept, own, others)] == [False, True, False, True]


@pytest.mark.parametrize("scanned", [False, True])
def test_um_per_px_given_by_hand_count_also_before_the_folder_is_read(
    bundle: Bundle, tmp_path: Path, scanned: bool
) -> None:
    folder, results = tmp_path / "slides", tmp_path / "results"
    folder.mkdir()
    path = write_pyramid(folder / "bare.tif", TISSUE, None)
    assert classify(folder, results, bundle)["bare"].message.endswith(REMEDY_HERE)
    assert table(results, folder)[0]["message"].endswith(REMEDY_HERE), "the table beside says what to do here"
    last(shown_steps(SlideSource("bare", path, 0.5), bundle, results, "cpu", None, 0.0))
    card = case_folder(results, "bare", path) / "bare.json"
    before = stamp_of(card)
    if scanned:
        last(scan(folder, results, bundle.sha256))
    assert classify(folder, results, bundle)["bare"].status == "ok" and stamp_of(card) == before
    assert table(results, folder)[0]["mpp"] == "0.5" and failures(results, folder) == []


def test_two_slides_of_one_name_have_a_line_each(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    (folder / "below").mkdir()
    shutil.copy(folder / "demo-000.ome.tif", folder / "below" / "demo-000.tif")
    classify(folder, tmp_path / "results", bundle)
    found = [(row["slide_id"], row["status"], row["reason"]) for row in table(tmp_path / "results", folder)]
    assert found.count(("demo-000", "failed", "name")) == 2 and len(found) == 5
    assert sum(status == "ok" for _, status, _ in found) == 2


def contents(folder: Path, *names: str) -> dict[str, bytes]:
    """The files whose paths have one of the names in them."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    found = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    return {path: content for path, content in found.items() if any(name in path for name in names)}


def test_the_answers_of_two_models_lie_beside_each_other(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    results, other = tmp_path / "results", replace(bundle, sha256="cd" * 32)
    note_model(results, other.sha256, tmp_path / "stain study/model")
    classify(folder, results, bundle)
    first = contents(results, "demo-", ".csv")
    assert len(first) > 10
    second = classify(folder, results, other)
    assert [one.status for one in second.values()] == ["failed", "ok", "ok", "ok"]
    after = contents(results, "demo-", ".csv")
    assert {path: after[path] for path in first} == first, "nothing of the first model is touched"
    cards = [path for path in after if path.endswith("/demo-000.json")]
    assert len(cards) == 2 and "/stain-study-model-cdcdcdcdcdcd/" in cards[1]
    classify(folder, results, bundle)
    classify(folder, results, other)
    assert contents(results, "demo-", ".csv") == after, "both are current"

    tables = [table_file(results, folder, one.sha256) for one in (bundle, other)]
    assert tables[0] == list_file(results, folder, ".csv")
    for path, model in zip(tables, (bundle, other), strict=True):
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert {row["model"] for row in rows} == {model.sha256} and len(rows) == 4
    memory = json.loads(list_file(results, folder, ".json").read_text())
    assert memory["bundle_sha256"] == other.sha256 and len(memory["failures"]) == 2
    for model in (bundle, other):
        entries = {entry.slide_id: entry for step in scan(folder, results, model.sha256) for entry in step.result or []}
        assert [entry.status for entry in entries.values()] == ["failed", "ok", "ok", "ok"]
        assert set(entries["demo-000"].models) == {bundle.sha256, other.sha256}


def test_a_slide_that_fails_with_one_model_keeps_the_answer_of_the_other(
    folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    classify(folder, results, bundle)
    before = contents(results, "demo-")
    picky = replace(bundle, sha256="cd" * 32, mpp=0.01)  # no slide has such pixels
    assert {one.status for one in classify(folder, results, picky).values()} == {"failed"}
    assert contents(results, "demo-") == before
    entries = {
        entry.slide_id: entry.status for step in scan(folder, results, bundle.sha256) for entry in step.result or []
    }
    assert entries == {"broken": "failed", "demo-000": "ok", "demo-001": "ok", "demo-002": "ok"}


class TestPaintedMask:
    """A mask that lies beside an answer is used again, and its answer counts as long as the mask stays as it is."""

    @pytest.fixture
    def painted(self, folder: Path, bundle: Bundle, tmp_path: Path) -> Path:
        """The results folder of demo-000, classified in the window with a mask."""
        path, results = folder / "demo-000.ome.tif", tmp_path / "results"
        with open_slide(path) as slide:
            mask, fingerprint = segment_tissue(slide), slide.fingerprint
        half = replace(mask, array=mask.array & (np.arange(mask.array.shape[1]) < mask.array.shape[1] // 2))
        last(shown_steps(SlideSource("demo-000", path), bundle, results, "cpu", PaintedMask(half, fingerprint), 0.0))
        return case_folder(results, "demo-000", path)

    def test_it_is_skipped_while_it_is_the_same(
        self, painted: Path, folder: Path, bundle: Bundle, tmp_path: Path
    ) -> None:
        before = stamp_of(painted / "demo-000.json")
        for _ in range(2):
            assert classify(folder, tmp_path / "results", bundle)["demo-000"].status == "ok"
            assert stamp_of(painted / "demo-000.json") == before

    def test_another_model_uses_the_mask_again(
        self, painted: Path, folder: Path, bundle: Bundle, tmp_path: Path
    ) -> None:
        results, path, before = tmp_path / "results", folder / "demo-000.ome.tif", contents(painted, "demo")
        for _ in range(2):  # the second time it lies beside its own answer
            classify(folder, results, replace(bundle, sha256="cd" * 32))
            out = answers_of(results, "demo-000", path)["cd" * 32]
            answer, masks = read_prediction(out, "demo-000"), [read_tissue(one, "demo-000") for one in (out, painted)]
            assert answer is not None and answer.tissue_source == "given"
            assert masks[0] is not None and masks[1] is not None and masks[0].equals(masks[1])
        assert {name: contents(painted, "demo")[name] for name in before} == before

    def test_a_changed_mask_or_slide_or_bound_is_computed_again(
        self, painted: Path, folder: Path, bundle: Bundle, tmp_path: Path
    ) -> None:
        before = stamp_of(painted / "demo-000.json")
        uncertain = classify(folder, tmp_path / "results", bundle, uncertain_below=1.0)["demo-000"]
        bounded = stamp_of(painted / "demo-000.json")
        assert uncertain.status == "uncertain" and bounded != before
        shutil.copy(folder / "demo-002.ome.tif", folder / "demo-000.ome.tif")
        classify(folder, tmp_path / "results", bundle, uncertain_below=1.0)
        assert stamp_of(painted / "demo-000.json") != bounded
        assert read_tissue(painted, "demo-000") is not None


def test_a_slide_of_the_list_without_coarse_levels_is_read_beside_the_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(averaged, "COARSE", 128)  # levels of 1024, 512, 256 and 128 px
    path = write_pyramid(tmp_path / "flat.tif", TISSUE, factors=())
    *reading, opened = open_entry(Entry(path, "flat"), tmp_path, "")
    assert [(step.job, step.done, step.result) for step in reading] == [
        (("read the slide",), 1, None),
        (("read the slide",), 2, None),
    ]
    assert opened.result is not None and len(opened.result.layers[0][0]) == 4
