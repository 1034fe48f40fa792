"""The rule that answers the cases of a fold: as set, or chosen on its answers for slides that its MIL has not seen."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lrmil.configs import AUTO, TrainConfig
from lrmil.errors import ConfigError
from lrmil.runs.calibration import held_out_values
from lrmil.runs.fold_task import FoldTask
from lrmil.tasks.answers import Target
from lrmil.tasks.case_rule import MEAN, CaseRule, cases_in_order
from lrmil.tasks.task import Task

NAME: Final = "case_rule"  # of the setting, and of the member of metrics.json
MIN_CASES = 20  # with several slides; the loss of fewer is mostly chance
MIN_OF_CLASS = 5  # of these, as for a calibration


@dataclass(frozen=True, slots=True)
class FoldRule:
    """The rule of a fold, and why it is that one."""

    rule: CaseRule
    reason: str
    """Why, as the end of a sentence."""
    cases: int = 0
    """Number of cases that were compared."""
    losses: dict[str, float] = field(default_factory=dict)
    """Rule -> mean loss of these cases; empty if nothing was compared."""

    def to_dict(self) -> dict[str, object]:
        """Return it JSON-ready."""
        return asdict(self)


def require_case_rule(config: TrainConfig, task: Task) -> None:
    """Require that a task knows the rule of the settings.

    Raises
    ------
    ConfigError
        If it does not, such as "max" of three classes.
    """
    if config.case_rule not in (AUTO, *task.case_rules):
        raise ConfigError(
            f"Expected case_rule among {AUTO}, {', '.join(task.case_rules)} for {', '.join(task.names)}. "
            f'Got "{config.case_rule}", which needs two classes.'
        )


def case_rule_of(task: FoldTask) -> FoldRule:
    """Return the rule of a fold; no test slide has a say in it.

    "auto" takes the rule of the lowest loss on the cases of several slides with one label among the training and
    validation slides, each slide answered by a MIL that has not seen it, and calibrated; of equal ones the first.

    Parameters
    ----------
    task
        The fold, whose answers for the calibration are made.

    Raises
    ------
    FormatError
        If these answers are absent or damaged.
    """
    if task.config.case_rule != AUTO:
        return FoldRule(task.config.case_rule, "the settings say so")
    rules = task.predicts.case_rules
    if len(rules) == 1:
        return FoldRule(MEAN, "there is no other rule for these classes")
    values, reason = held_out_values(task)
    if not values:
        return FoldRule(MEAN, f"nothing is calibrated: {reason}")
    rows = _cases_of_several(task, list(values))
    if problem := _too_few(task, rows):
        return FoldRule(MEAN, problem)
    targets = [task.labels[slide_ids[0]] for slide_ids in rows]
    slides = [np.stack([values[slide_id] for slide_id in slide_ids]) for slide_ids in rows]
    losses: dict[str, float] = {rule: _loss(task.predicts, targets, slides, rule) for rule in rules}
    best = min(rules, key=lambda rule: losses[rule])
    return FoldRule(best, f"it has the lowest loss on {len(rows)} cases of several slides", len(rows), losses)


def rules_by_case(
    rules: Mapping[str, FoldRule], tested: Sequence[tuple[str, str]], cases: Mapping[str, str]
) -> dict[str, CaseRule]:
    """Return the rule of each tested case, that of its fold.

    Parameters
    ----------
    rules
        Name of each fold -> its rule.
    tested
        Name of the fold and id of each test slide.
    cases
        Slide id -> its case.
    """
    return {cases[slide_id]: rules[fold].rule for fold, slide_id in tested}


def _cases_of_several(task: FoldTask, slide_ids: Sequence[str]) -> list[list[str]]:
    """Return the slides of each case that has several, all of one label."""
    rows = cases_in_order([task.cases[slide_id] for slide_id in slide_ids])
    of_case = [[slide_ids[row] for row in own] for own in rows.values()]
    return [own for own in of_case if len(own) > 1 and len({task.labels[slide_id] for slide_id in own}) == 1]


def _too_few(task: FoldTask, cases: Sequence[Sequence[str]]) -> str:
    """Return why cases are too few to compare rules on; "" if they are not."""
    counts = Counter(task.strata[slide_ids[0]] for slide_ids in cases)
    if len(cases) >= MIN_CASES and all(counts[stratum] >= MIN_OF_CLASS for stratum in task.predicts.strata):
        return ""
    found = ", ".join(f"{counts[stratum]} of {stratum}" for stratum in task.predicts.strata)
    return (
        f"rules are compared on {MIN_CASES} cases of several slides with one label, {MIN_OF_CLASS} of each class; "
        f"there are {found}"
    )


def _loss(task: Task, targets: Sequence[Target], slides: Sequence[NDArray[np.float64]], rule: CaseRule) -> float:
    return task.validate(targets, np.stack([task.pooled(values, rule) for values in slides])).loss
