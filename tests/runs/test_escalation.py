"""The closer look of a fold: who is asked, about what, what is fitted, shipped and found when it is changed."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lrmil.cli import main
from lrmil.configs import Teacher, from_dict, stated
from lrmil.errors import FormatError
from lrmil.features.regions import mean_of_regions
from lrmil.features.store import read_features
from lrmil.io import hashing
from lrmil.io.documents import held_out_name
from lrmil.models.bundle import load_bundle, save_bundle
from lrmil.models.card import read_model_card
from lrmil.models.encoders.loading import encoder_hash
from lrmil.models.heads.head import predict_bag
from lrmil.prediction.inference import predict
from lrmil.runs.arms import features_of
from lrmil.runs.audit import audit_run
from lrmil.runs.calibrated_figures import shipped_answers
from lrmil.runs.calibration import FoldCalibration, folds_to_hold_out, make_held_out_answers
from lrmil.runs.escalation import (
    HELD_OUT,
    TESTED,
    closer_look,
    held_out_pairs,
    make_closer_answers,
    numbers_of,
    read_closer_answers,
    read_teacher_calibration,
)
from lrmil.runs.escalation_figures import escalation_figures
from lrmil.runs.evidence import make_evidence
from lrmil.runs.fold_outputs import SlideOutput, load_mil
from lrmil.runs.fold_task import FoldTask
from lrmil.runs.fold_training import inner_folder, train_on_labels, train_slide_stage
from lrmil.runs.inner_mils import answer, inner_folds_of
from lrmil.runs.shipping import teacher_card
from lrmil.runs.train import train
from lrmil.tasks import classification
from lrmil.tasks.calibration import Calibration, fit_calibration
from lrmil.tasks.decision import about_classes
from support.folds import make_fold
from support.runs import TinyRun, stamp_of, tiny_config, write_bag

pytestmark = pytest.mark.long

SETTINGS: dict[str, object] = {
    "mil__fit__epochs": 6,
    "mil__seeds": 1,
    "stage2__inner_folds": 2,
    "calibration__folds": 2,
    "decision__with_teacher": True,
    "decision__regions": 3,
}
NUMBERS = [1, 2, 3, 4, 8, 16, 32]


def values(rng: np.random.Generator, label: int, arm: str) -> NDArray[np.float64]:
    return rng.normal(size=(4, 3)) + 0.8 * label


def write_hr(task: FoldTask) -> None:
    """HR patches for the 2 x 2 LR patches of each slide, some of them missing, and the regions that they make."""
    for place, (slide_id, label) in enumerate(task.labels.items()):
        rng = np.random.default_rng(100 + place)
        index = rng.permutation(np.argwhere(rng.random((8, 8)) < 0.5)).astype(np.int32)
        embeddings = (rng.normal(size=(len(index), 3)) + 0.8 * label).astype(np.float32)
        write_bag(task.encoded("hr_teacher", slide_id), index, embeddings, mpp=0.5)
        cells, means = mean_of_regions(index, embeddings, 4)
        write_bag(features_of(task.run, None, slide_id, "hr_teacher", teacher="region"), cells, means)


def trained(run: Path, *, teacher: Teacher = "region", **settings: object) -> FoldTask:
    task = make_fold(run, values, cases=10, **{**SETTINGS, "teacher": teacher, **settings})
    write_hr(task)
    stages = (
        train_on_labels(task, "hr_teacher"),
        make_evidence(task),
        train_slide_stage(task),
        make_held_out_answers(task),
        make_closer_answers(task),
    )
    for stage in stages:
        list(stage)
    return task


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> FoldTask:
    """Read only."""
    return trained(tmp_path_factory.mktemp("run"))


def test_every_number_of_regions_is_asked() -> None:
    config = tiny_config(decision__with_teacher=True, decision__regions=5)
    assert numbers_of(config) == [1, 2, 4, 5, 8, 16, 32]
    assert stated(config)["decision"]["regions"] == 5  # type: ignore[index]
    assert from_dict(stated(config)) == config
    assert stated(tiny_config())["decision"].keys() == {"operating_point", "coverage", "max_risk"}  # type: ignore[attr-defined]


def test_neither_network_has_seen_the_slide_that_it_is_asked_about(task: FoldTask) -> None:
    pairs, reason = held_out_pairs(task)
    assert not reason and sorted(pairs) == sorted(task.fold.train + task.fold.val)
    students, teachers = folds_to_hold_out(task).held_out, inner_folds_of(task).held_out
    for slide_id, (student, teacher) in pairs.items():
        assert slide_id in students[student] and slide_id in teachers[teacher]
        for folder in (task.folder / held_out_name(student), inner_folder(task, "hr_teacher", teacher)):
            assert slide_id not in json.loads((folder / "artefact.json").read_text())["inputs"]["train"]


def test_fewer_folds_than_asked_for_are_no_reason_to_ask_nothing(task: FoldTask) -> None:
    config = replace(task.config, calibration=replace(task.config.calibration, folds=9))
    fewer = replace(task, config=config)
    folds = folds_to_hold_out(fewer)
    assert folds.held_out and folds.reason
    pairs, reason = held_out_pairs(fewer)
    assert sorted(pairs) == sorted(task.fold.train + task.fold.val) and reason == ""


def test_the_answers_are_those_of_a_plain_loop(task: FoldTask) -> None:
    pairs, _ = held_out_pairs(task)
    asked = {
        HELD_OUT: {
            i: (task.folder / held_out_name(one), inner_folder(task, "hr_teacher", two))
            for i, (one, two) in pairs.items()
        },
        TESTED: {i: (task.mil("lr_student"), task.mil("hr_teacher")) for i in task.fold.test},
    }
    for name, folders in asked.items():
        found = read_closer_answers(task, name)
        assert found.regions == NUMBERS and found.reason == "" and found.logits.keys() == folders.keys()
        for slide_id, (first, second) in folders.items():
            student, teacher = (load_mil(folder, task.config.mil) for folder in (first, second))
            lr, hr = (read_features(task.encoded(arm, slide_id)) for arm in ("lr_student", "hr_teacher"))
            attention = answer(task, student, "lr_student", slide_id).attention
            cells = [tuple(cell) for cell in (hr.index // 4).tolist()]
            order = [place for place in np.argsort(-attention, kind="stable") if tuple(lr.index[place]) in cells]
            for row, number in enumerate(NUMBERS):
                chosen = sorted(tuple(lr.index[place].tolist()) for place in order[:number])
                means = [hr.embeddings[[cell == one for cell in cells]].mean(0) for one in chosen]
                expected = predict_bag(teacher, read_tensor(np.array(means))).logits
                np.testing.assert_allclose(found.logits[slide_id][row], expected, rtol=1e-4, atol=1e-5)
                assert found.patches[slide_id][row] == sum(cell in chosen for cell in cells)


def read_tensor(values: NDArray[np.floating]) -> Any:
    import torch

    return torch.from_numpy(values.astype(np.float32))


def test_they_are_written_once(task: FoldTask) -> None:
    stamps = [stamp_of(task.folder / name / "artefact.json") for name in (HELD_OUT, TESTED)]
    assert not list(make_closer_answers(task))
    assert [stamp_of(task.folder / name / "artefact.json") for name in (HELD_OUT, TESTED)] == stamps
    assert not set(read_closer_answers(task).logits) & set(task.fold.test)
    assert not any(f'"{i}"' in (task.folder / HELD_OUT / "artefact.json").read_text() for i in task.fold.test)


@pytest.mark.parametrize("teacher", ["region_attention", "patch"])
def test_every_kind_of_teacher_can_be_asked(tmp_path: Path, teacher: Teacher) -> None:
    task = trained(tmp_path, teacher=teacher)
    found = read_closer_answers(task, TESTED)
    student, network = (
        load_mil(task.mil("lr_student"), task.config.mil),
        load_mil(task.mil("hr_teacher"), task.config.mil),
    )
    for slide_id in task.fold.test:
        whole = answer(task, network, "hr_teacher", slide_id).logits
        np.testing.assert_allclose(found.logits[slide_id][-1], whole, rtol=1e-4, atol=1e-5)  # all regions
        look = closer_look(task, student, network, slide_id)
        assert look is not None and look.logits == found.logits[slide_id]


def test_without_the_setting_nothing_is_made(tmp_path: Path) -> None:
    task = trained(tmp_path, decision__with_teacher=False)
    assert not (task.folder / HELD_OUT).exists() and not (task.folder / TESTED).exists()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"stage2__inner_folds": 0}, "inner_folds is 0"), ({"calibration__folds": 0}, "calibration.folds is 0")],
)
def test_it_is_said_why_no_teacher_is_kept(tmp_path: Path, settings: dict[str, object], reason: str) -> None:
    task = trained(tmp_path, **settings)
    for name in (HELD_OUT, TESTED):
        found = read_closer_answers(task, name)
        assert reason in found.reason and not found.logits
    fitted = read_teacher_calibration(task, 3)
    assert fitted.calibration is None and reason in fitted.reason
    figures: Any = escalation_figures([task], shipped_answers([task], {"fold-0": outputs(task)}))["escalation"]
    assert figures["curve"] is None and reason in str(figures["by_fold"])


def outputs(task: FoldTask) -> dict[str, SlideOutput]:
    """What the student says of the test slides."""
    student = load_mil(task.mil("lr_student"), task.config.mil)
    found = {i: answer(task, student, "lr_student", i) for i in task.fold.test}
    return {i: SlideOutput(task.predicts.values(one.logits), *one) for i, one in found.items()}


def test_the_calibration_is_fitted_to_the_answers_with_so_many_regions(task: FoldTask) -> None:
    for place, number in enumerate(NUMBERS):
        logits = {i: rows[place] for i, rows in read_closer_answers(task).logits.items()}
        found = read_teacher_calibration(task, number)
        assert found.calibration == fit_calibration(
            np.array([*logits.values()], np.float32), [task.labels[i] for i in logits]
        )


def test_the_curve_counts_what_a_plain_loop_counts(task: FoldTask) -> None:
    shipped = shipped_answers([task], {"fold-0": outputs(task)})
    figures: Any = escalation_figures([task], shipped)["escalation"]
    assert figures["regions"] == 3 and [point["regions"] for point in figures["curve"]] == [0, *NUMBERS]
    tested, answers = read_closer_answers(task, TESTED), shipped["fold-0"].answers
    assert any(about_classes(one.reasons) for one in answers.values())  # else nothing is tested here
    lr, hr = (
        sum(read_features(task.encoded(arm, i)).card.total for i in answers) for arm in ("lr_student", "hr_teacher")
    )
    for place, point in enumerate(figures["curve"]):
        looked = uncertain = wrong = patches = 0
        for slide_id, said in answers.items():
            if place and about_classes(said.reasons):
                looked += 1
                patches += tested.patches[slide_id][place - 1]
                fitted = read_teacher_calibration(task, NUMBERS[place - 1])
                logits = np.array(tested.logits[slide_id][place - 1], np.float32)
                said = task.predicts.answer(task.predicts.calibrated(logits, fitted.calibration), fitted.decision)
            uncertain += said.status == "uncertain"
            wrong += said.status != "uncertain" and task.predicts.target(said.label) != task.labels[slide_id]
        assert point == {
            "regions": 0 if place == 0 else NUMBERS[place - 1],
            "slides": len(answers),
            "looked_at": looked,
            "uncertain": uncertain,
            "wrong_answered": wrong,
            "patches_per_slide": pytest.approx((lr + patches) / len(answers)),
            "share_of_hr": pytest.approx((lr + patches) / hr),
        }


def test_without_every_calibration_there_is_no_curve(task: FoldTask, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = shipped_answers([task], {"fold-0": outputs(task)})
    plain = {name: one._replace(calibrated=False) for name, one in shipped.items()}
    assert escalation_figures([task], plain)["escalation"]["curve"] is None  # type: ignore[index]

    def lacking(one: FoldTask, regions: int) -> FoldCalibration:
        found = read_teacher_calibration(one, regions)
        return replace(found, calibration=None) if regions == NUMBERS[-1] else found

    monkeypatch.setattr("lrmil.runs.escalation_figures.read_teacher_calibration", lacking)
    found: Any = escalation_figures([task], shipped)["escalation"]
    assert found["curve"] is None and found["by_fold"]["fold-0"]["calibration"]


def test_the_card_has_the_settings_of_the_hr_patches(task: FoldTask, monkeypatch: pytest.MonkeyPatch) -> None:
    card = teacher_card(replace(task, config=replace(task.config, min_tissue=0.1, min_tissue_hr=0.4)))
    fitted = read_teacher_calibration(task, 3)
    assert card is not None and (card.min_tissue, card.mpp, card.kind) == (0.4, task.config.mpp_hr, "region")
    assert (card.regions, card.calibration, card.decision) == (3, fitted.calibration, fitted.decision)
    assert fitted.folds == 2 and card.calibration.slides == len(task.fold.train + task.fold.val)
    nothing = FoldCalibration(calibration=None, folds=0, reason="no order")
    monkeypatch.setattr("lrmil.runs.shipping.read_calibration", lambda _: nothing)
    assert teacher_card(task) is None  # its student is never uncertain


DAMAGES: list[Callable[[dict[str, Any]], object]] = [
    lambda found: found.update(regions=[1]),
    lambda found: found.update(logits={"nobody": [[0.0, 1.0]] * len(NUMBERS)}),
    lambda found: found["logits"].update({next(iter(found["logits"])): [[0.0, 1.0]]}),
    lambda found: found["logits"].update({next(iter(found["logits"])): [[0.0]] * len(NUMBERS)}),
    lambda found: found["patches"].popitem(),
    lambda found: found.update(more=1),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_answers_are_told(task: FoldTask, tmp_path: Path, damage: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((task.folder / HELD_OUT / "answers.json").read_text())
    damage(document)
    (tmp_path / "fold-0" / HELD_OUT).mkdir(parents=True)
    (tmp_path / "fold-0" / HELD_OUT / "answers.json").write_text(json.dumps(document))
    with pytest.raises(FormatError, match="'escalation'"):
        read_closer_answers(replace(task, run=tmp_path))


def finished(tiny_run: TinyRun, folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: object) -> Path:
    """A run on the tiny slides whose model keeps its teacher."""
    monkeypatch.setattr(classification, "MIN_OF_CLASS", 1)
    fitted = Calibration(slopes=(2.0, 2.0), offsets=(-0.3, 0.3), slides=8)  # the answers of tiny runs have no order
    monkeypatch.setattr(classification, "fit_calibration", lambda logits, targets: fitted)
    shutil.copytree(tiny_run.folder / "shared", folder / "shared")
    config = tiny_config(calibration__folds=2, stage2__inner_folds=2, decision__with_teacher=True, **settings)
    train(tiny_run.slides, tiny_run.labels, folder, config, device="cpu")
    return folder


def rehash(folder: Path) -> None:
    path = folder / "artefact.json"
    document = json.loads(path.read_text())
    document["sha256"] = {name: hashing.sha256_file(folder / name) for name in document["sha256"]}
    path.write_text(json.dumps(document))


def test_a_run_ships_its_teacher_and_a_change_of_it_is_found(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished(tiny_run, tmp_path / "run", monkeypatch)
    assert not audit_run(run, answers=True).findings
    bundle = load_bundle(run / "model", teacher=True)
    assert bundle.teacher is not None and bundle.teacher_networks is not None
    slide_id = next(iter(json.loads((run / "fold-0" / TESTED / "answers.json").read_text())["logits"]))
    hr = read_features(run / "shared/hr" / f"{slide_id}.zarr")
    assert encoder_hash(bundle.teacher_networks.encoder) == hr.card.encoder_hash
    assert json.loads((run / "metrics.json").read_text())["escalation"]["regions"] == bundle.teacher.regions == 4

    # what the model says of a slide is what the run said of it, with pixels read again
    doubting = replace(bundle, decision=replace(bundle.decision, sets=None, risk=None), familiarity=None)
    (slide,) = (path for path in tiny_run.slides.iterdir() if path.name.startswith(slide_id))
    asked = predict(slide, doubting, "cpu", escalate=True, uncertain_below=1.0)
    stored = json.loads((run / "fold-0" / TESTED / "answers.json").read_text())
    row = stored["regions"].index(bundle.teacher.regions)
    expected = bundle.task.calibrated(np.array(stored["logits"][slide_id][row], np.float32), bundle.teacher.calibration)
    assert [*asked.probabilities.values()] == pytest.approx(expected.tolist(), abs=1e-4)
    assert asked.escalation is not None and asked.escalation.patches == stored["patches"][slide_id][row]

    assert main(["card", str(run / "model")]) == 0
    assert "keeps its teacher" in " ".join(capsys.readouterr().out.split())
    intact = (run / "model/bundle.json").read_text()
    document = json.loads(intact)
    document["teacher"]["card"]["regions"] = 1
    (run / "model/bundle.json").write_text(json.dumps(document))
    assert any("teacher that it keeps answers otherwise" in one.message for one in audit_run(run).findings)

    (run / "model/bundle.json").write_text(intact)
    for network, told in zip(bundle.teacher_networks, ("encoder is not that", "weights of its MIL"), strict=True):
        weight = next(iter(network.parameters())).data
        weight += 1.0
        save_bundle(run / "model", bundle)  # with the hashes that the weights have now
        weight -= 1.0
        assert any(told in one.message for one in audit_run(run).findings), told
    save_bundle(run / "model", bundle)
    (run / "fold-0/teacher/mil.safetensors").unlink()
    found = [one.message for one in audit_run(run).findings]
    assert any("missing, or cannot be read" in one for one in found) and any(
        "weights of its MIL" in one for one in found
    )


@pytest.mark.parametrize("name", [HELD_OUT, TESTED])
def test_changed_answers_are_found_even_with_their_hashes(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run = finished(tiny_run, tmp_path / "run", monkeypatch, mil__head="mean", mil__seeds=1)
    path = run / "fold-0" / name / "answers.json"
    intact = path.read_text()
    slide_id = next(iter(json.loads(intact)["logits"]))
    changes: dict[str, Callable[[dict[str, Any]], object]] = {
        "answers now": lambda found: found["logits"][slide_id][0].__setitem__(0, 5.0),
        "counts of patches": lambda found: found["patches"][slide_id].__setitem__(-1, 1),
        "is not what artefact.json says": lambda found: found.update(reason="a reason", logits={}, patches={}),
    }
    for told, change in changes.items():
        document = json.loads(intact)
        change(document)
        path.write_text(json.dumps(document))
        rehash(path.parent)
        assert any(told in one.message for one in audit_run(run, answers=True).findings), told
    path.write_text(intact)
    rehash(path.parent)

    bundle = json.loads((run / "model/bundle.json").read_text())
    (bundle if name == TESTED else bundle["teacher"]["mil"])["head"] = "max"  # which has the weights of "mean"
    (run / "model/bundle.json").write_text(json.dumps(bundle))
    assert any("head of its MIL" in one.message for one in audit_run(run).findings)


def test_a_run_whose_settings_change_is_continued(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adding the teacher later trains nothing again but what it needs."""
    run = finished(tiny_run, tmp_path / "run", monkeypatch)
    stamp = stamp_of(run / "fold-0/lr_student/artefact.json")
    config = tiny_config(calibration__folds=2, stage2__inner_folds=2)
    train(tiny_run.slides, tiny_run.labels, run, config, device="cpu")
    assert read_model_card(run / "model").teacher is None and not (run / "model/teacher").exists()
    assert read_model_card(run / "earlier-1/model").teacher is not None
    assert "escalation" not in json.loads((run / "metrics.json").read_text())
    assert stamp_of(run / "fold-0/lr_student/artefact.json") == stamp
    assert not audit_run(run, answers=True).findings


def test_a_fold_without_calibration_ships_no_teacher(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run.folder / "shared", run / "shared")
    config = tiny_config(calibration__folds=0, stage2__inner_folds=2, decision__with_teacher=True)
    train(tiny_run.slides, tiny_run.labels, run, config, device="cpu")
    assert read_model_card(run / "model").teacher is None
    assert json.loads((run / "metrics.json").read_text())["escalation"]["curve"] is None
    assert not audit_run(run, answers=True).findings
