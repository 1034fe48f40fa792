"""What the models of the folds would say of their test slides if they were shipped: calibrated, and with a decision."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrmil.runs.calibration import read_calibration
from lrmil.runs.familiarity import doubts_of, learn_from_fold
from lrmil.runs.fold_outputs import SlideOutput
from lrmil.runs.fold_task import FoldTask
from lrmil.tasks.abstention import abstention_figures
from lrmil.tasks.answers import Answer
from lrmil.tasks.case_figures import summarise_by_rule
from lrmil.tasks.case_rule import CaseRule


class ShippedAnswers(NamedTuple):
    """What the student of a fold would say of its test slides."""

    values: dict[str, NDArray[np.float64]]
    """Slide id -> values (names,)."""
    answers: dict[str, Answer]
    """Slide id -> the answer, with its doubts."""
    threshold: float | None
    """Operating point; None for the most probable class."""
    calibrated: bool


def shipped_answers(
    tasks: Sequence[FoldTask], tested: Mapping[str, Mapping[str, SlideOutput]]
) -> dict[str, ShippedAnswers]:
    """Return the answers for the test slides of each fold; if one fold has no calibration, all are as they come.

    Parameters
    ----------
    tasks
        Every trained fold.
    tested
        Name of each fold with test slides -> slide id -> output of the student.

    Raises
    ------
    FormatError
        If the answers for the calibration, or the features of a slide, are damaged.
    """
    own = {task.fold.name: task for task in tasks if task.fold.name in tested}
    found = {name: read_calibration(task) for name, task in own.items()}
    calibrated = all(one.calibration for one in found.values())
    shipped = {}
    for name, task in own.items():
        values, answers, familiarity = {}, {}, learn_from_fold(task) if calibrated else None
        for slide_id, output in tested[name].items():
            values[slide_id] = output.values
            if calibrated:
                values[slide_id] = task.predicts.calibrated(output.logits, found[name].calibration)
            said = task.predicts.answer(values[slide_id], found[name].decision)
            answers[slide_id] = said.with_doubts(doubts_of(task, familiarity, slide_id))
        threshold = found[name].decision.threshold if calibrated else None
        shipped[name] = ShippedAnswers(values, answers, threshold, calibrated)
    return shipped


def calibration_figures(
    tasks: Sequence[FoldTask], shipped: Mapping[str, ShippedAnswers], rules: Mapping[str, CaseRule]
) -> dict[str, object]:
    """Return the member "calibration" of metrics.json.

    Parameters
    ----------
    tasks
        Every trained fold.
    shipped
        Name of each fold with test slides -> its answers.
    rules
        Case of the test slides -> the rule that answers it.

    Returns
    -------
    dict
        JSON-ready: "by_fold", calibration and decision of each fold, or why it has none; "after", the figures of the
        test slides of all folds when those of their fold are applied to them; and "abstention", which of them are
        uncertain (`lrmil.tasks.abstention`). The last two are None if a fold has no calibration.
    """
    by_fold = {task.fold.name: read_calibration(task).to_dict() for task in tasks}
    if not all(one.calibrated for one in shipped.values()):
        return {"by_fold": by_fold, "after": None, "abstention": None}
    tested = [(task, shipped[task.fold.name]) for task in tasks if task.fold.name in shipped]
    targets = [task.labels[slide_id] for task, fold in tested for slide_id in fold.values]
    cases = [task.cases[slide_id] for task, fold in tested for slide_id in fold.values]
    values = np.stack([one for _, fold in tested for one in fold.values.values()])
    answers = [one for _, fold in tested for one in fold.answers.values()]
    thresholds = of_all([fold.threshold for _, fold in tested for _ in fold.values])
    predicts = tasks[0].predicts
    after = summarise_by_rule(predicts, targets, values, cases, rules, thresholds)
    return {"by_fold": by_fold, "after": after, "abstention": abstention_figures(predicts, targets, answers)}


def of_all(thresholds: Sequence[float | None]) -> list[float] | None:
    """Return the operating points of slides; None if one slide has none."""
    found = [threshold for threshold in thresholds if threshold is not None]
    return found if len(found) == len(thresholds) else None
