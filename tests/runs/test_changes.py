"""A run that goes on says what has changed, redoes only that, and is at home wherever its folder lies."""

import csv
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lrmil.cohorts.cohort import Cohort, SlideRecord, TableOptions
from lrmil.cohorts.splits import make_folds, write_splits
from lrmil.configs import TrainConfig, with_settings
from lrmil.errors import ConfigError, FormatError
from lrmil.models.bundle import load_bundle
from lrmil.reports.run_report import write_report
from lrmil.runs.changes import changes_since, read_changes, read_previous_run, record_changes
from lrmil.runs.log import parse_line
from lrmil.runs.plan_file import read_classes, read_plan, read_table_options, write_plan
from lrmil.runs.train import train_steps
from lrmil.runs.watch import read_status
from lrmil.steps import Step
from lrmil.tasks.classification import Classification
from support.runs import TinyRun, stamp_of, tiny_config

pytestmark = pytest.mark.long


@pytest.fixture
def copied(tiny_run: TinyRun, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))


def said_by(steps: Iterator[Step[object]]) -> list[str]:
    """Messages about changes: of the whole run, and of artefacts that are made again."""
    return [step.message for step in steps if step.job == ("changes",) or "recomputing" in step.message]


def go_on(slides: Path, labels: Path, run: Path, **settings: object) -> list[str]:
    return said_by(train_steps(slides, labels, run, tiny_config(**settings), device="cpu"))  # type: ignore[arg-type]


def with_rows(tiny_run: TinyRun, folder: Path, change: Sequence[tuple[str, str, str]]) -> Path:
    """The labels table with other values: (slide, column, value); column "" takes the row out."""
    with tiny_run.labels.open(newline="") as file:
        rows = {row["slide_id"]: row for row in csv.DictReader(file)}
    for slide_id, column, value in change:
        if column:
            rows[slide_id][column] = value
        else:
            del rows[slide_id]
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["slide_id", "case_id", "label", "split"])
        writer.writeheader()
        writer.writerows(rows.values())
    return folder / "labels.csv"


def features(run: Path) -> dict[str, tuple[int, int]]:
    return {path.as_posix(): stamp_of(path / "zarr.json") for path in sorted((run / "shared").rglob("*.zarr"))}


def weights(run: Path) -> list[bytes]:
    return [(run / "model" / name).read_bytes() for name in ("encoder/model.safetensors", "mil.safetensors")]


