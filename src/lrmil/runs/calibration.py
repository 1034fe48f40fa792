"""The calibration of a fold's student, by its answers on slides that its MIL has not seen.

The MIL of stage 2 is trained again without each of several folds: those of training cases, and the validation slides,
whose separation may stand for what cases do not state, such as sites. No test slide has a say, so that the figures of
the test slides after calibration are those of new slides.
"""

from collections.abc import Iterator, Mapping, Sequence
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
from lrmil.runs.artefacts import committing, damaged, key_of, read_document
from lrmil.runs.fold_outputs import SlideOutput, load_mil
from lrmil.runs.fold_task import FoldTask
from lrmil.runs.fold_training import CALIBRATION_JOB, inner_steps, train_held_out
from lrmil.runs.inner_mils import answer
from lrmil.runs.stages import Artefact, as_one_stage, is_stale
from lrmil.steps import Step
from lrmil.tasks.calibration import Calibration

FOLDER = "calibration"
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
    folds: int
    reason: str
    """Why there is none, or why there were fewer folds than asked for; "" otherwise."""

    def to_dict(self) -> dict[str, object]:
        """Return it JSON-ready."""
        fitted = self.calibration
        return {"calibration": fitted and fitted.to_dict(), "folds": self.folds, "reason": self.reason}


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
        "what": FOLDER,
        "held_out": [list(held.held_out), held.reason],
        "models": list(map(key_of, folders)),
        "slides": {slide_id: read_card(task.features("lr_student", slide_id)).key for slide_id in slide_ids},
    }
    if not (yield from is_stale(task, Artefact(FOLDER, CALIBRATION_JOB, inputs))):
        return
    logits: dict[str, list[float]] = {}
    for folder, fold in zip(folders, held.held_out, strict=True):
        mil = load_mil(folder, task.config.mil)
        logits |= {i: answer(task, mil, "lr_student", i).logits.astype(float).tolist() for i in fold}
    with committing(task.folder / FOLDER, inputs) as temporary:
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
    path, what = task.folder / FOLDER / ANSWERS, "the answers for the calibration"
    found = read_document(path, TypeAdapter(HeldOutAnswers), what)
    try:
        targets = [task.labels[slide_id] for slide_id in found.logits]
        logits = np.array(list(found.logits.values()), np.float32).reshape(len(targets), task.predicts.outputs)
    except (KeyError, ValueError) as error:
        raise FormatError(damaged(path, what)) from error
    if not targets:
        return FoldCalibration(calibration=None, folds=0, reason=found.reason)
    problem = task.predicts.calibration_problem(targets)
    fitted = None if problem else task.predicts.fit_calibration(logits, targets)
    reason = problem or (NO_ORDER if fitted is None else found.reason)
    return FoldCalibration(calibration=fitted, folds=found.folds, reason=reason)


def calibration_figures(
    tasks: Sequence[FoldTask], tested: Mapping[str, Mapping[str, SlideOutput]]
) -> dict[str, object]:
    """Return the member `FOLDER` of metrics.json.

    Parameters
    ----------
    tasks
        Every trained fold.
    tested
        Name of each fold with test slides -> slide id -> output of the student.

    Returns
    -------
    dict
        JSON-ready: "by_fold", the calibration of each fold or why it has none, and "after", the figures of the test
        slides of all folds when each fold's calibration is applied to them; None if one has none.
    """
    found = {task.fold.name: read_calibration(task) for task in tasks}
    after: Mapping[str, object] | None = None
    if all(found[name].calibration for name in tested):
        shipped = shipped_values(tasks, tested)
        slide_ids = [(task, slide_id) for task in tasks for slide_id in tested.get(task.fold.name, ())]
        values = np.stack([shipped[task.fold.name][slide_id] for task, slide_id in slide_ids])
        targets = [task.labels[slide_id] for task, slide_id in slide_ids]
        after = tasks[0].predicts.summarise(targets, values, [task.cases[slide_id] for task, slide_id in slide_ids])
    return {"by_fold": {name: one.to_dict() for name, one in found.items()}, "after": after}


def shipped_values(
    tasks: Sequence[FoldTask], tested: Mapping[str, Mapping[str, SlideOutput]]
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Return what shipped models would say of test slides: fold -> slide id -> values (names,).

    Parameters
    ----------
    tasks, tested
        As in `calibration_figures`.

    Returns
    -------
    dict
        Calibrated where every fold with test slides has a calibration, else as the network gives them.
    """
    found = {task.fold.name: read_calibration(task).calibration for task in tasks if task.fold.name in tested}
    calibrated, predicts = all(found.values()), tasks[0].predicts
    return {
        fold: {
            slide_id: predicts.calibrated(output.logits, found[fold]) if calibrated else output.values
            for slide_id, output in outputs.items()
        }
        for fold, outputs in tested.items()
    }
