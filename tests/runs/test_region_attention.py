"""A teacher with attention within regions does all that a teacher over means does, and the other artefacts stay."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lrmil.configs import HeadName
from lrmil.features.store import read_card
from lrmil.models.heads.head import predict_bag
from lrmil.models.heads.kinds import HEADS, card_in
from lrmil.reports.run_report import write_report
from lrmil.runs import head_choice
from lrmil.runs.arms import ARMS, HR
from lrmil.runs.audit import audit_run
from lrmil.runs.chosen_heads import read_choice
from lrmil.runs.fold_outputs import HEAD, load_mil, read_evidence, read_outputs, read_teacher_outputs
from lrmil.runs.fold_task import FoldTask
from lrmil.runs.fold_training import inner_folder, train_on_labels
from lrmil.runs.regions import region_features
from lrmil.runs.train import Run, train
from lrmil.training.region_bags import read_bag
from support.folds import inputs_of, make_fold, through_stage_2
from support.pages import read_page
from support.runs import TinyRun, stamp_of, tiny_config, write_bag

NESTED = {"teacher": "region_attention"}
WITHIN = {"within_regions": "attention"}
REMADE = ("teacher", "evidence", "lr_student", "outputs")
KEPT = ("lr_encoder", "lr_undistilled", "linear_heads")


def nested_fold(run: Path, **settings: object) -> FoldTask:
    """A fold whose regions have the same mean in both classes: one patch says the class, one the opposite."""

    def noise(rng: np.random.Generator, _label: int, _arm: str) -> np.ndarray:
        return rng.normal(size=(9, 5))

    task = make_fold(run, noise, **{**NESTED, **settings})
    for place, slide_id in enumerate(task.slide_ids):
        rng, sign = np.random.default_rng(place), 2.0 * int(str(task.labels[slide_id])) - 1.0
        index = np.argwhere(np.ones((12, 12), bool))
        values = rng.normal(scale=0.1, size=(len(index), 5))
        told, denied = (index % 4 == 1).all(1), (index % 4 == 2).all(1)
        values[told, :2], values[denied, 0] = (sign, 2.0), -sign
        covered = (rng.random(len(index)) < 0.6) | told | denied
        write_bag(run / HR / f"{slide_id}.zarr", index[covered], values[covered], mpp=0.5)
    list(region_features(run, task.slide_ids, task.plan))
    return task


def stamps(fold: Path, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    return {name: stamp_of(fold / name / "artefact.json") for name in names}


def test_each_slide_is_answered_over_regions_by_a_teacher_that_has_not_seen_it(tmp_path: Path) -> None:
    task = nested_fold(tmp_path, stage2__inner_folds=2, mil__dropout=0.0, mil__fit__epochs=40)
    list(through_stage_2(task))
    evidence, outputs = read_evidence(task.folder), read_teacher_outputs(task.folder)
    assert evidence.inner_folds == 2 and evidence.used
    assert evidence.teacher is not None and evidence.teacher > 0.9
    answered: list[str] = []
    for number in range(2):
        folder = inner_folder(task, "hr_teacher", number)
        assert inputs_of(folder)["within_regions"] == "attention"
        mil = load_mil(folder, task.config.mil)
        for slide_id in sorted(outputs.keys() - inputs_of(folder)["train"].keys()):  # type: ignore[attr-defined]
            regions, hr = task.features("hr_teacher", slide_id), task.nested("hr_teacher", slide_id)
            found = predict_bag(mil, read_bag(regions, hr))
            assert outputs[slide_id].logits.tolist() == found.logits.tolist()
            assert outputs[slide_id].attention_logits.tolist() == found.attention_logits.tolist()
            assert found.attention_logits.shape == (9,)  # one for each region: log A_r of stage 2
            answered.append(slide_id)
    assert sorted(answered) == sorted(outputs)
    for arm in ("lr_undistilled", "lr_student"):
        assert {task.nested(arm, slide_id) for slide_id in outputs} == {None}
    student = task.mil("lr_student")
    assert card_in(json.loads((student / HEAD).read_text())).within_regions is None
    assert "within_regions" not in inputs_of(student)


@pytest.mark.parametrize("head", HEADS)
def test_stage_2_learns_with_every_head_over_regions(tmp_path: Path, head: HeadName) -> None:
    brief: dict[str, object] = {"cases": 4, "mil__fit__epochs": 2, "stage2__inner_folds": 2, "mil__head": head}
    task = nested_fold(tmp_path, **brief)
    list(through_stage_2(task))
    stated = json.loads((task.mil("hr_teacher") / HEAD).read_text())
    members = {"head": "ensemble", "members": {"head": head, "count": 2}}
    assert stated == {**members, **WITHIN, "in_dim": 5, "outputs": 2}
    history = json.loads((task.mil("lr_student") / "history.json").read_text())
    terms = [f"train_{name}" for name in ("loss", "ce", "bag", "soft", "hard")]
    assert len(history) == 2 and all(np.isfinite(epoch[term]) for epoch in history for term in terms)


def test_the_head_over_regions_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_choice, "CANDIDATES", ("abmil", "mean"))
    task = nested_fold(tmp_path, mil__head="auto", stage2__inner_folds=2, cases=4, mil__fit__epochs=2)
    list(through_stage_2(task))
    chosen = read_choice(task.folder)
    assert set(chosen.losses) == {"abmil", "mean"}
    for head in ("abmil", "mean"):
        folder = inner_folder(task.with_head(head), "hr_teacher", 0)
        assert card_in(json.loads((folder / HEAD).read_text())).within_regions == "attention"
    assert json.loads((task.mil("hr_teacher") / HEAD).read_text())["members"]["head"] == chosen.head


@pytest.mark.usefixtures("every_epoch_saved")
def test_a_teacher_that_was_stopped_goes_on_to_the_same_end(tmp_path: Path) -> None:
    whole, stopped = (nested_fold(tmp_path / name, cases=4) for name in ("whole", "stopped"))
    list(train_on_labels(whole, "hr_teacher"))
    training = train_on_labels(stopped, "hr_teacher")
    for step in training:
        if step.total and 2 * step.done >= step.total:
            break
    training.close()  # type: ignore[attr-defined]
    assert not stopped.mil("hr_teacher").exists() and list(stopped.folder.glob("*.checkpoint.safetensors"))
    list(train_on_labels(stopped, "hr_teacher"))
    for name in ("mil.safetensors", "history.json", HEAD):
        assert (whole.mil("hr_teacher") / name).read_bytes() == (stopped.mil("hr_teacher") / name).read_bytes()


def test_changed_hr_features_train_it_again(tmp_path: Path) -> None:
    task = nested_fold(tmp_path, cases=4, mil__fit__epochs=2)
    list(train_on_labels(task, "hr_teacher"))
    before = stamp_of(task.mil("hr_teacher") / "artefact.json")
    assert not [step for step in train_on_labels(task, "hr_teacher") if step.message]
    assert stamp_of(task.mil("hr_teacher") / "artefact.json") == before
    card = tmp_path / HR / f"{task.fold.train[0]}.zarr/zarr.json"
    card.write_text(card.read_text().replace('"key": "key"', '"key": "other"'))
    list(region_features(tmp_path, task.slide_ids, task.plan))
    messages = [step.message for step in train_on_labels(task, "hr_teacher")]
    assert "training slides" in messages[0] and stamp_of(task.mil("hr_teacher") / "artefact.json") != before


@pytest.fixture
def copied(tiny_run: TinyRun, tmp_path: Path) -> Path:
    """A copy of the finished run of a teacher over means."""
    return Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))


def go_on(tiny_run: TinyRun, run: Path, **settings: object) -> Run:
    return train(tiny_run.slides, tiny_run.labels, run, tiny_config(**settings), device="cpu", replace=True)


@pytest.mark.long
def test_a_run_there_and_back(tiny_run: TinyRun, copied: Path) -> None:
    """What does not depend on the attention within regions is kept; the run of before comes out again."""
    fold = copied / "fold-0"
    assert not [path for path in fold.glob("*/artefact.json") if "within_regions" in inputs_of(path.parent)]
    kept, shared = stamps(fold, KEPT), {p: stamp_of(p) for p in (copied / "shared").rglob("zarr.json")}
    before, first = stamps(fold, REMADE), json.loads((copied / "metrics.json").read_text())
    weights = (fold / "teacher/mil.safetensors").read_bytes()
    run = go_on(tiny_run, copied, **NESTED)
    assert stamps(fold, KEPT) == kept and all(stamps(fold, [name])[name] != before[name] for name in REMADE)
    assert {p: stamp_of(p) for p in (copied / "shared").rglob("zarr.json")} == shared
    assert "attention within regions" in (copied / "steps.jsonl").read_text()

    config = tiny_config(**NESTED)
    teacher = load_mil(fold / "teacher", config.mil)
    for slide_id, output in read_outputs(fold)["hr_teacher"].items():
        regions, hr = (copied / name / f"{slide_id}.zarr" for name in ("shared/regions", "shared/hr"))
        expected = predict_bag(teacher, read_bag(regions, hr))
        np.testing.assert_allclose(output.logits, expected.logits, rtol=1e-5, atol=1e-6)
        assert len(output.attention_logits) == read_card(regions).total
    for name in ("patches_per_slide", "seconds_per_slide", "bytes_per_slide"):
        assert all(run.metrics[arm][name] == first[arm][name] for arm in ("hr_teacher", "lr_undistilled"))  # type: ignore[index]
    assert run.metrics["hr_teacher"]["linear_head"] == first["hr_teacher"]["linear_head"]  # type: ignore[index]
    assert audit_run(copied).findings == ()
    page = read_page(write_report(copied, examples=1))
    assert len(page.overlays()) == 3
    assert set(json.loads((copied / "report.json").read_text())["figures"]) >= set(ARMS)

    again = stamps(fold, (*KEPT, *REMADE))
    assert go_on(tiny_run, copied, **NESTED).metrics == run.metrics and stamps(fold, (*KEPT, *REMADE)) == again
    back = go_on(tiny_run, copied)
    assert stamps(fold, KEPT) == kept and (fold / "teacher/mil.safetensors").read_bytes() == weights
    assert back.metrics["hr_teacher"] == first["hr_teacher"] and audit_run(copied).findings == ()
