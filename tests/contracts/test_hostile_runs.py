"""Runs that are damaged or a stranger's: one sentence, no wait, no walk through a disk, nothing outside the run."""

import json
import os
import shutil
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrmil import cli
from lrmil.configs import TrainConfig
from lrmil.errors import FormatError, LrmilError
from lrmil.io.documents import read_csv_rows, read_split_rows, require_fold, require_no_links, require_slide_id
from lrmil.io.tensors import load_tensors
from lrmil.reports.run_report import write_report
from lrmil.runs import watch
from lrmil.runs.artefacts import changed_inputs, is_committed, key_of
from lrmil.runs.changes import read_changes, read_previous_run
from lrmil.runs.control import request_stop, run_lock, stop_requested
from lrmil.runs.fold_outputs import read_history, read_outputs
from lrmil.runs.log import logged, parse_line
from lrmil.runs.plan_file import read_plan, write_plan
from lrmil.runs.progress import RunProgress
from lrmil.runs.train import train_steps
from lrmil.runs.watch import read_status
from lrmil.slides import search
from lrmil.slides.search import find_named
from lrmil.steps import Step
from support.hostile import places, put, values, without
from support.runs import TinyRun, tiny_config

SPLITS = "fold,slide_id,case_id,label,part\n"
START = b'{"time": 1.0, "start": true, "plan": "p"}\n'


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that has just begun."""
    folder = tmp_path / "run"
    folder.mkdir()
    write_plan(folder, TrainConfig(), "slides", "labels.csv")
    (folder / "splits.csv").write_text(SPLITS + "fold-0,a,1,yes,train\nfinal,a,1,yes,train\n")
    (folder / "steps.jsonl").write_bytes(START)
    return folder


def say(*arguments: object) -> tuple[int, float]:
    """Exit code of a command, and how long it took."""
    start = time.monotonic()
    return cli.main([str(argument) for argument in arguments]), time.monotonic() - start


DOCUMENTS = ("plan.toml", "splits.csv", "steps.jsonl", "run.lock", "stop", "metrics.json", "changes.json")


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("kind", ["pipe", "folder", "circle", "nowhere", "device", "link"])
def test_nothing_waits_or_follows(
    run: Path, name: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, other = run / name, tmp_path / "theirs"
    other.write_text("theirs")
    place.unlink(missing_ok=True)
    {
        "pipe": lambda: os.mkfifo(place),
        "folder": place.mkdir,
        "circle": lambda: place.symlink_to(place),
        "nowhere": lambda: place.symlink_to(tmp_path / "none"),
        "device": lambda: place.symlink_to("/dev/zero"),
        "link": lambda: place.symlink_to(other),
    }[kind]()
    for command in ("status", "stop", "report"):
        code, seconds = say(command, run)
        assert code in (0, 1) and seconds < 20
    said = capsys.readouterr().err
    assert "Traceback" not in said and other.read_text() == "theirs" and not (tmp_path / "none").exists()
    steps = train_steps(tmp_path / "slides", tmp_path / "labels.csv", run, tiny_config(), device="cpu")
    with pytest.raises(LrmilError):
        next(steps)


@pytest.mark.parametrize("command", ["status", "stop", "report", "card", "export"])
@pytest.mark.parametrize("kind", ["nothing", "file", "pipe", "empty", "root", "circle", "features"])
def test_a_folder_that_is_no_run_is_one_sentence(
    command: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "place"
    if kind == "file":
        place.write_text("x")
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "empty":
        place.mkdir()
    elif kind == "root":
        place.symlink_to("/")
    elif kind == "circle":
        place.symlink_to(place)
    elif kind == "features":
        place.mkdir()
        (place / "a.zarr").symlink_to("/")
        os.mkfifo(place / "bundle.json")
    options = ["--to", "trident", "--out", tmp_path / "out"] if command == "export" else []
    code, seconds = say(command, place, *options)
    assert code == 1 and seconds < 20
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err and (captured.err.startswith(f"lrmil {command}: ") or command == "status")


LINKS = ("fold-0", "fold-1", "final", "shared", "shared/hr", "shared/lr", "model", "fold-0/lr", "fold-0/teacher")


@pytest.mark.parametrize("name", LINKS)
def test_a_part_that_lies_elsewhere_is_refused_and_stays_as_it_is(
    run: Path, name: str, cohort: Path, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / ".a.12345678.tmp").write_text("mine")
    (theirs / "artefact.json").write_text("mine")
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).symlink_to(theirs)
    with pytest.raises(FormatError, match=f"{name} .*link"):
        require_no_links(run)
    steps = train_steps(cohort / "slides", cohort / "labels.csv", run, tiny_config(), device="cpu")
    with pytest.raises(FormatError, match=f"{name} .*link"):
        list(steps)
    assert {path.name: path.read_text() for path in theirs.iterdir()} == {
        ".a.12345678.tmp": "mine",
        "artefact.json": "mine",
    }


def test_a_link_to_the_whole_run_is_followed(run: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(run)
    require_no_links(tmp_path / "link")
    assert read_status(tmp_path / "link").state == "interrupted"


NAMES = [
    "../../x",
    "/etc",
    "fold-0/../../x",
    "..",
    "fold-",
    "fold-..\\x",
    "fold-0\x00",
    "",
    "FOLD-0",
    "fold-" + "0" * 300,
]


@pytest.mark.parametrize("name", NAMES)
def test_no_fold_lies_outside_the_run(run: Path, name: str) -> None:
    with pytest.raises(FormatError):
        require_fold(name)
    (run / "splits.csv").write_text(f'{SPLITS}"{name}",a,1,yes,test\n')
    with pytest.raises(FormatError):
        read_split_rows(run / "splits.csv")
    assert read_status(run).folds_total == 6  # what is planned, as long as nothing sound is drawn


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "a\\b", "..", "", "x" * 300])
def test_no_slide_lies_outside_the_run(run: Path, name: str) -> None:
    with pytest.raises(FormatError):
        require_slide_id(name)
    (run / "splits.csv").write_text(f"{SPLITS}fold-0,{name},1,yes,test\n")
    with pytest.raises(FormatError):
        read_split_rows(run / "splits.csv")


def test_names_that_people_give_are_names() -> None:
    for name in ("fold-0", "fold-12", "fold-Würzburg", "fold-a.b_c-d", "final"):
        assert require_fold(name) == name
    for name in ("demo-000", "Schnitt 3 (HE)", "…", "a..b", ".a"):
        assert require_slide_id(name) == name


class TestLog:
    def test_it_is_not_written_through_a_link(self, tmp_path: Path) -> None:
        theirs = tmp_path / "theirs"
        theirs.write_text("theirs")

        def steps() -> Iterator[Step[int]]:
            yield Step(("a",), 1, 1, result=1)

        for target in (theirs, tmp_path / "none"):
            link = tmp_path / "steps.jsonl"
            link.unlink(missing_ok=True)
            link.symlink_to(target)
            with pytest.raises(FormatError, match="link"):
                list(logged(steps(), link, plan="p", hidden=(), asked_to_stop=lambda: False))  # type: ignore[arg-type]
        assert theirs.read_text() == "theirs" and not (tmp_path / "none").exists()

    def test_it_is_not_read_through_a_link(self, run: Path, tmp_path: Path) -> None:
        (tmp_path / "theirs").write_bytes(START + b'{"time": 2.0, "end": "failed", "message": "secret"}\n')
        (run / "steps.jsonl").unlink()
        (run / "steps.jsonl").symlink_to(tmp_path / "theirs")
        assert read_status(run).message == "" and read_status(run).state == "interrupted"

    def test_of_one_without_end_the_end_is_read(self, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watch, "BLOCK", 1 << 12)
        monkeypatch.setattr(watch, "MAX_LOG", 1 << 16)
        with (run / "steps.jsonl").open("ab") as log:
            log.write(b"x" * (1 << 18) + b"\n" + START + b'{"time": 2.0, "end": "failed", "message": "why"}\n')
        assert read_status(run).message == "why"

    def test_blocks_say_the_same_as_the_whole(self, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        lines = [f'{{"time": {n}.0, "job": ["fold-0", "teacher"], "done": {n}, "total": 300}}\n' for n in range(2, 300)]
        with (run / "steps.jsonl").open("ab") as log:
            log.write("".join(lines).encode())
        whole = read_status(run)
        monkeypatch.setattr(watch, "BLOCK", 200)
        assert read_status(run) == whole and whole.done == 299

    def test_a_log_of_a_terabyte_is_not_read(self, run: Path) -> None:
        os.truncate(run / "steps.jsonl", 1 << 40)
        start = time.monotonic()
        read_status(run)
        assert time.monotonic() - start < 60

    @settings(max_examples=200)
    @given(data=st.data(), value=values)
    def test_whatever_stands_in_a_line(self, data: st.DataObject, value: object) -> None:
        line = {
            "time": 3.0,
            "job": ["fold-0", "teacher", "a"],
            "done": 1,
            "total": 2,
            "unit": "steps",
            "message": "m",
            "metrics": {"epoch": 1.0, "train_loss": 0.5},
            "end": "failed",
            "start": True,
            "plan": "p",
        }
        kept = {name: line[name] for name in data.draw(st.sets(st.sampled_from(sorted(line)), min_size=1))}
        place = data.draw(st.sampled_from(list(places(kept))))
        parsed = parse_line(json.dumps(put(kept, place, value)).encode())
        progress = RunProgress()
        if parsed is not None:
            progress.add(parsed)
            assert isinstance(progress.stage, str) and isinstance(progress.epochs, tuple)


class TestLocksAndRequests:
    @pytest.mark.parametrize("name", ["run.lock", "stop"])
    def test_a_link_is_not_written_through(self, run: Path, name: str, tmp_path: Path) -> None:
        theirs = tmp_path / "theirs"
        theirs.write_text("theirs")
        (run / name).symlink_to(theirs)
        with pytest.raises(LrmilError, match="link"):
            if name == "stop":
                request_stop(run)
            else:
                with run_lock(run):
                    pass
        assert theirs.read_text() == "theirs"

    def test_a_folder_called_stop_is_no_request_and_stays(self, run: Path) -> None:
        (run / "stop").mkdir()
        (run / "stop/mine").write_text("mine")
        assert not stop_requested(run) and (run / "stop/mine").read_text() == "mine"


class TestSearchForSlides:
    def test_a_whole_disk_is_not_searched(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "walk", lambda top: pytest.fail(f"{top} was walked"))
        for place in ("/", "//", "/..", "/tmp/.."):
            assert find_named(Path(place), ["a"]) == {}

    def test_it_ends(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(search, "MAX_ENTRIES", 50)
        for number in range(40):
            (tmp_path / f"d{number:02d}").mkdir()
            (tmp_path / f"d{number:02d}" / "x.svs").touch()
        (tmp_path / "z").mkdir()
        (tmp_path / "z/a.svs").touch()
        assert find_named(tmp_path, ["a"]) == {}
        monkeypatch.setattr(search, "MAX_ENTRIES", 500)
        assert find_named(tmp_path, ["a"]) == {"a": tmp_path / "z/a.svs"}

    def test_it_finds_what_a_cohort_has_and_follows_no_link_to_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "a/b").mkdir(parents=True)
        (tmp_path / "a/b/one.ome.tif").touch()
        (tmp_path / "a/two.ome.zarr").mkdir()
        (tmp_path / "a/two.ome.zarr/three.svs").touch()
        (tmp_path / "a/four").mkdir()
        (tmp_path / "a/everything").symlink_to("/")
        found = find_named(tmp_path, ["one", "two", "three", "four", "five"])
        places = {"one": "a/b/one.ome.tif", "two": "a/two.ome.zarr", "four": "a/four"}
        assert found == {name: tmp_path / place for name, place in places.items()}
        assert find_named(tmp_path / "a/b/one.ome.tif", ["one"]) == {"one": tmp_path / "a/b/one.ome.tif"}
        assert find_named(tmp_path / "none", ["one"]) == {} and find_named(Path("a\0b"), ["one"]) == {}


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), value=values)
def test_whatever_stands_in_a_plan(data: st.DataObject, value: object, run: Path) -> None:
    (run / "plan.toml").unlink(missing_ok=True)
    write_plan(run, TrainConfig(), "slides", "labels.csv")
    config, _, _ = read_plan(run)
    assert config == TrainConfig()
    whole = tomllib.loads((run / "plan.toml").read_text())
    place = data.draw(st.sampled_from(list(places(whole))))
    changed = without(whole, place) if data.draw(st.booleans()) and value is None else put(whole, place, value)
    try:
        (run / "plan.toml").write_text(tomli_w.dumps(changed))
    except (TypeError, ValueError):
        return  # TOML has no such value
    try:
        read_plan(run)
        read_previous_run(run)
    except LrmilError as error:
        assert str(error)
    read_status(run)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=80) | st.text(alphabet='fold-0,../"\n\x00', max_size=60).map(str.encode))
def test_no_bytes_of_a_document_raise_another_error(data: bytes, run: Path) -> None:
    for name in ("splits.csv", "changes.json", "problems.json", "artefact.json", "history.json", "plan.toml"):
        (run / name).write_bytes(data)
    (run / "splits.csv").write_bytes(SPLITS.encode() + data)
    for read in (read_split_rows, read_csv_rows):
        try:
            read(run / "splits.csv")
        except FormatError as error:
            assert str(error)
    for read in (read_plan, read_previous_run, read_history, read_outputs, key_of):  # type: ignore[assignment]
        try:
            read(run)
        except (LrmilError, OSError) as error:
            assert str(error)
    assert read_changes(run) == [] or (data and not changed_inputs(run, {"a": 1}) and not is_committed(run, {"a": 1}))


@pytest.mark.parametrize("data", [b"", b"x" * 100, b"\x02\0\0\0\0\0\0\0{}", b"\xff" * 64])
def test_tensors_of_a_run_that_are_none(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(data)
    if data.endswith(b"{}"):
        assert load_tensors(tmp_path / "a") == {}
        return
    with pytest.raises(FormatError, match=r"/a\b"):
        load_tensors(tmp_path / "a")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FormatError, match="/pipe "):
        load_tensors(tmp_path / "pipe")


@pytest.fixture(scope="module")
def copied(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose documents are changed and put right again."""
    return Path(shutil.copytree(tiny_run.folder, tmp_path_factory.mktemp("report") / "run"))


