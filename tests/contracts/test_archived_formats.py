"""What earlier versions wrote is read: runs, logs, reports and predictions; tests/formats/README.md lists them."""

import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from lrmil.cli import main
from lrmil.cohorts.columns import TableOptions
from lrmil.cohorts.splits import read_splits
from lrmil.configs import StepFitConfig
from lrmil.errors import FormatError
from lrmil.features.slide_features import EXTRACTION_VERSION
from lrmil.io.ownership import (
    is_card,
    is_log,
    is_metrics,
    is_out_of_fold_table,
    is_plan,
    is_report,
    is_sites,
    is_splits,
)
from lrmil.models.bundle import Bundle, load_bundle
from lrmil.prediction.files import read_prediction
from lrmil.prediction.one import predict_one
from lrmil.prediction.options import PredictOptions
from lrmil.reports.run_data import Report
from lrmil.reports.run_report import render, write_report
from lrmil.runs.changes import read_previous_run
from lrmil.runs.control import run_lock
from lrmil.runs.plan_file import ANY_R2, read_classes, read_plan, read_table_options
from lrmil.runs.progress import SENTENCES
from lrmil.runs.sites import read_sites
from lrmil.runs.train import train_steps
from lrmil.runs.watch import RunStatus, RunWatch, read_status
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from support.paths import FORMATS
from support.runs import PATCH_TEACHER, stamp_of, tiny_config

