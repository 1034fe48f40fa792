"""The head of a fold where `mil.head` is "auto": that of the lowest loss on slides that its MILs have not seen.

The candidates are trained on the inner folds of the training and validation slides, so that no test slide has a say,
and for both arms of frozen features, which are there before stage 1. All three arms of the fold then have the winner.
"""

from collections.abc import Generator
from dataclasses import replace
from typing import Never

from lrmil.cohorts.inner_folds import InnerFolds
from lrmil.configs import AUTO, HeadName
from lrmil.io import atomic
from lrmil.models.heads.kinds import FIRST
from lrmil.runs.artefacts import committing
from lrmil.runs.chosen_heads import CHOICE, NAME, HeadChoice, read_choice, reason_of
from lrmil.runs.fold_task import FoldTask
from lrmil.runs.inner_mils import (
    COMPARED,
    against_labels,
    inner_folds_of,
    inner_keys,
    out_of_fold,
    slide_keys,
    train_inner_mils,
)
from lrmil.runs.stages import Artefact, is_stale
from lrmil.steps import Step

CANDIDATES: tuple[HeadName, ...] = (FIRST, "mean", "max")
"""What tells slides apart may be a learned choice of patches, all of them alike, or a few strong ones. Which is not
known before, and these three heads are one each. None is slower to train than the first; of the others, transmil needs
a time that grows with the square of the patches, and dsmil and clam_sb are attention with more to learn."""


def choose_head(task: FoldTask) -> Generator[Step[Never], None, FoldTask]:
    """Choose the head of a fold whose settings ask for it; the choice is an artefact, `NAME` in the folder of the fold.

    Parameters
    ----------
    task
        The fold, with its frozen features.

    Yields
    ------
    Step
        Of the trainings of the candidates, one per output that is compared, and one that says which head was chosen.

    Returns
    -------
    FoldTask
        The fold with the chosen head in its settings.
    """
    if task.config.mil.head != AUTO:
        return task
    inner = inner_folds_of(task)
    candidates = CANDIDATES if inner.held_out else ()
    yield from train_inner_mils(task, inner, candidates)
    inputs = {
        "what": NAME,
        "candidates": list(candidates),
        "models": {head: inner_keys(task.with_head(head), inner) for head in candidates},
        "inner_folds": [list(inner.held_out), inner.reason],
        "slides": slide_keys(task, COMPARED) if candidates else {},
    }
    if (yield from is_stale(task, Artefact(NAME, NAME, inputs))):
        choice = yield from _compare(task, inner)
        with committing(task.folder / NAME, inputs) as temporary:
            atomic.write_json(temporary / CHOICE, choice.to_dict())
        count = len(candidates) * len(COMPARED) * len(task.fold.train + task.fold.val)
        message = f"the head is {choice.head}; {reason_of(choice)}"
        yield Step((task.fold.name, NAME), count, count, "slides", message=message)
    return with_chosen_head(task)


def with_chosen_head(task: FoldTask) -> FoldTask:
    """Return a fold with the head that was chosen for it, or as it is if its settings name one.

    Raises
    ------
    FormatError
        If the choice is absent or damaged.
    """
    return task.with_head(read_choice(task.folder).head) if task.config.mil.head == AUTO else task


def _compare(task: FoldTask, inner: InnerFolds) -> Generator[Step[Never], None, HeadChoice]:
    """Return the candidate of the lowest loss, or the first one where there are no inner folds."""
    if not inner.held_out:
        return HeadChoice(head=FIRST, reason=inner.reason)
    outputs = yield from out_of_fold(task, inner, CANDIDATES, (task.fold.name, NAME))
    losses = {
        head: {arm: task.predicts.validate(*against_labels(task, outputs[head, arm])).loss for arm in COMPARED}
        for head in CANDIDATES
    }
    compared = HeadChoice(head=FIRST, inner_folds=len(inner.held_out), reason=inner.reason, losses=losses)
    means = compared.means
    return replace(compared, head=min(means, key=means.__getitem__))
