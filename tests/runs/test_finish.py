"""The finish in a run: off it changes nothing, on it is an artefact of its own, and the student is what it made."""

import json
import shutil
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import tomli_w
import torch

from lrmil.cohorts.splits import read_splits
from lrmil.configs import FinishConfig, TrainConfig, from_dict, stated, to_dict, with_settings
from lrmil.errors import FormatError
from lrmil.features.store import read_card, read_features
from lrmil.io import hashing
from lrmil.io.ownership import is_artefact
from lrmil.models.bundle import load_bundle
from lrmil.models.card import read_model_card
from lrmil.models.encoders.loading import encoder_hash
from lrmil.models.heads.head import predict_bag
from lrmil.prediction.inference import predict
from lrmil.reports.model_facts import model_facts
from lrmil.reports.run_report import write_report
from lrmil.runs.arms import ARMS, FINISHED, answering, features_of, mil_folder
from lrmil.runs.audit import audit_run
from lrmil.runs.fold_outputs import load_mil, read_history, read_outputs
from lrmil.runs.plan_file import read_plan, settings_hash, write_plan
from lrmil.runs.train import Run, train, train_steps
from lrmil.runs.watch import read_status
from support.runs import TinyRun, stamp_of, tiny_config

pytestmark = pytest.mark.long

ON: dict[str, object] = {"finish__epochs": 2, "finish__patches": 4, "finish__learning_rate": 1e-3}
BEFORE = ("teacher", "evidence", "lr_encoder", "lr_student", "lr_undistilled")


def go_on(tiny_run: TinyRun, run: Path, **settings: object) -> Run:
    return train(tiny_run.slides, tiny_run.labels, run, tiny_config(**settings), device="cpu")


