"""Training from a folder: nothing leaks, everything is written, and it goes on from wherever it was stopped."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from lrmil.cli import main
from lrmil.cohorts.cohort import validate_cohort
from lrmil.cohorts.splits import read_splits
from lrmil.configs import HeadName
from lrmil.errors import CohortError
from lrmil.features.store import read_card
from lrmil.io import hashing
from lrmil.io.settings import write_toml
from lrmil.models.bundle import load_bundle
from lrmil.models.encoders.loading import encoder_hash
from lrmil.prediction.inference import predict
from lrmil.reports.run_report import write_report
from lrmil.runs import head_choice
from lrmil.runs.arms import ARMS
from lrmil.runs.audit import audit_run
from lrmil.runs.chosen_heads import read_choice
from lrmil.runs.fold_outputs import Evidence, read_evidence, read_outputs, read_teacher_outputs
from lrmil.runs.plan_file import read_plan
from lrmil.runs.train import Run, train, train_steps
from lrmil.training.start_map import PRIOR
from support.pages import read_page
from support.paths import TESTS
from support.runs import PATCH_TEACHER, WARM, TinyRun, stamp_of, tiny_config

pytestmark = pytest.mark.long

TRAINED = ("teacher", "evidence", "lr_encoder", "lr_student", "lr_undistilled")
ARTEFACTS = (*TRAINED, "outputs", "linear_heads", "calibration")


def inputs_of(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "artefact.json").read_text())["inputs"])


def slides_in(folder: Path) -> set[str]:
    inputs = inputs_of(folder)
    return {slide_id for part in ("train", "val", "slides") for slide_id in inputs.get(part, {})}  # type: ignore[attr-defined]


def stamps(run: Path) -> dict[str, tuple[int, int]]:
    return {name: stamp_of(run / "fold-0" / name / "artefact.json") for name in ARTEFACTS}


def weights(run: Path) -> list[bytes]:
    return [(run / "model" / name).read_bytes() for name in ("encoder/model.safetensors", "mil.safetensors")]


@pytest.fixture
def copied(tiny_run: TinyRun, tmp_path: Path) -> Path:
    """A copy of the finished run to go on with."""
    return Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))


def go_on(tiny_run: TinyRun, run: Path, **settings: object) -> Run:
    return train(tiny_run.slides, tiny_run.labels, run, tiny_config(**settings), device="cpu")


class TestSplitColumn:
    def test_the_arms_are_measured_on_the_tables_test_slides(self, tiny_run: TinyRun) -> None:
        (fold,) = read_splits(tiny_run.folder / "splits.csv")
        cohort = validate_cohort(tiny_run.slides, tiny_run.labels).cohort
        assert cohort is not None and fold.name == "fold-0"
        for part in ("train", "val", "test"):
            assert set(getattr(fold, part)) == {slide.slide_id for slide in cohort.slides if slide.split == part}
        figures = json.loads((tiny_run.folder / "metrics.json").read_text())
        assert figures["classes"] == list(cohort.classes) and "gap_recovered" in figures
        for arm in ("hr_teacher", "lr_student", "lr_undistilled"):
            of = figures[arm]
            assert of["n_slides"] == of["n_cases"] == len(fold.test) == 4
            assert 0 <= of["auroc_ci"][0] <= of["auroc"] <= of["auroc_ci"][1] <= 1
            assert 0 <= of["brier"] <= 1 and 0 <= of["ece"] <= 1 and 0 <= of["linear_head"]["auroc"] <= 1
            assert of["by_case"] is None and of["by_case_reason"] == "every case has one slide"
            assert np.mean(list(of["recall"].values())) == pytest.approx(of["balanced_accuracy"])
            assert np.trace(of["confusion"]) / 4 == of["accuracy"] and of["undefined"] == {}
            assert 0 <= of["balanced_accuracy"] <= 1 and of["seconds_per_slide"] > 0 and of["bytes_per_slide"] > 0
        cost = {arm: figures[arm]["patches_per_slide"] for arm in ARMS}
        assert cost["lr_student"] == cost["lr_undistilled"] < cost["hr_teacher"]
        encoded = [read_card(tiny_run.folder / f"shared/hr/{slide_id}.zarr") for slide_id in fold.test]
        assert cost["hr_teacher"] == np.mean([card.total for card in encoded])  # a teacher over regions read patches
        assert figures["hr_teacher"]["seconds_per_slide"] == pytest.approx(np.mean([card.seconds for card in encoded]))
        assert figures["evidence"] == {"fold-0": Evidence(reason="inner_folds is 0").to_dict()}

    def test_no_test_slide_shapes_the_model(self, tiny_run: TinyRun) -> None:
        (fold,) = read_splits(tiny_run.folder / "splits.csv")
        for name in TRAINED:
            assert slides_in(tiny_run.folder / "fold-0" / name) == set(fold.train) | set(fold.val)
        assert set(read_teacher_outputs(tiny_run.folder / "fold-0")) == set(fold.train) | set(fold.val)
        stage1 = json.loads((tiny_run.folder / "fold-0/lr_encoder/artefact.json").read_text())["inputs"]
        assert stage1["start_map"] == {"ridge": PRIOR}
        bundle = load_bundle(tiny_run.folder / "model")
        assert bundle.training["slides"] == len(fold.train) and bundle.training["validation_slides"] == len(fold.val)

    def test_the_model_is_the_fold_that_was_measured(self, tiny_run: TinyRun) -> None:
        """What is shipped gives on a test slide, by inference, what the run reports for it."""
        bundle = load_bundle(tiny_run.folder / "model")
        (fold,) = read_splits(tiny_run.folder / "splits.csv")
        for slide_id in fold.test[:2]:
            result = predict(tiny_run.slides / f"{slide_id}.ome.tif", bundle, "cpu")
            output = read_outputs(tiny_run.folder / "fold-0")["lr_student"][slide_id]
            assert list(result.probabilities.values()) == pytest.approx(output.values.tolist(), abs=1e-5)
        assert (
            encoder_hash(bundle.encoder) == read_card(tiny_run.folder / f"fold-0/lr/{fold.test[0]}.zarr").encoder_hash
        )
        assert bundle.metrics == json.loads((tiny_run.folder / "metrics.json").read_text())

    def test_predictions_are_long_one_row_per_slide_and_arm(self, tiny_run: TinyRun) -> None:
        with (tiny_run.folder / "predictions.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        (fold,) = read_splits(tiny_run.folder / "splits.csv")
        assert list(rows[0]) == ["slide_id", "case_id", "fold", "arm", "label", "prob_negative", "prob_positive"]
        assert sorted((row["slide_id"], row["arm"]) for row in rows) == sorted((s, a) for s in fold.test for a in ARMS)
        outputs = read_outputs(tiny_run.folder / "fold-0")
        for row in rows:
            expected = outputs[row["arm"]][row["slide_id"]].values
            assert [float(row["prob_negative"]), float(row["prob_positive"])] == pytest.approx(expected, abs=1e-6)

    def test_what_was_asked_for_is_kept(self, tiny_run: TinyRun) -> None:
        config, slides, labels = read_plan(tiny_run.folder)
        assert config == tiny_config() and (slides, labels) == (str(tiny_run.slides), str(tiny_run.labels))
        lines = [json.loads(line) for line in (tiny_run.folder / "steps.jsonl").read_text().splitlines()]
        jobs = [line["job"] for line in lines if "metrics" in line]
        expected = ["teacher", "teacher", "stage 1", "stage 1", *["lr_student"] * 2, *["lr_undistilled"] * 2]
        assert jobs == [["fold-0", name] for name in expected]
        slide_ids = {path.name.removesuffix(".ome.tif") for path in tiny_run.slides.iterdir()}
        found = {
            tuple("SLIDE" if part in slide_ids else part for part in line["job"]) for line in lines if "job" in line
        }
        stages = [*expected, "evidence", "LR features", *(f"test {arm}" for arm in ARMS), "linear heads"]
        features = [("LR features",), ("HR features",), ("fold-0", "LR features")]
        of_slides = [("region features",), *((*job, "SLIDE") for job in features)]
        of_fold = [("fold-0", stage) for stage in stages]
        assert found == {("look at the slides",), *features, *of_slides, *of_fold, ("fold-0",), ("train",)}
        environment = json.loads((tiny_run.folder / "environment.json").read_text())
        assert environment["device"] == "cpu" and environment["packages"]["torch"]
        assert not [path for path in tiny_run.folder.rglob("*") if path.suffix in (".tmp", ".old", ".pt", ".pkl")]
        assert not list(tiny_run.folder.rglob("*checkpoint*"))


class TestGoingOn:
    def test_the_same_call_computes_nothing_again(self, tiny_run: TinyRun, copied: Path) -> None:
        before, features = stamps(copied), sorted(map(stamp_of, copied.rglob("zarr.json")))
        model = weights(copied)
        run = go_on(tiny_run, copied)
        assert stamps(copied) == before and sorted(map(stamp_of, copied.rglob("zarr.json"))) == features
        assert weights(run.folder) == model and run.metrics == json.loads((copied / "metrics.json").read_text())

    @pytest.mark.parametrize(
        ("settings", "stale"),
        [
            ({"stage2__lambda_hard": 0.5}, {"lr_student", "outputs"}),
            ({"stage1__lambda_attn": 0.5}, {"lr_encoder", "lr_student", "outputs", "linear_heads"}),
            ({"teacher": "patch"}, {"teacher", "evidence", "lr_student", "outputs", "linear_heads"}),
            ({"mil__select_from": 1}, {"teacher", "evidence", "lr_student", "lr_undistilled", "outputs"}),
            ({"batch_size": 7}, set()),
        ],
    )
    def test_a_changed_setting_redoes_what_it_touches(
        self, tiny_run: TinyRun, copied: Path, settings: dict[str, object], stale: set[str]
    ) -> None:
        before, shared = stamps(copied), sorted(map(stamp_of, (copied / "shared").rglob("zarr.json")))
        go_on(tiny_run, copied, **settings)
        after = stamps(copied)
        assert {name for name in ARTEFACTS if after[name] != before[name]} == stale
        assert sorted(map(stamp_of, (copied / "shared").rglob("zarr.json"))) == shared
        assert (weights(copied) != weights(tiny_run.folder)) == bool(stale)

    def test_another_label_redoes_what_knows_labels(self, tiny_run: TinyRun, copied: Path, tmp_path: Path) -> None:
        lines = tiny_run.labels.read_text().splitlines()
        rows = [line.split(",") for line in lines]
        for row in rows:
            if row[0] in ("demo-000", "demo-001"):  # both train: swap them
                row[2] = {"negative": "positive", "positive": "negative"}[row[2]]
        (tmp_path / "labels.csv").write_text("\n".join(",".join(row) for row in rows) + "\n")
        before = stamps(copied)
        features = stamp_of(copied / "shared/hr/demo-000.zarr/zarr.json")
        train(tiny_run.slides, tmp_path / "labels.csv", copied, tiny_config(), device="cpu")
        after = stamps(copied)
        kept = {"lr_encoder", "calibration"}  # distilled without labels; nothing was held out
        assert {name for name in ARTEFACTS if after[name] == before[name]} == kept
        assert stamp_of(copied / "shared/hr/demo-000.zarr/zarr.json") == features

    def test_no_old_result_stands_beside_a_stopped_run(self, tiny_run: TinyRun, copied: Path) -> None:
        steps = train_steps(tiny_run.slides, tiny_run.labels, copied, tiny_config(seed=3), device="cpu")
        next(steps)
        steps.close()  # type: ignore[attr-defined]
        assert not [name for name in ("metrics.json", "predictions.csv", "report.html") if (copied / name).exists()]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
    def test_a_killed_run_ends_as_an_unbroken_one(self, tiny_run: TinyRun, tmp_path: Path) -> None:
        """Kill -9 in the middle of writing, in every stage, each time on what the last one left."""
        run, settings = tmp_path / "run", tmp_path / "settings.toml"
        write_toml(settings, tiny_config())
        script = TESTS / "support/killed_training.py"
        arguments = [settings, tiny_run.slides, tiny_run.labels, run]
        finished = subprocess.run(
            [sys.executable, script, *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert finished.returncode == 0, finished.stdout + finished.stderr
        assert finished.stdout.count(" left ['") == 7  # each died between a temporary name and its own
        assert audit_run(run).findings == ()
        assert weights(run) == weights(tiny_run.folder)
        for name in ("probabilities.json", "outputs.safetensors"):
            assert hashing.sha256_file(run / f"fold-0/outputs/{name}") == hashing.sha256_file(
                tiny_run.folder / f"fold-0/outputs/{name}"
            )
        assert not [path for path in run.rglob(".*") if path.suffix in (".tmp", ".old")]
        for name in ("lr_student", "lr_encoder"):
            path = f"fold-0/{name}/history.json"
            assert (run / path).read_bytes() == (tiny_run.folder / path).read_bytes()


class TestCrossValidation:
    def test_every_slide_is_tested_once_and_patients_never_straddle(self, crossed: Run) -> None:
        *folds, final = read_splits(crossed.folder / "splits.csv")
        with (crossed.folder / "splits.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [fold.name for fold in (*folds, final)] == ["fold-0", "fold-1", "final"]
        parts: dict[tuple[str, str], set[str]] = defaultdict(set)
        for row in rows:
            parts[row["fold"], row["case_id"]].add(row["part"])
        assert len(parts) == 3 * 8 and all(len(part) == 1 for part in parts.values())
        tested = sorted(slide_id for fold in folds for slide_id in fold.test)
        assert tested == [f"demo-{number:03d}" for number in range(12)]
        assert final.test == () and len(final.train + final.val) == 12

    def test_nothing_trained_has_seen_a_test_slide(self, crossed: Run) -> None:
        with (crossed.folder / "splits.csv").open(newline="") as file:
            case_of = {row["slide_id"]: row["case_id"] for row in csv.DictReader(file)}
        for fold in read_splits(crossed.folder / "splits.csv"):
            folder = crossed.folder / fold.name
            made = sorted(path.parent.name for path in folder.glob("*/artefact.json"))
            evidence, own = read_evidence(folder), set(fold.train) | set(fold.val)
            assert evidence.inner_folds == (3 if fold.name == "final" else 2)
            inner = {
                f"{name}.inner-{number}": set(held_out)
                for name in ("teacher", "lr_undistilled")
                for number, held_out in enumerate(inputs_of(folder / "evidence")["inner_folds"][0])  # type: ignore[index]
            }
            assert len(inner) == 2 * evidence.inner_folds
            left_out = inputs_of(folder / "calibration")["held_out"][0]  # type: ignore[index]
            inner |= {f"lr_student.held-{number}": set(held_out) for number, held_out in enumerate(left_out)}
            artefacts = [name for name in ARTEFACTS if name != "linear_heads" or fold.test]
            assert made == sorted((*artefacts, *inner))
            assert sorted(fold.val) in left_out or fold.name != "final"  # the others have too few cases
            for name in made:
                if name == "linear_heads":
                    assert set(inputs_of(folder / name)["train"]) == own and not own & set(fold.test)  # type: ignore[call-overload]
                elif name != "outputs":
                    seen = own if left_out or name != "calibration" else set()
                    assert slides_in(folder / name) == seen - inner.get(name, set()) and not own & set(fold.test)
                    assert not any(slide_id in json.dumps(inputs_of(folder / name)) for slide_id in fold.test)
            assert set(read_teacher_outputs(folder)) == own
            for name, held_out in inner.items():
                kept = own - held_out
                assert held_out and {case_of[i] for i in held_out}.isdisjoint(case_of[i] for i in kept), name

    def test_another_rule_for_cases_trains_nothing_again(self, crossed: Run, tiny_run: TinyRun, tmp_path: Path) -> None:
        root = tmp_path / "crossed"
        shutil.copytree(crossed.folder.parent, root)
        assert "case_rule" not in (root / "run/plan.toml").read_text()
        settings = {**PATCH_TEACHER, "stage2__inner_folds": 3, "calibration__folds": 2, "case_rule": "noisy-or"}
        before = {path: stamp_of(path) for path in (root / "run").glob("*/*/artefact.json")}
        again = train(
            tiny_run.slides, root / "labels.csv", root / "run", tiny_config(folds=2, **settings), device="cpu"
        )
        assert before and {path: stamp_of(path) for path in before} == before
        assert load_bundle(again.model).case_rule == "noisy-or" and (root / "run/earlier-1/model").is_dir()
        rules = again.metrics["case_rule"]
        assert {one["rule"] for one in rules.values()} == {"noisy-or"}  # type: ignore[attr-defined]
        for arm in ARMS:
            new, old = again.metrics[arm], crossed.metrics[arm]
            assert new["auroc"] == old["auroc"] and new["by_case"] != old["by_case"]  # type: ignore[index]

    def test_each_fold_has_its_own_encoder_and_features(self, crossed: Run) -> None:
        hashes = {
            name: {read_card(path).encoder_hash for path in (crossed.folder / name / "lr").glob("*.zarr")}
            for name in ("fold-0", "fold-1", "final")
        }
        assert all(len(found) == 1 for found in hashes.values()) and len(set.union(*hashes.values())) == 3

    def test_the_figures_pool_the_folds(self, crossed: Run) -> None:
        figures = json.loads((crossed.folder / "metrics.json").read_text())
        for arm in ARMS:
            of = figures[arm]
            assert (of["n_slides"], of["n_cases"]) == (12, 8) and set(of["auroc_by_fold"]) == {"fold-0", "fold-1"}
            assert {"auroc", "auroc_ci", "balanced_accuracy", "seconds_per_slide", "bytes_per_slide"} <= set(of)
            numbers = {"auroc", "balanced_accuracy", "accuracy", "brier", "nll", "ece"}
            others = {"auroc_ci", "recall", "auroc_by_class", "confusion", "undefined"}
            assert of["by_case"].keys() == numbers | others
            assert numbers < of.keys() and not of["by_case_reason"]
            assert [np.sum(found["confusion"]) for found in (of, of["by_case"], of["linear_head"])] == [12, 8, 12]
            assert of["recall"].keys() == of["auroc_by_class"].keys() == set(figures["classes"])
            assert of["linear_head"]["n_slides"] == 12 and of["linear_head"].keys() < of.keys()
            within = of["within_folds"]
            low, high = within["auroc_ci"] or (0, 1)
            assert low <= within["auroc"] <= high and "one fold alone" in within["definition"]
        rules = figures["case_rule"]
        assert rules.keys() == {"fold-0", "fold-1", "final"} and {one["rule"] for one in rules.values()} == {"mean"}
        assert all(one["reason"] and not one["losses"] for one in rules.values())
        assert load_bundle(crossed.model).case_rule == "mean"
        for other, found in figures["student_minus"].items():
            assert found["difference"] == figures["lr_student"]["auroc"] - figures[other]["auroc"]
            assert found["interval"][0] <= found["difference"] <= found["interval"][1]
        with (crossed.folder / "predictions.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 36 and len({(row["slide_id"], row["arm"]) for row in rows}) == 36
        folds = {slide_id: fold.name for fold in read_splits(crossed.folder / "splits.csv") for slide_id in fold.test}
        assert all(row["fold"] == folds[row["slide_id"]] for row in rows)
        assert figures == crossed.metrics

    def test_the_model_is_trained_on_all_patients(self, crossed: Run) -> None:
        bundle = load_bundle(crossed.model)
        final = read_splits(crossed.folder / "splits.csv")[-1]
        assert bundle.training["slides"] == len(final.train)
        state = (crossed.folder / "final/lr_student/mil.safetensors").read_bytes()
        assert (crossed.model / "mil.safetensors").read_bytes() == state


@pytest.mark.parametrize("head", ["abmil", "mean", "max"])
def test_a_run_that_chooses_its_head(
    tiny_run: TinyRun, copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], head: HeadName
) -> None:
    """With the paper's teacher, whose attention weighs stage 1, and every head in turn the only candidate."""
    monkeypatch.setattr(head_choice, "CANDIDATES", (head,))
    settings = {"mil__head": "auto", "stage2__inner_folds": 2, "stage1__lambda_keep": 0.0}
    run = go_on(tiny_run, copied, **settings, **PATCH_TEACHER, **WARM)
    (fold,) = read_splits(copied / "splits.csv")
    chosen = read_choice(copied / "fold-0")
    assert (chosen.head, chosen.inner_folds) == (head, 2) and list(chosen.losses) == [head]
    assert run.metrics["head"] == {"fold-0": chosen.to_dict()}
    own = set(fold.train) | set(fold.val)
    assert slides_in(copied / "fold-0/head") == own and not own & set(fold.test)

    bundle = load_bundle(run.model)
    document = json.loads((run.model / "bundle.json").read_text())
    assert bundle.mil_config.head == document["mil"]["head"] == head
    assert (
        document["training"]["head"] == chosen.to_dict() and document["training"]["settings"]["mil"]["head"] == "auto"
    )
    result = predict(tiny_run.slides / f"{fold.test[0]}.ome.tif", bundle, "cpu")
    output = read_outputs(copied / "fold-0")["lr_student"][fold.test[0]]
    assert list(result.probabilities.values()) == pytest.approx(output.values.tolist(), abs=1e-5)
    assert main(["card", str(run.model)]) == 0
    loss = f"{chosen.means[head]:.3f}"
    (said,) = [line for line in capsys.readouterr().out.splitlines() if "MIL head" in line]
    assert f"{head}, 2 members" in said and loss in said

    page = read_page(write_report(copied, examples=1))
    (row,) = [row for row in page.rows if row[:2] == ["fold-0", head]]
    assert row[2:4] == [loss, "2"] and len(page.overlays()) == 3
    made = stamps(copied), weights(copied), stamp_of(copied / "fold-0/head/artefact.json")
    again = go_on(tiny_run, copied, **settings, **PATCH_TEACHER, **WARM)
    assert made == (stamps(copied), weights(copied), stamp_of(copied / "fold-0/head/artefact.json"))
    assert again.metrics == run.metrics and audit_run(copied).findings == ()


def test_a_table_with_errors_is_refused_before_anything_is_written(tiny_run: TinyRun, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("slide_id,label\ndemo-000,a\nno-such,b\n")
    with pytest.raises(CohortError, match="no-such"):
        train(tiny_run.slides, tmp_path / "labels.csv", tmp_path / "run", tiny_config(), device="cpu")
    assert not (tmp_path / "run").exists()
