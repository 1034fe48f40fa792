"""The calibration of a run: who was left out, what is fitted, what ships, and damaged files."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from lrmil.cli import main
from lrmil.errors import FormatError
from lrmil.io.documents import held_out_name
from lrmil.models.bundle import load_bundle
from lrmil.prediction.inference import predict
from lrmil.reports.model_facts import model_facts
from lrmil.reports.run_report import write_report
from lrmil.runs.audit import audit_run
from lrmil.runs.calibrated_figures import calibration_figures, shipped_answers
from lrmil.runs.calibration import NO_ORDER, folds_to_hold_out, make_held_out_answers, read_calibration
from lrmil.runs.evidence import make_evidence
from lrmil.runs.fold_outputs import SlideOutput, load_mil
from lrmil.runs.fold_task import FoldTask
from lrmil.runs.fold_training import train_on_labels, train_slide_stage
from lrmil.runs.inner_mils import answer
from lrmil.runs.train import train
from lrmil.summary import summarise
from lrmil.tasks import classification
from lrmil.tasks.calibration import Calibration, fit_calibration
from support.folds import make_fold
from support.runs import TinyRun, tiny_config

pytestmark = pytest.mark.long

SETTINGS: dict[str, object] = {
    "mil__fit__epochs": 6,
    "mil__seeds": 1,
    "stage2__inner_folds": 2,
    "calibration__folds": 2,
}


def values(rng: np.random.Generator, label: int, arm: str) -> NDArray[np.float64]:
    return rng.normal(size=(4, 3)) + 0.8 * label


def trained_fold(run: Path, **settings: object) -> FoldTask:
    task = make_fold(run, values, cases=10, **{**SETTINGS, **settings})
    for stage in (train_on_labels(task, "hr_teacher"), make_evidence(task), train_slide_stage(task)):
        list(stage)
    return task


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> FoldTask:
    """A fold whose answers are written; read only."""
    task = trained_fold(tmp_path_factory.mktemp("run"))
    list(make_held_out_answers(task))
    return task


def test_every_slide_is_left_out_once_and_the_validation_slides_together(task: FoldTask) -> None:
    held = folds_to_hold_out(task).held_out
    assert sorted(i for fold in held for i in fold) == sorted(task.fold.train + task.fold.val)
    assert held[-1] == tuple(sorted(task.fold.val)) and len(held) == 3
    of_cases = [{task.cases[i] for i in fold} for fold in held]
    assert sum(map(len, of_cases)) == len(set.union(*of_cases))


@pytest.mark.parametrize(
    ("settings", "reason"), [({"calibration__folds": 0}, "calibration.folds"), ({"finish__epochs": 1}, "finish")]
)
def test_nothing_is_held_out_where_nothing_is_calibrated(
    tmp_path: Path, settings: dict[str, object], reason: str
) -> None:
    task = make_fold(tmp_path, values, cases=10, **{**SETTINGS, **settings})
    held = folds_to_hold_out(task)
    assert held.held_out == () and reason in held.reason
    list(make_held_out_answers(task))
    found = read_calibration(task)
    assert (found.calibration, found.folds) == (None, 0) and reason in found.reason


def test_each_slide_is_answered_by_a_student_that_has_not_seen_it(task: FoldTask) -> None:
    answers = json.loads((task.folder / "calibration/answers.json").read_text())["logits"]
    for number, fold in enumerate(folds_to_hold_out(task).held_out):
        folder = task.folder / held_out_name(number)
        inputs = json.loads((folder / "artefact.json").read_text())["inputs"]
        assert not set(inputs["train"]) & set(fold) and not inputs["val"]
        assert set(inputs["train"]) | set(fold) == {*task.fold.train, *task.fold.val}
        mil = load_mil(folder, task.config.mil)
        for slide_id in fold:
            np.testing.assert_allclose(answers[slide_id], answer(task, mil, "lr_student", slide_id).logits, rtol=1e-6)
    assert not set(answers) & set(task.fold.test)
    for path in task.folder.glob("*/artefact.json"):
        assert not any(f'"{slide_id}"' in path.read_text() for slide_id in task.fold.test)


def test_it_is_fitted_to_those_answers_and_made_once(task: FoldTask) -> None:
    answers = json.loads((task.folder / "calibration/answers.json").read_text())["logits"]
    found = read_calibration(task)
    assert found.calibration == fit_calibration(np.array([*answers.values()]), [task.labels[i] for i in answers])
    assert (found.folds, found.reason) == (3, "") and found.calibration is not None
    assert found.to_dict()["calibration"] == found.calibration.to_dict()
    assert not list(make_held_out_answers(task))


def figures_of(tasks: list[FoldTask], tested: dict[str, SlideOutput]) -> dict[str, object]:
    """The figures of folds whose student says the same of the same test slides."""
    shipped = shipped_answers(tasks, {task.fold.name: tested for task in tasks})
    return calibration_figures(tasks, shipped, dict.fromkeys(tasks[0].cases.values(), "mean"))


def test_the_figures_are_those_of_calibrated_test_slides(task: FoldTask) -> None:
    rng = np.random.default_rng(0)
    tested = {i: SlideOutput(np.zeros(2), rng.normal(size=2).astype(np.float32), np.zeros(1)) for i in task.fold.test}
    figures = figures_of([task], tested)
    fitted = read_calibration(task).calibration
    assert fitted is not None
    odds = [fitted.slopes[1] * float(out.logits[1] - out.logits[0]) + fitted.offsets[1] for out in tested.values()]
    shares = 1 / (1 + np.exp(-np.array(odds)))
    targets, cases = [task.labels[i] for i in tested], [task.cases[i] for i in tested]
    decision = read_calibration(task).decision
    assert decision.threshold is not None
    values, names = np.stack([1 - shares, shares], axis=1), task.predicts.names
    expected = summarise(targets, values, cases, names, thresholds=[decision.threshold] * len(targets))
    found = figures["after"]
    assert found.keys() == expected.keys()  # type: ignore[attr-defined]
    assert found["confusion"] == confusion_matrix(targets, shares >= decision.threshold).tolist()  # type: ignore[index]
    uncertain = [bool(decision.doubts(row)) for row in values]
    wrong = [said != target for said, target in zip(shares >= decision.threshold, targets, strict=True)]
    abstention = figures["abstention"]
    assert abstention["uncertain"] == sum(uncertain) and abstention["wrong"] == sum(wrong)  # type: ignore[index]
    assert abstention["wrong_answered"] == sum(np.array(wrong) & ~np.array(uncertain))  # type: ignore[index]
    assert found["brier"] == pytest.approx(expected["brier"]) and found["auroc"] == expected["auroc"]  # type: ignore[index]


def test_one_fold_without_order_leaves_no_figures_after_calibration(task: FoldTask, tmp_path: Path) -> None:
    """Its answers are turned round: the probabilities then fall with the frequency of the classes."""
    shutil.copytree(task.folder / "calibration", tmp_path / "fold-1/calibration")
    path = tmp_path / "fold-1/calibration/answers.json"
    document = json.loads(path.read_text())
    document["logits"] = {name: logits[::-1] for name, logits in document["logits"].items()}
    path.write_text(json.dumps(document))
    other = replace(task, run=tmp_path, fold=replace(task.fold, name="fold-1"))
    found = read_calibration(other)
    assert found.calibration is None and found.reason == NO_ORDER and found.folds == 3
    tested = {i: SlideOutput(np.zeros(2), np.zeros(2, np.float32), np.zeros(1)) for i in task.fold.test}
    assert figures_of([task], tested)["after"] is not None
    figures = figures_of([task, other], tested)
    assert figures["after"] is None and set(figures["by_fold"]) == {"fold-0", "fold-1"}  # type: ignore[call-overload]


def test_too_few_slides_of_a_class_are_told(task: FoldTask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classification, "MIN_OF_CLASS", 50)
    found = read_calibration(task)
    assert found.calibration is None and "fewer than 50 slides of class 0, class 1" in found.reason
    assert figures_of([task], {})["after"] is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda found: found.update(logits={"nobody": [0.0, 1.0]}),
        lambda found: found["logits"].update({next(iter(found["logits"])): [0.0]}),
        lambda found: found["logits"].update({next(iter(found["logits"])): [0.0, float("nan")]}),
        lambda found: found.pop("folds"),
        lambda found: found.update(more=1),
    ],
)
def test_damaged_answers_are_told(task: FoldTask, tmp_path: Path, damage: Callable[[dict[str, object]], None]) -> None:
    document = json.loads((task.folder / "calibration/answers.json").read_text())
    damage(document)
    (tmp_path / "fold-0/calibration").mkdir(parents=True)
    (tmp_path / "fold-0/calibration/answers.json").write_text(json.dumps(document))
    with pytest.raises(FormatError, match="'calibration'"):
        read_calibration(replace(task, run=tmp_path))
    with pytest.raises(FormatError, match="'calibration'"):
        read_calibration(replace(task, run=tmp_path / "nowhere"))


def test_no_test_slide_has_a_say(tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With other labels, other files and fewer of them, what is fitted and shipped is the same, byte for byte."""
    monkeypatch.setattr(classification, "MIN_OF_CLASS", 1)
    config = tiny_config(calibration__folds=2, mil__select_from=0)
    shutil.copytree(tiny_run.folder / "shared", tmp_path / "run/shared")
    train(tiny_run.slides, tiny_run.labels, tmp_path / "run", config, device="cpu")
    slides, header, *rows = tmp_path / "slides", *tiny_run.labels.read_text().split()
    shutil.copytree(tiny_run.slides, slides)
    test = [row for row in rows if row.endswith(",test")]
    one, other = (slides / f"{row.split(',')[0]}.ome.tif" for row in test[:2])
    one.rename(slides / "aside")
    other.rename(one)
    (slides / "aside").rename(other)
    gone = f"{test[-1].split(',')[0]}.ome.tif"
    (slides / gone).unlink()
    changed = [row.replace("positive", "x").replace("negative", "positive").replace("x", "negative") for row in test]
    kept = [row for row in rows if row not in test]
    (tmp_path / "labels.csv").write_text("\n".join([header, *kept, *changed[:-1]]) + "\n")
    train(slides, tmp_path / "labels.csv", tmp_path / "other", config, device="cpu")
    for name in ("fold-0/calibration/answers.json", "fold-0/calibration/artefact.json", "model/mil.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "other" / name).read_bytes(), name
    before, after = (json.loads((tmp_path / run / "model/bundle.json").read_text()) for run in ("run", "other"))
    for name in ("calibration", "learned_from", "sha256"):
        assert before.get(name) == after.get(name), name
    assert before["metrics"]["calibration"]["by_fold"] == after["metrics"]["calibration"]["by_fold"]
    assert before["metrics"]["lr_student"] != after["metrics"]["lr_student"]


def test_what_is_shipped_is_calibrated(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(classification, "MIN_OF_CLASS", 1)
    fitted = Calibration(slopes=(2.0, 2.0), offsets=(-0.3, 0.3), slides=8)  # the tiny run's own answers have no order
    monkeypatch.setattr(classification, "fit_calibration", lambda logits, targets: fitted)
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    config = tiny_config(calibration__folds=2)
    run = train(tiny_run.slides, tiny_run.labels, tmp_path / "run", config, device="cpu", replace=True)
    bundle, stated = load_bundle(run.model), run.metrics["calibration"]
    assert bundle.calibration == fitted
    assert stated["by_fold"]["fold-0"]["calibration"] == fitted.to_dict()  # type: ignore[index]
    slide = sorted(tiny_run.slides.iterdir())[-1]
    found = predict(slide, bundle, "cpu")
    plain = predict(slide, replace(bundle, calibration=None), "cpu")
    odds = np.log(plain.probabilities["positive"] / plain.probabilities["negative"])
    assert found.probabilities["positive"] == pytest.approx(1 / (1 + np.exp(-2 * odds - 0.3)), abs=1e-4)
    assert sum(found.probabilities.values()) == pytest.approx(1)
    facts = model_facts(bundle.card)
    point = bundle.decision.operating_point
    assert point is not None and stated["by_fold"]["fold-0"]["decision"] == bundle.decision.to_dict()  # type: ignore[index]
    assert found.threshold == point.threshold
    assert found.label == ("positive" if found.probabilities["positive"] >= point.threshold else "negative")
    assert f"positive from a probability of {point.threshold:.3f} on (youden)" in facts["Operating point"]
    assert "by 8 slides" in facts["Calibration"] and "Brier" in facts["Test, LR student calibrated"]
    assert model_facts(replace(bundle, calibration=None).card)["Calibration"].startswith("not calibrated")
    assert main(["card", str(run.model)]) == 0 and "Platt scaling" in capsys.readouterr().out
    assert "calibrated, by slide" in write_report(run.folder).read_text(encoding="utf-8")
    path = run.model / "bundle.json"
    document = json.loads(path.read_text())
    document["decision"]["operating_point"]["threshold"] = 0.99
    path.write_text(json.dumps(document))
    assert any("Its decision is not that" in one.message for one in audit_run(run.folder).findings)