class TestSaid:
    def test_nothing_where_nothing_changed(self, tiny_run: TinyRun, copied: Path) -> None:
        assert go_on(tiny_run.slides, tiny_run.labels, copied) == []
        assert read_changes(copied) == []

    def test_a_setting(self, tiny_run: TinyRun, copied: Path) -> None:
        said = go_on(tiny_run.slides, tiny_run.labels, copied, stage2__lambda_hard=0.5)
        assert said[0].startswith("Settings changed (stage2.lambda_hard 0.")
        assert " -> 0.5)" in said[0]
        assert [sentence.rpartition(": ")[2] for sentence in said[1:]] == ["settings of stage 2", "trained models"]
        (entry,) = read_changes(copied)
        assert entry["changes"] == said[:1]
        write_report(copied)
        assert "stage2.lambda_hard" in (copied / "report.html").read_text(encoding="utf-8")
        assert said[0] in (copied / "steps.jsonl").read_text()

    def test_a_setting_without_effect_on_the_result(self, tiny_run: TinyRun, copied: Path) -> None:
        (said,) = go_on(tiny_run.slides, tiny_run.labels, copied, batch_size=7)
        assert "(batch_size 64 -> 7)" in said and "nothing" in said

    def test_labels(self, tiny_run: TinyRun, copied: Path, tmp_path: Path) -> None:
        change = [("demo-000", "label", "positive"), ("demo-001", "label", "negative")]
        before = features(copied)
        said = go_on(tiny_run.slides, with_rows(tiny_run, tmp_path, change), copied)
        assert "labels of 2 slides changed ('demo-000', 'demo-001')" in said[0]
        assert "training slides, their labels or features" in said[1]
        assert features(copied) == before

    def test_the_order_of_the_classes(self, tiny_run: TinyRun, copied: Path) -> None:
        def call(positive: str) -> list[str]:
            options = TableOptions(positive=positive)
            return said_by(
                train_steps(tiny_run.slides, tiny_run.labels, copied, tiny_config(), device="cpu", options=options)
            )

        before = features(copied)
        said = call("negative")
        assert "(negative, positive -> positive, negative)" in said[0]
        assert any("training slides, their labels" in sentence for sentence in said[1:])
        assert read_changes(copied)[0]["changes"] == said[:1]
        assert json.loads((copied / "metrics.json").read_text())["classes"] == ["positive", "negative"]
        assert load_bundle(copied / "model").classes == ("positive", "negative")
        assert read_table_options(copied) == TableOptions(positive="negative")
        assert features(copied) == before
        assert call("negative") == []

    def test_nothing_where_an_older_plan_does_not_state_the_classes(self, tiny_run: TinyRun, copied: Path) -> None:
        plan = copied / "plan.toml"
        lines = plan.read_text().splitlines(keepends=True)
        start = next(place for place, line in enumerate(lines) if line.startswith("classes = "))
        end = next(place for place in range(start, len(lines)) if lines[place].rstrip().endswith("]"))
        plan.write_text("".join(lines[:start] + lines[end + 1 :]))
        assert read_classes(copied) == ()
        assert go_on(tiny_run.slides, tiny_run.labels, copied) == []
        assert read_classes(copied) == ("negative", "positive")

    def test_a_slide_that_is_gone_and_parts(self, tiny_run: TinyRun, copied: Path, tmp_path: Path) -> None:
        change = [("demo-000", "", ""), ("demo-001", "split", "val"), ("demo-002", "case_id", "other")]
        before = features(copied)
        said = " ".join(go_on(tiny_run.slides, with_rows(tiny_run, tmp_path, change), copied))
        assert "1 slide ('demo-000') was removed" in said
        assert "The cases of 1 slides changed ('demo-002')" in said
        assert "Folds are redrawn (fold-0)" in said
        assert features(copied) == before
        said = " ".join(go_on(tiny_run.slides, tiny_run.labels, copied))
        assert "1 slide ('demo-000') was added" in said

    def test_a_slide(self, tiny_run: TinyRun, copied: Path, tmp_path: Path) -> None:
        slides = Path(shutil.copytree(tiny_run.slides, tmp_path / "slides"))
        with (slides / "demo-003.ome.tif").open("ab") as file:
            file.write(b"\0")  # another file, the same pixels
        before = features(copied)
        said = go_on(slides, tiny_run.labels, copied)
        assert "Slide 'demo-003' changed" in said[0]
        after = features(copied)
        assert {Path(path).name for path in after if after[path] != before[path]} == {"demo-003.zarr"}

    def test_a_slide_that_failed_is_not_new_each_time(self, tiny_run: TinyRun, copied: Path, tmp_path: Path) -> None:
        slides = Path(shutil.copytree(tiny_run.slides, tmp_path / "slides"))
        (slides / "demo-000.ome.tif").write_bytes(b"torn")
        go_on(slides, tiny_run.labels, copied)
        assert go_on(slides, tiny_run.labels, copied) == []

    def test_another_way_of_reading(self, tiny_run: TinyRun, copied: Path) -> None:
        """A newer version finds other tissue: features are recomputed, and the message blames no table or slide."""
        for path in (copied / "shared/lr").glob("*.zarr/zarr.json"):
            document = json.loads(path.read_text())
            assert document["attributes"].pop("reading") > 0  # as files of an earlier version, which did not state it
            path.write_text(json.dumps(document))
        said = go_on(tiny_run.slides, tiny_run.labels, copied)
        (sentence,) = said
        assert sentence.startswith("This version") and "all features" in sentence

    def test_an_encoder_without_the_folder_it_lies_in(self, tiny_run: TinyRun, copied: Path) -> None:
        steps = train_steps(
            tiny_run.slides, tiny_run.labels, copied, tiny_config(encoder="test_efficientnet"), device="cpu"
        )
        said = []
        for step in steps:
            said += [step.message] if step.job == ("changes",) else []
            if step.job == ("LR features",):
                break
        steps.close()  # type: ignore[attr-defined]
        settings, features_changed = said
        assert "(encoder)" in settings and "all features" in features_changed

    def test_copies_among_the_slides_are_in_the_report(self, tiny_run: TinyRun, copied: Path, tmp_path: Path) -> None:
        slides = Path(shutil.copytree(tiny_run.slides, tmp_path / "slides"))
        shutil.copy(slides / "demo-000.ome.tif", slides / "demo-011.ome.tif")
        go_on(slides, tiny_run.labels, copied)
        problems = [problem["message"] for problem in json.loads((copied / "problems.json").read_text())]
        (message,) = [message for message in problems if "copies of one file" in message]
        assert "'demo-000' and 'demo-011'" in message and "different parts" in message