SAMPLE_VERSION = (
    3  # EXTRACTION_VERSION when prediction-2 was made: an answer of another way of reading is not used again
)
TRAINED = ("teacher", "lr_encoder", "lr_student", "lr_undistilled")
FOLDS = ("fold-0", "fold-1", "final")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The archived run, to be changed."""
    return Path(shutil.copytree(FORMATS / "run-1", tmp_path / "run"))


def statuses(run: Path) -> list[RunStatus]:
    """How a run stood after each line of its log, for a viewer that follows it while the training is at work."""
    lines = (run / "steps.jsonl").read_bytes().splitlines(keepends=True)
    (run / "steps.jsonl").unlink()
    watch, found = RunWatch(run), []
    with run_lock(run), (run / "steps.jsonl").open("ab", buffering=0) as log:
        for line in lines:
            log.write(line)
            found.append(watch.poll())
    return found


class TestRun:
    def test_its_documents_are_read(self) -> None:
        run = FORMATS / "run-1"
        config, slides, labels = read_plan(run)
        steps = {f"stage1.fit.{name}": getattr(StepFitConfig(), name) for name in ("steps", "interval")}
        steps |= {"stage1.fit.ema": 0.0, "stage1.lambda_keep": 0.0, "stage1.stain": 0.0}
        slide_level = {
            "mil.balance": "none",
            "mil.seeds": 1,
            "mil.select_from": 0,
            "mil.fit.ema": 0.0,
            "stage2.inner_folds": 0,
            "stage2.warm_start_r2": ANY_R2,
        }
        asked = tiny_config(folds=2, mpp_lr=4.0, mpp_hr=2.0, patch_size=32, **steps, **slide_level, **PATCH_TEACHER)
        assert (config, slides, labels) == (asked, "cohort/slides", "cohort/labels.csv")
        assert read_classes(run) == ("negative", "positive") and read_table_options(run) == TableOptions()
        folds = read_splits(run / "splits.csv")
        assert [fold.name for fold in folds] == list(FOLDS)
        assert [len(fold.test) for fold in folds] == [6, 6, 0] and "stage 1" in folds[1].test
        earlier = read_previous_run(run)
        assert earlier is not None and earlier.config == asked
        assert earlier.cases["stage 1"] == ("case-003", "positive") and len(earlier.cases) == 12

    @pytest.mark.parametrize(
        ("name", "ours"),
        [
            ("plan.toml", is_plan),
            ("splits.csv", is_splits),
            ("steps.jsonl", is_log),
            ("metrics.json", is_metrics),
            ("predictions.csv", is_out_of_fold_table),
        ],
    )
    def test_its_files_are_ours_to_replace(self, name: str, ours) -> None:  # type: ignore[no-untyped-def]
        assert ours(FORMATS / "run-1" / name)

    def test_its_status_is_that_of_a_finished_run(self, run: Path) -> None:
        status = read_status(run)
        assert (status.state, status.done, status.total, status.unit) == ("finished", 3, 3, "folds")
        assert (status.folds_done, status.folds_total) == (3, 3)
        counted = {(record.fold, record.stage): 0 for record in status.epochs}
        for record in status.epochs:
            counted[record.fold, record.stage] += 1
            assert np.isfinite(record.metrics["train_loss"]) and not {"epoch", "step"} & record.metrics.keys()
        assert counted == {(fold, stage): 2 for fold in FOLDS for stage in TRAINED}

    def test_every_job_of_its_log_is_understood(self, run: Path) -> None:
        seen = [status for status in statuses(run) if status.job]
        assert {status.state for status in seen} == {"running"} and len(seen) > 150
        # No stages of the archived run:
        later = (
            "inner folds",
            "head",
            "linear heads",
            "finish",
            "finished LR features",
            "calibration",
            "escalation",
        )
        told = list(dict.fromkeys(status.stage.partition(" (")[0] for status in seen))
        for fold in FOLDS:
            stages = [sentence for stage, sentence in SENTENCES.items() if stage not in later]
            stages = [sentence for sentence in stages if fold != "final" or "test of" not in sentence]
            expected = [*(f"{fold}: {sentence}" for sentence in stages), f"{fold}: done"]
            assert sorted(stage for stage in told if stage.startswith(f"{fold}: ")) == sorted(expected)
        rest = [stage for stage in told if not stage.startswith(FOLDS)]
        assert len(rest) == 4, rest  # the looks, the features at two resolutions, the end

    def test_the_place_of_a_slide_is_understood(self, run: Path) -> None:
        of_slides = [status.stage for status in statuses(run) if status.unit == "patches"]
        assert any("LR features" in one and "(demo-004, slide 4 of 12)" in one for one in of_slides)
        named_like_a_stage = [one for one in of_slides if re.search(r" \(stage 1, slide \d+ of 12\)$", one)]
        assert len(named_like_a_stage) == 5, "two of the frozen encoder, one of each fold"
        assert [one.partition(":")[0] for one in named_like_a_stage[2:]] == list(FOLDS)

    def test_folds_and_time_are_counted(self, run: Path) -> None:
        found = statuses(run)
        done = [status.folds_done for status in found]
        assert done == sorted(done) and set(done) == {0, 1, 2, 3} and {status.folds_total for status in found} == {3}
        known = [status.folds_done for status in found if status.seconds_left]
        assert set(known) >= {1, 2}
        assert any(status.stage_seconds_left for status in found if status.unit == "steps")

    def test_a_stop_and_a_start_in_its_log_are_understood(self, run: Path) -> None:
        lines = (run / "steps.jsonl").read_bytes().splitlines(keepends=True)
        (stop,) = [number for number, line in enumerate(lines) if b'"stopped"' in line]
        states = []
        for count in (stop, stop + 1, stop + 2, len(lines) - 1, len(lines)):
            (run / "steps.jsonl").write_bytes(b"".join(lines[:count]))
            states.append(read_status(run).state)
        assert states == ["interrupted", "stopped", "interrupted", "interrupted", "finished"]

    def test_the_command_says_how_it_stands(self, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["status", str(run), "--json"]) == 0
        status = json.loads(capsys.readouterr().out)
        assert (status["state"], status["folds_done"], status["folds_total"]) == ("finished", 3, 3)

    def test_a_report_says_what_is_missing(self, run: Path) -> None:
        """The sample has no features; nothing half-made is left."""
        before = {path.name for path in run.iterdir()}
        with pytest.raises(FormatError, match=str(run)):
            write_report(run)
        assert {path.name for path in run.iterdir()} == before

    def test_a_training_takes_it_up(self, run: Path, cohort: Path) -> None:
        """Its results are put by, its log goes on, and what the new call changed is said."""
        log, metrics = (run / "steps.jsonl").read_bytes(), (run / "metrics.json").read_bytes()
        config = tiny_config(folds=2, mpp_lr=4.0, mpp_hr=2.0, patch_size=32, stage2__lambda_hard=0.5)
        steps = train_steps(cohort / "slides", cohort / "labels.csv", run, config, device="cpu")
        said = []
        for step in steps:
            said += [step.message] if step.message else []
            if step.unit == "patches":
                break
        steps.close()  # type: ignore[attr-defined]
        assert any("lambda_hard" in message for message in said)
        assert (run / "earlier-1/metrics.json").read_bytes() == metrics and not (run / "metrics.json").exists()
        assert (run / "steps.jsonl").read_bytes().startswith(log)
        assert read_status(run).state == "stopped" and len(read_status(run).epochs) > 0

    def test_a_later_version_is_refused(self, run: Path) -> None:
        plan = (run / "plan.toml").read_text()
        (run / "plan.toml").write_text(plan.replace("lrmil.run/1", "lrmil.run/99"))
        with pytest.raises(FormatError, match=r"lrmil\.run/99"):
            read_plan(run)


def test_sites_are_read() -> None:
    assert read_sites(FORMATS / "sites-1") == {"demo-000": "North Hospital", "demo-001": "South Hospital"}
    assert is_sites(FORMATS / "sites-1/sites.json")


class TestReport:
    def test_every_field_has_its_type(self) -> None:
        document = json.loads((FORMATS / "report-1/report.json").read_text())
        report = TypeAdapter(Report).validate_python(document)
        again = json.loads(json.dumps(asdict(report)))
        assert (again.pop("stage1"), again.pop("stage1_shortfall")) == (None, "")  # later versions have these, too
        assert (again.pop("start_remark"), again.pop("differences")) == ("", {})
        assert again.pop("tested") == ""
        assert (again.pop("stage1_note"), again.pop("difference_note")) == ("", "")
        assert (again.pop("headline"), again.pop("trust"), again.pop("definitions")) == ("", None, {})
        assert all(slide.pop("calibrated") is None for slide in again["slides"])
        assert all(line.pop() == [] for lines in again["losses"].values() for line in lines)
        assert again == document
        assert len(report.slides) == 12 and {slide.fold for slide in report.slides} == {"fold-0", "fold-1"}
        page = render(report, [], {})
        assert "stage 1" in page and f"{report.figures['lr_student']['auroc']:.3f}" in page  # type: ignore[index]

    def test_it_is_ours_to_replace(self) -> None:
        assert is_report(FORMATS / "report-1/report.json")

    def test_it_agrees_with_its_run(self) -> None:
        report = json.loads((FORMATS / "report-1/report.json").read_text())
        assert report["figures"] == json.loads((FORMATS / "run-1/metrics.json").read_text())


class TestPrediction:
    @pytest.fixture
    def bundle(self) -> Bundle:
        return load_bundle(FORMATS / "bundle-1/sample")

    @pytest.fixture
    def source(self) -> SlideSource:
        return SlideSource("sample", FORMATS / "prediction-2/sample.ome.tif")

    @pytest.fixture
    def out(self, tmp_path: Path) -> Path:
        return Path(shutil.copytree(FORMATS / "prediction-2/out", tmp_path / "out"))

    def test_it_is_read(self, bundle: Bundle) -> None:
        out = FORMATS / "prediction-2/out"
        said = json.loads((out / "sample.json").read_text())["prediction"]
        read = read_prediction(out, "sample", task=bundle.task)
        assert read is not None and is_card(out / "sample.json")
        assert {name: json.loads(json.dumps(getattr(read, name))) for name in said} == said
        assert len(read.patches) == 6 and read.patch_attention.sum() == pytest.approx(1)
        tiles = json.loads((out / "sample.geojson").read_text())["features"]
        corners = [tile["geometry"]["coordinates"][0][0][::-1] for tile in tiles]
        assert read.patches.level0_yx.tolist() == corners
        measured = [tile["properties"]["measurements"]["attention"] for tile in tiles]
        np.testing.assert_allclose(read.patch_attention, measured, rtol=1e-4)

    @pytest.mark.skipif(
        EXTRACTION_VERSION != SAMPLE_VERSION, reason="slides are read in another way than for the sample"
    )
    def test_it_is_used_as_an_earlier_answer(self, source: SlideSource, bundle: Bundle, out: Path) -> None:
        stamps = {path: stamp_of(path) for path in out.rglob("*") if path.is_file()}
        steps = list(predict_one(source, bundle, out, PredictOptions(device="cpu")))
        assert len(steps) == 1 and steps[0].result is not None and steps[0].result.label == "no"
        assert {path: stamp_of(path) for path in out.rglob("*") if path.is_file()} == stamps

    def test_the_answer_is_the_same_today(self, source: SlideSource, bundle: Bundle, out: Path, tmp_path: Path) -> None:
        earlier = read_prediction(out, "sample")
        today = last(predict_one(source, bundle, tmp_path / "anew", PredictOptions(device="cpu")))
        assert earlier is not None and today.probabilities == pytest.approx(earlier.probabilities, abs=1e-4)
        np.testing.assert_array_equal(today.patches.level0_yx, earlier.patches.level0_yx)
        np.testing.assert_allclose(today.patch_attention, earlier.patch_attention, atol=1e-4)

    def test_one_that_was_made_otherwise_is_made_again(self, source: SlideSource, bundle: Bundle, out: Path) -> None:
        stamp = stamp_of(out / "sample.json")
        assert len(list(predict_one(source, bundle, out, PredictOptions(device="cpu", uncertain_below=0.99)))) > 1
        assert stamp_of(out / "sample.json") != stamp
