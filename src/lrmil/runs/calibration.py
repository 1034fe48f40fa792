"""The calibration of a fold's student, by its answers on slides that its MIL has not seen.

The MIL of stage 2 is trained again without each of several folds: those of training cases, and the validation slides,
whose separation may stand for what cases do not state, such as sites. No test slide has a say, so that the figures of
the test slides after calibration are those of new slides.
"""

from collections.abc import Iterator, Sequence
from typing import Never

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, FiniteFloat, TypeAdapter
from pydantic.dataclasses import dataclass

from lrmil.cohorts.inner_folds import InnerFolds, draw_inner_folds
from lrmil.errors import FormatError
from lrmil.features.store import read_card
from lrmil.io import atomic
from lrmil.io.documents import held_out_name
from lrmil.runs.arms import CALIBRATION
from lrmil.runs.artefacts import committing, damaged, key_of, read_document
from lrmil.runs.fold_outputs import load_mil
from lrmil.runs.fold_task import FoldTask
from lrmil.runs.fold_training import CALIBRATION_JOB, inner_steps, train_held_out
from lrmil.runs.inner_mils import answer
from lrmil.runs.stages import Artefact, as_one_stage, is_stale
from lrmil.steps import Step
from lrmil.tasks.calibration import Calibration
from lrmil.tasks.decision import Decision

ANSWERS = "answers.json"
NO_ORDER = "on slides that the model has not seen, its probabilities do not rise with the frequency of the classes"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class HeldOutAnswers:
    """What the student said of slides that its MIL had not seen."""

    logits: dict[str, list[FiniteFloat]]
    """Slide id -> (outputs,); empty if there are no folds."""
    folds: int
    """Number of folds, the validation slides among them."""
    reason: str
    """Why there are fewer folds than asked for, or none."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class FoldCalibration:
    """The calibration of a fold, or why there is none."""

    calibration: Calibration | None
    decision: Decision = Decision()
    """How the calibrated values become answers."""
    folds: int
    reason: str
    """Why there is none, or why there were fewer folds than asked for; "" otherwise."""

    def to_dict(self) -> dict[str, object]:
        """Return it JSON-ready."""
        fitted = self.calibration
        decision = None if fitted is None else self.decision.to_dict()
        return {
            "calibration": fitted and fitted.to_dict(),
            "decision": decision,
            "folds": self.folds,
            "reason": self.reason,
        }


def folds_to_hold_out(task: FoldTask) -> InnerFolds:
    """Return the slides that are left out in turn; none, with the reason, where nothing is calibrated.

    Parameters
    ----------
    task
        The fold.
    """
    folds, fold = task.config.calibration.folds, task.fold
    if not folds:
        return InnerFolds((), "calibration.folds is 0")
    if task.config.finishes:
        return InnerFolds((), "the end-to-end finish, which trains the encoder too, is not repeated without slides")
    drawn = draw_inner_folds(fold.train, task.cases, task.strata, folds=folds, seed=task.seed("calibration"))
    val = [tuple(sorted(fold.val))] if fold.val else []
    return drawn._replace(held_out=(*drawn.held_out, *val)) if drawn.held_out else drawn


def make_held_out_answers(task: FoldTask) -> Iterator[Step[Never]]:
    """Write what the student says of each training and validation slide by a MIL that has not seen it.

    Parameters
    ----------
    task
        The fold, whose stage 2 is done.

    Yields
    ------
    Step
        Of the trainings.
    """
    held = folds_to_hold_out(task)
    trainings = [
        (train_held_out(task, number, slide_ids), inner_steps(task, slide_ids))
        for number, slide_ids in enumerate(held.held_out)
    ]
    yield from as_one_stage((task.fold.name, CALIBRATION_JOB), trainings)
    folders = [task.folder / held_out_name(number) for number in range(len(held.held_out))]
    slide_ids = [slide_id for fold in held.held_out for slide_id in fold]
    inputs: dict[str, object] = {
        "what": CALIBRATION,
        "held_out": [list(held.held_out), held.reason],
        "models": list(map(key_of, folders)),
        "slides": {slide_id: read_card(task.features("lr_student", slide_id)).key for slide_id in slide_ids},
    }
    if not (yield from is_stale(task, Artefact(CALIBRATION, CALIBRATION_JOB, inputs))):
        return
    logits: dict[str, list[float]] = {}
    for folder, fold in zip(folders, held.held_out, strict=True):
        mil = load_mil(folder, task.config.mil)
        logits |= {i: answer(task, mil, "lr_student", i).logits.astype(float).tolist() for i in fold}
    with committing(task.folder / CALIBRATION, inputs) as temporary:
        found = {"logits": logits, "folds": len(held.held_out), "reason": held.reason}
        atomic.write_json(temporary / ANSWERS, found)


def read_calibration(task: FoldTask) -> FoldCalibration:
    """Fit the calibration of a fold to the answers that `make_held_out_answers` wrote.

    Parameters
    ----------
    task
        The fold.

    Raises
    ------
    FormatError
        If they are absent or damaged.
    """
    found, logits = _read_answers(task)
    return fit_to_answers(task, list(found.logits), logits, folds=found.folds, reason=found.reason)


def fit_to_answers(
    task: FoldTask, slide_ids: Sequence[str], logits: NDArray[np.float32], *, folds: int, reason: str
) -> FoldCalibration:
    """Fit a calibration, and how its values become answers, to what networks say of slides that they have not seen.

    Parameters
    ----------
    task
        The fold.
    slide_ids
        n of its training and validation slides.
    logits
        (n, outputs)
    folds, reason
        As in `FoldCalibration`.
    """
    targets = [task.labels[slide_id] for slide_id in slide_ids]
    if not targets:
        return FoldCalibration(calibration=None, folds=0, reason=reason)
    problem = task.predicts.calibration_problem(targets)
    fitted = None if problem else task.predicts.fit_calibration(logits, targets)
    if fitted is None:
        return FoldCalibration(calibration=None, folds=folds, reason=problem or NO_ORDER)
    values, how = task.predicts.calibrated(logits, fitted), task.config.decision
    decision = task.predicts.fit_decision(
        values, targets, rule=how.operating_point, coverage=how.coverage, max_risk=how.max_risk
    )
    return FoldCalibration(calibration=fitted, decision=decision, folds=folds, reason=reason)


def held_out_values(task: FoldTask) -> tuple[dict[str, NDArray[np.float64]], str]:
    """Return the calibrated values of the slides that `make_held_out_answers` answered.

    Parameters
    ----------
    task
        The fold.

    Returns
    -------
    dict, str
        Slide id -> values (names,), and "". Without a calibration an empty one, and why.

    Raises
    ------
    FormatError
        As `read_calibration`.
    """
    found, fold = _read_answers(task), read_calibration(task)
    if fold.calibration is None:
        return {}, fold.reason
    return dict(zip(found[0].logits, task.predicts.calibrated(found[1], fold.calibration), strict=True)), ""


def _read_answers(task: FoldTask) -> tuple[HeldOutAnswers, NDArray[np.float32]]:
    """Return what `make_held_out_answers` wrote, and its logits (n, outputs)."""
    path, what = task.folder / CALIBRATION / ANSWERS, "the answers for the calibration"
    found = read_document(path, TypeAdapter(HeldOutAnswers), what)
    try:
        logits = np.array(list(found.logits.values()), np.float32).reshape(len(found.logits), task.predicts.outputs)
    except ValueError as error:
        raise FormatError(damaged(path, what)) from error
    if not found.logits.keys() <= task.labels.keys():
        raise FormatError(damaged(path, what))
    return found, logits