class TestMoved:
    def test_run_and_slides_may_be_moved(self, tiny_run: TinyRun, copied: Path, tmp_path: Path) -> None:
        """Nothing that is kept depends on where slides, table or run lie."""
        (tmp_path / "else where").mkdir()
        slides = Path(shutil.copytree(tiny_run.slides, tmp_path / "else where/slides"))
        labels = Path(shutil.copy(tiny_run.labels, tmp_path / "else where/labels.csv"))
        run = copied.rename(tmp_path / "else where/run ü")
        before = {path: stamp_of(path) for path in (*run.rglob("artefact.json"), *run.rglob("zarr.json"))}
        weights = (run / "model/mil.safetensors").read_bytes()
        assert go_on(slides, labels, run) == []
        assert {path: stamp_of(path) for path in before} == before
        assert (run / "model/mil.safetensors").read_bytes() == weights
        kept = [path for path in run.rglob("*") if path.is_file() and path.name != "plan.toml"]
        assert not [path for path in kept if str(tiny_run.folder).encode() in path.read_bytes()]

    def test_a_relative_path_may_be_read_from_anywhere(
        self, tiny_run: TinyRun, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A run that was called with relative paths is the same, and its report has pictures wherever it is made."""
        place = tmp_path / "my place"
        shutil.copytree(tiny_run.slides, place / "in/slides")
        shutil.copy(tiny_run.labels, place / "labels.csv")
        (tmp_path / "other").mkdir()
        run = copied.rename(place / "run")
        pages = []
        for slides, labels in ((place / "in/slides", place / "labels.csv"), ("in/../in/slides", "labels.csv")):
            monkeypatch.chdir(place)
            assert go_on(Path(slides), Path(labels), run) == []
            config, its_slides, its_labels = read_plan(run)
            monkeypatch.chdir(tmp_path / "other")
            assert config == tiny_config() and Path(its_slides).samefile(place / "in/slides")
            assert Path(its_labels) == place / "labels.csv" and Path(its_slides).is_absolute()
            pages.append(write_report(run).read_bytes())
        assert pages[0] == pages[1] and b"No picture" not in pages[0] and b"my place" not in pages[0]


class TestOtherVersions:
    @pytest.mark.parametrize("version", ["lrmil.run/0", "lrmil.run/2", "something else"])
    def test_a_run_of_another_version_is_left_as_it_is(self, tiny_run: TinyRun, copied: Path, version: str) -> None:
        plan = copied / "plan.toml"
        plan.write_text(plan.read_text().replace("lrmil.run/1", version))
        before = {path: path.read_bytes() for path in sorted(copied.rglob("*")) if path.is_file()}
        with pytest.raises(FormatError, match=r"Expected the format lrmil\.run/1"):
            go_on(tiny_run.slides, tiny_run.labels, copied)
        assert {path: path.read_bytes() for path in sorted(copied.rglob("*")) if path.is_file()} == before

    @pytest.mark.parametrize(
        ("text", "error"), [("format = ", FormatError), ("[settings]\n", FormatError), (None, ConfigError)]
    )
    def test_a_plan_that_cannot_be_read(
        self, tiny_run: TinyRun, copied: Path, text: str | None, error: type[Exception]
    ) -> None:
        plan = copied / "plan.toml"
        plan.write_text(plan.read_text() + "future = 1\n" if text is None else text)
        with pytest.raises(error, match=r"plan\.toml|decision\.future"):
            go_on(tiny_run.slides, tiny_run.labels, copied)
        assert (copied / "metrics.json").exists() and (copied / "model/bundle.json").exists()

    @pytest.mark.parametrize("text", ["", "fold,slide\n", "fold,slide_id,case_id,label,part\nfold-0,a,b\n"])
    def test_damaged_splits_are_drawn_again(self, tiny_run: TinyRun, copied: Path, text: str) -> None:
        good = (copied / "splits.csv").read_text()
        (copied / "splits.csv").write_text(text)
        assert read_previous_run(copied) is None
        assert go_on(tiny_run.slides, tiny_run.labels, copied) == []
        assert (copied / "splits.csv").read_text() == good


class TestDamaged:
    """What a disk lost after it was written whole is a sentence that says what to delete, and only that is redone."""

    @pytest.mark.parametrize(("damaged", "lost"), [("regions", "fold-0/teacher"), ("hr", "shared/regions")])
    def test_features(self, tiny_run: TinyRun, copied: Path, damaged: str, lost: str) -> None:
        slide = copied / "shared" / damaged / "demo-003.zarr"
        chunk = next(path for path in (slide / "features").rglob("*") if path.is_file() and path.name != "zarr.json")
        chunk.write_bytes(chunk.read_bytes()[:50])
        shutil.rmtree(copied / lost)
        with pytest.raises(FormatError, match=r"demo-003\.zarr.*[Ee]xtract this slide again"):
            go_on(tiny_run.slides, tiny_run.labels, copied)
        shutil.rmtree(slide)
        go_on(tiny_run.slides, tiny_run.labels, copied)
        assert weights(copied) == weights(tiny_run.folder)

    def test_weights(self, tiny_run: TinyRun, copied: Path) -> None:
        path = copied / "fold-0/teacher/mil.safetensors"
        path.write_bytes(path.read_bytes()[:200])
        shutil.rmtree(copied / "fold-0/evidence")
        with pytest.raises(FormatError, match=r"[Dd]elete the folder 'teacher'"):
            go_on(tiny_run.slides, tiny_run.labels, copied)
        shutil.rmtree(copied / "fold-0/teacher")
        go_on(tiny_run.slides, tiny_run.labels, copied)
        assert weights(copied) == weights(tiny_run.folder)

    def test_half_a_line_of_the_log(self, tiny_run: TinyRun, copied: Path) -> None:
        log = copied / "steps.jsonl"
        log.write_bytes(log.read_bytes()[:-7])
        go_on(tiny_run.slides, tiny_run.labels, copied)
        lines = log.read_bytes().splitlines()
        assert parse_line(lines[-1]) is not None and sum(parse_line(line) is None for line in lines) == 1
        assert read_status(copied).state == "finished"


def test_changes_are_kept_call_by_call(tmp_path: Path) -> None:
    record_changes(tmp_path, [])
    assert read_changes(tmp_path) == [] and not list(tmp_path.iterdir())
    record_changes(tmp_path, ["a"])
    record_changes(tmp_path, ["b", "c"])
    assert [entry["changes"] for entry in read_changes(tmp_path)] == [["a"], ["b", "c"]]
    for text in ("", "{}", "[1]", "[" * 100_000):
        (tmp_path / "changes.json").write_text(text)
        assert read_changes(tmp_path) == []


def test_earlier_settings_are_read(tiny_run: TinyRun, tmp_path: Path) -> None:
    earlier = read_previous_run(tiny_run.folder)
    assert earlier is not None and earlier.config == tiny_config() != with_settings(TrainConfig(), {"seed": 1})
    assert len(earlier.cases) == 12 and read_previous_run(tmp_path) is None


@pytest.mark.parametrize("stated", [True, False])
def test_numbers_that_were_ordered_as_text_are_told(tmp_path: Path, stated: bool) -> None:
    """A run that began when "10" came before "2": what it trained has other columns, and is not mixed in."""
    slides = tuple(SlideRecord(f"s{n:02}", Path("x"), ("1", "2", "10")[n % 3], f"c{n:02}") for n in range(24))
    before, now = Cohort(slides, Classification(("1", "10", "2"))), Cohort(slides, Classification(("1", "2", "10")))
    folds = make_folds(now, folds=3, val_fraction=0.2, seed=0)
    assert make_folds(before, folds=3, val_fraction=0.2, seed=0) == folds
    write_plan(tmp_path, TrainConfig(), "slides", "labels.csv", task=before.task if stated else None)
    write_splits(tmp_path / "splits.csv", folds, before)
    earlier = read_previous_run(tmp_path)
    assert earlier is not None and earlier.classes == before.classes
    (sentence,) = changes_since(earlier, TrainConfig(), now, folds)
    assert "(1, 10, 2 -> 1, 2, 10)" in sentence
    assert changes_since(earlier, TrainConfig(), before, folds) == []