def document_of(run: Path, name: str) -> dict[str, object]:
    return dict(json.loads((run / "fold-0" / name / "artefact.json").read_text()))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def finished(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run with a finish that was asked for afterwards; read only."""
    run = Path(shutil.copytree(tiny_run.folder, tmp_path_factory.mktemp("finish") / "run"))
    go_on(tiny_run, run, **ON)
    write_report(run)
    return run


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


UNSTATED = ("finish", "case_rule", "test_fraction")  # where they are untouched


class TestOff:
    def test_files_of_a_run_without_one_do_not_state_it(self, tiny_run: TinyRun, tmp_path: Path) -> None:
        """Keys, plans and models are those of versions that had no finish."""
        config = tiny_config()
        write_plan(tmp_path, config, "slides", "labels.csv")
        for path in (tmp_path / "plan.toml", tiny_run.folder / "plan.toml", tiny_run.folder / "model/bundle.json"):
            assert "finish" not in path.read_text()
        earlier = {name: value for name, value in to_dict(config).items() if name not in UNSTATED}
        decision = cast(dict[str, object], earlier["decision"])
        del decision["with_teacher"], decision["regions"]  # of a model that keeps no teacher
        assert stated(config) == earlier and settings_hash(config) == hashing.sha256_of(earlier)
        fold = tiny_run.folder / "fold-0"
        assert not (fold / "finish").exists() and not (fold / "lr_finished").exists()
        for name in (*BEFORE, "outputs"):
            assert "finish" not in (fold / name / "artefact.json").read_text()

    def test_a_plan_without_the_group_is_read_and_resumes(self, tiny_run: TinyRun, tmp_path: Path) -> None:
        """Other values without an epoch change nothing but the plan that states them."""
        run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
        assert read_plan(run)[0].finish == FinishConfig() and not read_plan(run)[0].finishes
        kept = {name: contents(run / "fold-0" / name) for name in (*BEFORE, "outputs")}
        go_on(tiny_run, run, finish__patches=3)
        assert {name: contents(run / "fold-0" / name) for name in (*BEFORE, "outputs")} == kept
        assert read_plan(run)[0] == tiny_config(finish__patches=3)

    @pytest.mark.parametrize("settings", [{}, {"finish.epochs": 2}, {"finish.patches": 3}, {"finish.ema": 0.0}])
    def test_what_is_stated_comes_back(self, tmp_path: Path, settings: dict[str, object]) -> None:
        config = with_settings(TrainConfig(), settings)
        assert from_dict(stated(config)) == config and ("finish" in stated(config)) == bool(settings)
        write_plan(tmp_path, config, "slides", "labels.csv")
        assert read_plan(tmp_path)[0] == config
        tomli_w.dumps(stated(config))


class TestOn:
    def test_it_is_an_artefact_of_what_it_was_made_from(self, tiny_run: TinyRun, finished: Path) -> None:
        for name in BEFORE:
            assert contents(finished / "fold-0" / name) == contents(tiny_run.folder / "fold-0" / name)
        (fold,) = read_splits(finished / "splits.csv")
        assert is_artefact(finished / "fold-0/finish")
        found = sorted(path.name for path in (finished / "fold-0/finish").iterdir())
        assert found == ["artefact.json", "encoder.safetensors", "head.json", "history.json", "mil.safetensors"]
        inputs = document_of(finished, "finish")["inputs"]
        assert isinstance(inputs, dict)
        assert {*inputs["train"], *inputs["val"]} == {*fold.train, *fold.val}
        assert inputs["schedule"] == "fixed" and not inputs["val"]
        for name in ("lr_encoder", "lr_student", "evidence"):
            assert inputs[name] == document_of(finished, name)["key"]
        assert len(read_history(finished / "fold-0/finish")) == 2
        assert not list(finished.rglob("*checkpoint*")) and audit_run(finished).findings == ()
        assert sorted(path.stem for path in (finished / "fold-0/lr_finished").glob("*.zarr")) == sorted(fold.test)

    def test_the_student_that_answers_and_is_shipped_is_the_finished_one(
        self, tiny_run: TinyRun, finished: Path
    ) -> None:
        (fold,) = read_splits(finished / "splits.csv")
        bundle, before = load_bundle(finished / "model"), load_bundle(tiny_run.folder / "model")
        assert encoder_hash(bundle.encoder) != encoder_hash(before.encoder)
        outputs, others = (read_outputs(run / "fold-0") for run in (finished, tiny_run.folder))
        mil = load_mil(mil_folder(finished, "fold-0", FINISHED), tiny_config().mil)
        for slide_id in fold.test:
            path = features_of(finished, "fold-0", slide_id, FINISHED, teacher="region")
            assert read_card(path).encoder_hash == encoder_hash(bundle.encoder)
            found = predict_bag(mil, torch.from_numpy(read_features(path).embeddings))
            np.testing.assert_array_equal(outputs["lr_student"][slide_id].logits, found.logits)
            np.testing.assert_array_equal(outputs["lr_student"][slide_id].attention_logits, found.attention_logits)
            result = predict(tiny_run.slides / f"{slide_id}.ome.tif", bundle, "cpu")
            expected = outputs["lr_student"][slide_id].values.tolist()
            assert list(result.probabilities.values()) == pytest.approx(expected, abs=1e-5)
            assert not np.array_equal(found.logits, others["lr_student"][slide_id].logits)
            for arm in ("hr_teacher", "lr_undistilled"):
                np.testing.assert_array_equal(outputs[arm][slide_id].logits, others[arm][slide_id].logits)

    def test_the_report_the_card_and_the_log_name_it(self, finished: Path) -> None:
        report = json.loads((finished / "report.json").read_text())
        ((fold, training, validation, best, _),) = report["losses"]["finish"]
        assert (fold, len(training), validation, best) == ("fold-0", 2, [], 2)
        page = (finished / "report.html").read_text()
        assert "End-to-end finish" in page and "linear model before the finish, by slide" in page
        assert "distillation and the end-to-end finish add together" in page
        facts = model_facts(read_model_card(finished / "model"))
        assert facts["End-to-end finish"] == "2 epochs on 4 patches of a slide a step"
        epochs = [record for record in read_status(finished).epochs if record.stage == "finish"]
        assert [record.epoch for record in epochs] == [1, 2] and "train_ce" in epochs[0].metrics

    def test_without_one_the_card_and_the_report_do_not(self, tiny_run: TinyRun, tmp_path: Path) -> None:
        run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
        write_report(run)
        assert "finish" not in json.loads((run / "report.json").read_text())["losses"]
        page = (run / "report.html").read_text()
        assert "End-to-end finish" not in page and "before the finish" not in page
        assert "End-to-end finish" not in model_facts(read_model_card(run / "model"))


class TestGoingOn:
    def test_the_same_call_computes_nothing_again(self, tiny_run: TinyRun, copied: Path) -> None:
        paths = [*copied.glob("fold-0/*/artefact.json"), *copied.glob("fold-0/lr_finished/*/zarr.json")]
        before = [stamp_of(path) for path in paths]
        jobs = [
            step.job for step in train_steps(tiny_run.slides, tiny_run.labels, copied, tiny_config(**ON), device="cpu")
        ]
        assert [stamp_of(path) for path in paths] == before and ("fold-0", "finish") not in jobs

    @pytest.mark.parametrize(
        ("settings", "stale"),
        [
            ({"finish__epochs": 1}, {"finish", "outputs"}),
            ({"finish__stain": 0.0}, {"finish", "outputs"}),
            ({"stage2__lambda_hard": 0.5}, {"lr_student", "finish", "outputs"}),
            ({"stage1__lambda_attn": 0.5}, {"lr_encoder", "lr_student", "finish", "outputs"}),
            ({"finish__epochs": 0}, {"outputs"}),
        ],
    )
    def test_a_changed_setting_redoes_what_it_touches(
        self, tiny_run: TinyRun, copied: Path, settings: dict[str, object], stale: set[str]
    ) -> None:
        names = (*BEFORE, "finish", "outputs")
        before = {name: stamp_of(copied / "fold-0" / name / "artefact.json") for name in names}
        go_on(tiny_run, copied, **{**ON, **settings})
        after = {name: stamp_of(copied / "fold-0" / name / "artefact.json") for name in names}
        assert {name for name in names if after[name] != before[name]} == stale

    def test_without_it_again_the_results_are_those_of_before(self, tiny_run: TinyRun, copied: Path) -> None:
        go_on(tiny_run, copied)
        for name in ("fold-0/outputs/outputs.safetensors", "predictions.csv", "plan.toml"):
            assert (copied / name).read_bytes() == (tiny_run.folder / name).read_bytes()
        one, other = (load_bundle(run / "model") for run in (copied, tiny_run.folder))
        assert encoder_hash(one.encoder) == encoder_hash(other.encoder)

    def test_a_finish_that_was_stopped_ends_as_an_unbroken_one(
        self, tiny_run: TinyRun, finished: Path, tmp_path: Path
    ) -> None:
        run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
        steps = train_steps(tiny_run.slides, tiny_run.labels, run, tiny_config(**ON), device="cpu")
        for step in steps:
            if step.job == ("fold-0", "finish") and step.metrics.get("epoch") == 1:
                break
        steps.close()  # type: ignore[attr-defined]
        assert (run / "fold-0/finish.checkpoint.safetensors").is_file() and not (run / "fold-0/finish").exists()
        go_on(tiny_run, run, **ON)
        assert contents(run / "fold-0/finish") == contents(finished / "fold-0/finish")
        assert not (run / "fold-0/finish.checkpoint.safetensors").exists()

    def test_a_damaged_encoder_is_named(self, tiny_run: TinyRun, copied: Path) -> None:
        (copied / "fold-0/finish/encoder.safetensors").write_bytes(b"0" * 100)
        with pytest.raises(FormatError, match=r"finish.encoder\.safetensors"):
            go_on(tiny_run, copied, **ON)


class TestSchedule:
    def test_validation_selects_under_the_rule_of_the_mil(self, tiny_run: TinyRun, tmp_path: Path) -> None:
        run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
        go_on(tiny_run, run, mil__select_from=1, **ON)
        (fold,) = read_splits(run / "splits.csv")
        inputs = document_of(run, "finish")["inputs"]
        assert isinstance(inputs, dict) and inputs["schedule"] == "selected"
        assert (set(inputs["train"]), set(inputs["val"])) == (set(fold.train), set(fold.val))
        history = read_history(run / "fold-0/finish")
        assert audit_run(run).findings == ()
        assert [row["epoch"] for row in history] == [0, 1, 2] and all("val_loss" in row for row in history)


def test_evidence_of_no_use_leaves_the_labels(tiny_run: TinyRun, tmp_path: Path) -> None:
    """As in stage 2; what the settings ask for does not matter then."""
    run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
    path = run / "fold-0/evidence/evidence.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "used": False}))
    go_on(tiny_run, run, **ON)
    inputs = document_of(run, "finish")["inputs"]
    assert isinstance(inputs, dict)
    assert [inputs["stage2"][f"lambda_{name}"] for name in ("ce", "bag", "soft", "hard")] == [1, 0, 0, 0]


def test_only_the_student_is_another_once_finished() -> None:
    assert {arm: answering(arm, finished=True) for arm in ARMS} == {arm: arm for arm in ARMS} | {"lr_student": FINISHED}
    assert {arm: answering(arm, finished=False) for arm in ARMS} == {arm: arm for arm in ARMS}
    found = features_of(Path("run"), "fold-0", "a", FINISHED, teacher="region")
    assert found.as_posix() == "run/fold-0/lr_finished/a.zarr"
    assert mil_folder(Path("run"), "fold-0", FINISHED).as_posix() == "run/fold-0/finish"
