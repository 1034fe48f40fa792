"""The figures of answers by slide, and by case with each case answered by its rule."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lrmil.operating_point import Points
from lrmil.tasks.answers import Target
from lrmil.tasks.case_rule import CaseRule, cases_in_order
from lrmil.tasks.task import Task

OF_SLIDES = ("n_slides", "n_cases", "by_case", "by_case_reason")  # figures that cases do not have of their own


def summarise_by_rule(
    task: Task,
    targets: Sequence[Target],
    values: NDArray[np.float64],
    cases: Sequence[str],
    rules: Mapping[str, CaseRule],
    thresholds: Points = None,
    of_cases: Mapping[str, float] | None = None,
) -> dict[str, object]:
    """Return `Task.summarise`, with "by_case" of one answer for each case, intervals included.

    Parameters
    ----------
    task
        What is predicted.
    targets, values, cases
        (n,) targets, (n, names) values and (n,) cases of the slides.
    rules
        Case -> the rule that answers it.
    thresholds
        (n,) operating points, as for `Task.summarise`; a case has that of its first slide.
    of_cases
        Case -> its operating point, where its slides have several.
    """
    found = dict(task.summarise(targets, values, cases, thresholds))
    if found["by_case"] is None:
        return found
    rows = cases_in_order(cases)
    answers = np.stack([task.pooled(values[own], rules[case]) for case, own in rows.items()])
    firsts = [own[0] for own in rows.values()]
    limits = None if thresholds is None else [thresholds[first] for first in firsts]
    if of_cases is not None:
        limits = [of_cases[case] for case in rows]
    summary = task.summarise([targets[first] for first in firsts], answers, list(rows), limits)
    return {**found, "by_case": {name: value for name, value in summary.items() if name not in OF_SLIDES}}
