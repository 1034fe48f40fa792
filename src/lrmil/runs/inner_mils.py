"""The MILs of a fold's inner folds: trained as one stage, and their outputs on the slides that each has not seen."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Never

import numpy as np
from numpy.typing import NDArray

from lrmil.cohorts.inner_folds import InnerFolds, draw_inner_folds
from lrmil.configs import HeadName
from lrmil.features.store import read_card
from lrmil.models.heads.head import BagOutput, MILHead, predict_bag
from lrmil.runs.artefacts import key_of
from lrmil.runs.fold_outputs import load_mil
from lrmil.runs.fold_task import FoldTask
from lrmil.runs.fold_training import INNER_JOB, inner_folder, inner_steps, train_inner
from lrmil.runs.stages import as_one_stage
from lrmil.steps import Job, Step
from lrmil.tasks.answers import Target
from lrmil.training.region_bags import read_bag

COMPARED = ("hr_teacher", "lr_undistilled")  # the arms of frozen features, which are there before stage 1


def inner_folds_of(task: FoldTask) -> InnerFolds:
    """Draw the inner folds of a fold; the same for everything that uses them."""
    slide_ids, folds = task.fold.train + task.fold.val, task.config.stage2.inner_folds
    return draw_inner_folds(slide_ids, task.cases, task.strata, folds=folds, seed=task.seed("inner folds"))


def train_inner_mils(task: FoldTask, inner: InnerFolds, heads: Iterable[HeadName]) -> Iterator[Step[Never]]:
    """Train the MILs of both compared arms in every inner fold, as one stage; current ones are kept.

    Parameters
    ----------
    task
        The fold.
    inner
        Its inner folds.
    heads
        The heads to train.

    Yields
    ------
    Step
        Of the stage: optimisation steps done, of those of all trainings. What several trainings say is said once.
    """
    works = [(head, arm, *fold) for head in heads for arm in COMPARED for fold in enumerate(inner.held_out)]
    trainings = [
        (train_inner(task.with_head(head), arm, number, held_out), inner_steps(task, held_out))
        for head, arm, number, held_out in works
    ]
    yield from as_one_stage((task.fold.name, INNER_JOB), trainings)


def inner_keys(task: FoldTask, inner: InnerFolds) -> dict[str, list[str]]:
    """Return the keys of the MILs of the inner folds by arm, as inputs of what is made from their outputs."""
    numbers = range(len(inner.held_out))
    return {arm: [key_of(inner_folder(task, arm, number)) for number in numbers] for arm in COMPARED}


def slide_keys(task: FoldTask, arms: Sequence[str]) -> dict[str, list[object]]:
    """Return slide id -> its label and the keys of its features for some arms, of training and validation slides."""
    slide_ids = task.fold.train + task.fold.val
    return {i: [task.labels[i], *(read_card(task.features(arm, i)).key for arm in arms)] for i in slide_ids}


def out_of_fold(
    task: FoldTask, inner: InnerFolds, heads: Sequence[HeadName], job: Job
) -> Generator[Step[Never], None, dict[tuple[HeadName, str], dict[str, BagOutput]]]:
    """Return, by head and compared arm, the output for each slide by the MIL of an inner fold that has not seen it.

    Parameters
    ----------
    task, inner
        The fold and its inner folds, whose MILs are trained.
    heads
        The heads that are asked.
    job
        Job of the Steps.

    Yields
    ------
    Step
        One per output.
    """
    works = [(head, arm, *fold) for head in heads for arm in COMPARED for fold in enumerate(inner.held_out)]
    done, total = 0, sum(len(held_out) for *_, held_out in works)
    found: dict[tuple[HeadName, str], dict[str, BagOutput]] = {}
    for head, arm, number, held_out in works:
        mil = load_mil(inner_folder(task.with_head(head), arm, number), task.config.mil)
        for slide_id in held_out:
            found.setdefault((head, arm), {})[slide_id] = answer(task, mil, arm, slide_id)
            done += 1
            yield Step(job, done, total, "slides")
    return found


def answer(task: FoldTask, mil: MILHead, arm: str, slide_id: str) -> BagOutput:
    """Return the output of a MIL of an arm for a slide of the fold."""
    return predict_bag(mil, read_bag(task.features(arm, slide_id), task.nested(arm, slide_id)))


def against_labels(task: FoldTask, outputs: Mapping[str, BagOutput]) -> tuple[list[Target], NDArray[np.float64]]:
    """Return the targets (n) of slides and the values (n, names) that their outputs stand for, to be compared."""
    values = np.stack([task.predicts.values(output.logits) for output in outputs.values()])
    return [task.labels[slide_id] for slide_id in outputs], values
