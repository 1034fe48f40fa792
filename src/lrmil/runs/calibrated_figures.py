"""The figures of test slides after the calibration of their fold, and what abstention brings on them."""

from collections.abc import Mapping, Sequence

import numpy as np

from lrmil.runs.calibration import read_calibration
from lrmil.runs.familiarity import doubts_of, learn_from_fold
from lrmil.runs.fold_outputs import SlideOutput
from lrmil.runs.fold_task import FoldTask
from lrmil.tasks.abstention import Abstention, abstention_figures
from lrmil.tasks.case_figures import summarise_by_rule
from lrmil.tasks.case_rule import CaseRule


def calibration_figures(
    tasks: Sequence[FoldTask], tested: Mapping[str, Mapping[str, SlideOutput]], rules: Mapping[str, CaseRule]
) -> dict[str, object]:
    """Return the member `FOLDER` of metrics.json.

    Parameters
    ----------
    tasks
        Every trained fold.
    tested
        Name of each fold with test slides -> slide id -> output of the student.
    rules
        Case of the test slides -> the rule that answers it.

    Returns
    -------
    dict
        JSON-ready: "by_fold", calibration and decision of each fold, or why it has none; "after", the figures of the
        test slides of all folds when those of their fold are applied to them; and "abstention", which of them are
        uncertain, also for what they look like (`lrmil.tasks.abstention`). The last two are None if a fold has no
        calibration.
    """
    found = {task.fold.name: read_calibration(task) for task in tasks}
    after: Mapping[str, object] | None = None
    abstention: Abstention | None = None
    if all(found[name].calibration for name in tested):
        predicts, values, targets, cases, decisions, answers = tasks[0].predicts, [], [], [], [], []
        for task in (task for task in tasks if task.fold.name in tested):
            own, familiarity = found[task.fold.name], learn_from_fold(task)
            for slide_id, output in tested[task.fold.name].items():
                values.append(task.predicts.calibrated(output.logits, own.calibration))
                targets.append(task.labels[slide_id])
                cases.append(task.cases[slide_id])
                decisions.append(own.decision)
                said, unlike = task.predicts.answer(values[-1], own.decision), doubts_of(task, familiarity, slide_id)
                answers.append(said.with_doubts(unlike))
        thresholds = [one.threshold for one in decisions if one.threshold is not None]
        stated = thresholds if len(thresholds) == len(values) else None
        after = summarise_by_rule(predicts, targets, np.stack(values), cases, rules, stated)
        abstention = abstention_figures(predicts, targets, answers)
    return {
        "by_fold": {name: one.to_dict() for name, one in found.items()},
        "after": after,
        "abstention": abstention,
    }