@pytest.mark.long
class TestReport:
    NAMES = (
        "metrics.json", "environment.json", "problems.json", "model/bundle.json", "fold-0/teacher/history.json",
        "fold-0/outputs/probabilities.json", "shared/lr/demo-000.zarr/zarr.json",
    )  # fmt: skip

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data(), value=values)
    def test_whatever_stands_in_a_document(
        self, data: st.DataObject, value: object, copied: Path, tiny_run: TinyRun
    ) -> None:
        name = data.draw(st.sampled_from(self.NAMES))
        whole = json.loads((tiny_run.folder / name).read_text())
        place = data.draw(st.sampled_from(list(places(whole)) or [()]))
        changed = put(whole, place, value) if place else value
        try:
            (copied / name).write_text(json.dumps(changed))
            try:
                write_report(copied, examples=0)
            except LrmilError as error:
                assert str(error)
        finally:
            shutil.copy(tiny_run.folder / name, copied / name)

    @pytest.mark.parametrize("slides", ["/", "/proc", "a\x00b", "", "x" * 5000])
    def test_slides_that_a_stranger_names(self, slides: str, copied: Path, tiny_run: TinyRun) -> None:
        plan: dict[str, Any] = {}
        text = (tiny_run.folder / "plan.toml").read_text()
        plan = tomllib.loads(text)
        start = time.monotonic()
        (copied / "plan.toml").write_text(tomli_w.dumps({**plan, "slides": slides}))
        try:
            write_report(copied, examples=2)
        except LrmilError as error:
            assert "plan.toml" in str(error)
        finally:
            (copied / "plan.toml").write_text(text)
        assert time.monotonic() - start < 120

    CHANGES: ClassVar[dict[str, Callable[[Path], object]]] = {
        "a fold elsewhere": lambda run: _replace(run / "predictions.csv", ",fold-0,", ",../../x,"),
        "a slide elsewhere": lambda run: _replace(run / "predictions.csv", "demo-", "../demo-"),
        "a row too short": lambda run: _replace(run / "predictions.csv", ",fold-0,hr_teacher", ",fold-0"),
        "no column": lambda run: _replace(run / "predictions.csv", "arm", "leg"),
        "another part": lambda run: _replace(run / "splits.csv", ",test", ",tested"),
    }

    @pytest.mark.parametrize("name", CHANGES)
    def test_tables_that_were_changed(self, name: str, tiny_run: TinyRun, tmp_path: Path) -> None:
        run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
        self.CHANGES[name](run)
        with pytest.raises(FormatError):
            write_report(run)


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
