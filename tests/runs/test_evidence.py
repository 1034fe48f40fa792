"""Evidence: every slide is answered by a teacher that has not seen it, and a poor teacher teaches nothing."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lrmil.errors import FormatError
from lrmil.features.store import read_features
from lrmil.io.ownership import is_artefact
from lrmil.models.heads.head import predict_bag
from lrmil.runs.evidence import make_evidence
from lrmil.runs.fold_outputs import EVIDENCE, Evidence, load_mil, read_evidence, read_teacher_outputs
from lrmil.runs.fold_task import FoldTask
from lrmil.runs.fold_training import train_on_labels, train_slide_stage
from lrmil.tasks.answers import Target
from lrmil.tasks.classification import Classification
from support.folds import inputs_of, make_fold
from support.runs import stamp_of

NO_TEACHER: dict[str, object] = {f"stage2.lambda_{name}": 0.0 for name in ("bag", "soft", "hard")}
CLEAR, NOISE = 6.0, 0.0


def make_task(
    run: Path, *, teacher: float, baseline: float, cases: int = 8, r2: float | None = 0.9, **settings: object
) -> FoldTask:
    """A fold whose classes differ in some patches; how clear they are to the teacher and at LR."""

    def values(rng: np.random.Generator, label: int, arm: str) -> NDArray[np.float64]:
        bag = rng.normal(size=(9, 5))
        bag[:4, 0] += (teacher if arm == "hr_teacher" else baseline) * label
        return bag

    return make_fold(run, values, cases=cases, r2=r2, **settings)


def run_until_stage_2(task: FoldTask) -> list[str]:
    """Train the teacher, its evidence and the student; return the messages."""
    steps = [*train_on_labels(task, "hr_teacher"), *make_evidence(task), *train_slide_stage(task)]
    return [step.message for step in steps if step.message]


def test_each_slide_is_answered_by_a_teacher_that_has_not_seen_it(tmp_path: Path) -> None:
    task = make_task(tmp_path, teacher=CLEAR, baseline=NOISE)
    messages = run_until_stage_2(task)
    evidence, outputs = read_evidence(task.folder), read_teacher_outputs(task.folder)
    assert evidence.inner_folds == 4 and evidence.used and evidence.reason == ""
    assert evidence.teacher is not None and evidence.baseline is not None and evidence.teacher > 0.9
    assert evidence.baseline < 0.8 and not [message for message in messages if "below" in message]
    own = {*task.fold.train, *task.fold.val}
    held: list[str] = []
    for number in range(4):
        folder = task.folder / f"teacher.inner-{number}"
        seen = inputs_of(folder)["train"]
        for slide_id in sorted(own - seen.keys()):
            mil = load_mil(folder, task.config.mil)
            found = predict_bag(mil, torch.from_numpy(read_features(task.features("hr_teacher", slide_id)).embeddings))
            np.testing.assert_array_equal(outputs[slide_id].logits, found.logits)
            np.testing.assert_array_equal(outputs[slide_id].attention_logits, found.attention_logits)
            held.append(slide_id)
        assert not {task.cases[i] for i in seen} & {task.cases[i] for i in own - seen.keys()}
        assert not seen.keys() & set(task.fold.test)
    assert sorted(held) == sorted(own) == sorted(outputs)
    assert is_artefact(task.folder / "evidence") and is_artefact(task.folder / "teacher.inner-0")


def test_nothing_is_done_twice_and_a_changed_label_does_it_again(tmp_path: Path) -> None:
    task = make_task(tmp_path, teacher=CLEAR, baseline=CLEAR, cases=5, stage2__inner_folds=2)
    run_until_stage_2(task)
    paths = sorted(task.folder.glob("*/artefact.json"))
    assert len(paths) == 7
    before = {path: stamp_of(path) for path in paths}
    assert run_until_stage_2(task) == [] and {path: stamp_of(path) for path in paths} == before
    slide_id = task.fold.train[0]
    unaware = {path for path in paths if slide_id not in inputs_of(path.parent).get("train", {})}
    unaware -= {task.folder / "evidence/artefact.json"}
    run_until_stage_2(replace(task, labels={**task.labels, slide_id: 1 - task.labels[slide_id]}))  # type: ignore[operator]
    assert {path for path in paths if stamp_of(path) == before[path]} == unaware
    assert sorted(path.parent.name.partition(".")[0] for path in unaware) == ["lr_undistilled", "teacher"]


def test_a_teacher_below_the_baseline_teaches_nothing(tmp_path: Path) -> None:
    """The student is then, bit for bit, what labels alone make of it."""
    task = make_task(tmp_path / "one", teacher=NOISE, baseline=CLEAR, stage2__warm_start=True, stage1__lambda_keep=0.0)
    messages = run_until_stage_2(task)
    evidence = read_evidence(task.folder)
    assert evidence.teacher is not None and evidence.baseline is not None
    assert not evidence.used and evidence.teacher < evidence.baseline
    assert any("labels alone" in message for message in messages)
    alone = make_task(tmp_path / "other", teacher=NOISE, baseline=CLEAR, stage2__inner_folds=0, **NO_TEACHER)
    run_until_stage_2(alone)
    one, other = (load_mil(one.mil("lr_student"), one.config.mil).state_dict() for one in (task, alone))
    assert one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize(("r2", "warm"), [(0.5, True), (0.49, False), (-2.0, False), (None, False)])
def test_a_student_starts_from_the_teachers_weights_where_stage_1_allows_it(
    tmp_path: Path, r2: float | None, *, warm: bool
) -> None:
    settings: dict[str, object] = {"stage2__warm_start": True, "stage1__lambda_keep": 0.0, "stage2__inner_folds": 0}
    task = make_task(tmp_path, teacher=CLEAR, baseline=CLEAR, r2=r2, **settings)
    list(train_on_labels(task, "hr_teacher"))
    still = replace(task.config.mil, fit=replace(task.config.mil.fit, learning_rate=1e-12))
    task = replace(task, config=replace(task.config, mil=still))
    steps = [*make_evidence(task), *train_slide_stage(task)]
    assert any("no warm start" in step.message for step in steps) != warm
    start, end = (load_mil(task.mil(arm), task.config.mil).state_dict() for arm in ("hr_teacher", "lr_student"))
    assert all(torch.allclose(value, end[name], atol=1e-6) for name, value in start.items()) == warm
    stage2 = inputs_of(task.mil("lr_student"))["stage2"]
    assert stage2["warm_start"] is warm and "warm_start_r2" not in stage2


class Even(Classification):
    """A task in which every answer scores the same."""

    def score(self, targets: Sequence[Target], values: NDArray[np.float64]) -> float:
        return 0.5


def test_a_teacher_that_equals_the_baseline_teaches(tmp_path: Path) -> None:
    task = make_task(tmp_path, teacher=CLEAR, baseline=CLEAR, cases=5, stage2__inner_folds=2, mil__fit__epochs=1)
    task = replace(task, predicts=Even(("class 0", "class 1")))
    assert not [message for message in run_until_stage_2(task) if "below" in message]
    evidence = read_evidence(task.folder)
    assert evidence.teacher == evidence.baseline == 0.5 and evidence.used


def test_a_class_of_one_case_takes_the_teachers_own_outputs_and_says_why(tmp_path: Path) -> None:
    task = make_task(tmp_path, teacher=CLEAR, baseline=NOISE)
    class_0 = [i for i in task.fold.train + task.fold.val if task.labels[i] == 0]
    task = replace(task, cases={**task.cases, **dict.fromkeys(class_0, "p4")})
    messages = run_until_stage_2(task)
    evidence = read_evidence(task.folder)
    assert evidence == Evidence(reason=evidence.reason) and "1 case " in evidence.reason
    assert evidence.reason in messages and not list(task.folder.glob("*.inner-*"))
    mil = load_mil(task.mil("hr_teacher"), task.config.mil)
    for slide_id, output in read_teacher_outputs(task.folder).items():
        embeddings = torch.from_numpy(read_features(task.features("hr_teacher", slide_id)).embeddings)
        np.testing.assert_array_equal(output.logits, predict_bag(mil, embeddings).logits)


@pytest.mark.parametrize(("select_from", "schedule"), [(0, "selected"), (1, "selected"), (2, "fixed"), (20, "fixed")])
def test_few_validation_cases_select_nothing(tmp_path: Path, select_from: int, schedule: str) -> None:
    """There is one validation case of each class, one of them with two slides."""
    task = make_task(tmp_path, teacher=CLEAR, baseline=NOISE, mil__select_from=select_from, mil__fit__epochs=3)
    messages = [step.message for step in train_on_labels(task, "hr_teacher") if step.message]
    inputs = inputs_of(task.mil("hr_teacher"))
    history = json.loads((task.mil("hr_teacher") / "history.json").read_text())
    assert task.schedule == inputs["schedule"] == schedule and len(history) == 3
    if schedule == "selected":
        assert (inputs["train"].keys(), inputs["val"].keys()) == ({*task.fold.train}, {*task.fold.val})
        assert "3 validation slides" in messages[0] or "2 validation slides" in messages[0]
    else:
        assert (inputs["train"].keys(), inputs["val"]) == ({*task.fold.train, *task.fold.val}, {})
        assert "all epochs" in messages[0]
    assert all(("val_score" in row) == (schedule == "selected") for row in history)


def test_damaged_evidence_is_refused_and_that_of_earlier_versions_read(tmp_path: Path) -> None:
    (tmp_path / "evidence").mkdir()
    assert read_evidence(tmp_path) == Evidence()
    for text in ("[]", '{"used": "perhaps"}', '{"teacher": NaN}', '{"more": 1}', "{"):
        (tmp_path / "evidence" / EVIDENCE).write_text(text)
        with pytest.raises(FormatError):
            read_evidence(tmp_path)
