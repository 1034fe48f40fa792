"""The MILs of inner folds: one stage with one count, each asked only about slides that it has not seen."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lrmil.configs import HeadName
from lrmil.features.store import read_features
from lrmil.models.heads.head import predict_bag
from lrmil.runs.evidence import make_evidence
from lrmil.runs.fold_outputs import load_mil
from lrmil.runs.fold_task import FoldTask
from lrmil.runs.fold_training import inner_folder, train_on_labels, train_slide_stage
from lrmil.runs.head_choice import choose_head
from lrmil.runs.inner_mils import COMPARED, against_labels, inner_folds_of, out_of_fold, train_inner_mils
from lrmil.steps import Step
from support.folds import make_fold

HEADS: tuple[HeadName, ...] = ("abmil", "max")


def make_task(run: Path, **settings: object) -> FoldTask:
    """A fold of noise, whose MILs are trained for two epochs."""

    def values(rng: np.random.Generator, label: int, arm: str) -> NDArray[np.float64]:
        return rng.normal(size=(9, 3)) + label

    brief: dict[str, object] = {"mil__fit__epochs": 2, "mil__seeds": 1, "stage2__inner_folds": 2}
    return make_fold(run, values, cases=5, **{**brief, **settings})


def require_never_back(steps: list[Step[object]]) -> list[str]:
    """Require that each job counts up to a total that stays; return the stages in the order of their beginning."""
    seen: dict[tuple[str, ...], Step[object]] = {}
    for step in steps:
        before = seen.get(step.job, Step(step.job, 0, step.total))
        assert before.done <= step.done <= (step.total or step.done), (before, step)
        assert before.total in (step.total, None), (before, step)
        seen[step.job] = step
    assert all(step.done == step.total for step in seen.values())
    return [stage for _, stage in seen]


@pytest.mark.parametrize("head", ["auto", "mean"])
def test_progress_never_goes_back(tmp_path: Path, head: str) -> None:
    task = make_task(tmp_path, mil__head=head)
    steps: list[Step[object]] = []
    chosen = choose_head(task)
    try:
        while True:
            steps.append(next(chosen))
    except StopIteration as end:
        task = end.value
    steps += [*train_on_labels(task, "hr_teacher"), *make_evidence(task), *train_slide_stage(task)]
    chosen_first = ["inner folds", "head", "teacher", "evidence", "lr_student"]
    named = ["teacher", "inner folds", "evidence", "lr_student"]
    assert require_never_back(steps) == (chosen_first if head == "auto" else named)


def test_a_poor_teacher_is_told_at_the_end_of_the_count(tmp_path: Path) -> None:
    def values(rng: np.random.Generator, label: int, arm: str) -> NDArray[np.float64]:
        return rng.normal(size=(9, 3)) + 6 * label * (arm == "lr_undistilled")

    settings: dict[str, object] = {"mil__fit__epochs": 15, "mil__seeds": 1, "stage2__inner_folds": 2}
    task = make_fold(tmp_path, values, cases=5, **settings)
    list(train_on_labels(task, "hr_teacher"))
    steps = list(make_evidence(task))
    assert require_never_back(list(steps)) == ["inner folds", "evidence"] and "labels alone" in steps[-1].message


def test_each_head_of_each_arm_is_announced_once_and_no_training_is_made_twice(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    inner = inner_folds_of(task)
    steps = list(train_inner_mils(task, inner, HEADS))
    said = [step.message for step in steps if step.message]
    assert len(said) == len(set(said))
    assert sum("trained once" in message for message in said) == len(HEADS) * len(COMPARED)
    assert all(any(f"head {head}" in one for one in said) for head in HEADS)
    assert list(train_inner_mils(task, inner, HEADS)) == []
    more = list(train_inner_mils(task, inner, (*HEADS, "mean")))
    assert more[0].done == steps[-1].total and more[-1].done == more[-1].total
    for head in HEADS:
        for arm in COMPARED:
            names = [inner_folder(task.with_head(head), arm, number).name for number in range(2)]
            assert names[0] != names[1] and all((task.folder / name).is_dir() for name in names)


def test_a_slide_is_answered_by_the_mil_that_has_not_seen_it(tmp_path: Path) -> None:
    task = make_task(tmp_path)
    inner = inner_folds_of(task)
    list(train_inner_mils(task, inner, HEADS))
    steps = out_of_fold(task, inner, HEADS, ("a", "job"))
    count = 0
    try:
        while True:
            assert (count := count + 1) == next(steps).done
    except StopIteration as end:
        found = end.value
    own = {*task.fold.train, *task.fold.val}
    assert count - 1 == len(own) * len(found) and found.keys() == {(head, arm) for head in HEADS for arm in COMPARED}
    for (head, arm), outputs in found.items():
        assert outputs.keys() == own
        for number, held_out in enumerate(inner.held_out):
            folder = inner_folder(task.with_head(head), arm, number)
            inputs = json.loads((folder / "artefact.json").read_text())["inputs"]
            assert inputs["train"].keys() == own - {*held_out} and inputs["val"] == {}
            mil = load_mil(folder, task.config.mil)
            for slide_id in held_out:
                bag = torch.from_numpy(read_features(task.features(arm, slide_id)).embeddings)
                np.testing.assert_array_equal(outputs[slide_id].logits, predict_bag(mil, bag).logits)
        targets, values = against_labels(task, outputs)
        assert targets == [task.labels[slide_id] for slide_id in outputs]
        expected = [torch.from_numpy(output.logits).softmax(-1).numpy() for output in outputs.values()]
        np.testing.assert_allclose(values, expected, atol=1e-6)
