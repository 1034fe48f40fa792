"""All figures of a classification at once, by slide and by case; one that is not defined is None, and why is said."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import balanced_accuracy_score

from lrmil.by_class import ClassFigures, class_figures, why_no_interval, why_undefined
from lrmil.calibration import ProbabilityFigures, probability_figures
from lrmil.metrics import auroc, auroc_interval, by_case, checked
from lrmil.operating_point import Points, answered


class CaseSummary(ClassFigures, ProbabilityFigures):
    """The metrics of one arm by case, ready for JSON; None where a metric is not defined."""

    auroc: float | None
    balanced_accuracy: float | None
    undefined: dict[str, str]
    """Metric that is not defined, wholly or for a class -> why."""


class Summary(ClassFigures, ProbabilityFigures):
    """The metrics of one arm by slide, ready for JSON; None where a metric is not defined."""

    auroc: float | None
    auroc_ci: list[float] | None
    balanced_accuracy: float | None
    undefined: dict[str, str]
    """Metric that is not defined, wholly or for a class -> why."""
    n_slides: int
    n_cases: int
    by_case: CaseSummary | None
    by_case_reason: str
    """Why there is no `by_case`; "" if there is."""


def summarise(
    labels: ArrayLike,
    probabilities: ArrayLike,
    cases: Sequence[str],
    classes: Sequence[str],
    *,
    thresholds: Points = None,
) -> Summary:
    """Compute the metrics of a report: by slide, with a 95 % interval of the AUROC by case, and by case.

    Parameters
    ----------
    labels, probabilities, cases
        As for `lrmil.metrics.by_case`, but slides of a case may have several labels: there are no metrics by case then.
    classes
        (c,) names of the columns of `probabilities`.
    thresholds
        (n,) operating points: the last of two classes is the answer for a slide where its probability is at least
        this. Without them, the most probable class is. A case has that of its first slide.

    Raises
    ------
    ValueError
        As `lrmil.metrics.auroc`, or if `probabilities` and `classes` differ in c, or `cases` and `labels` in n.
    """
    truth, scores = checked(labels, probabilities)
    if scores.shape[1] != len(classes):
        raise ValueError(f"Expected one probability for each of {len(classes)} classes; got {scores.shape[1]}.")
    said, interval = answered(scores, thresholds), auroc_interval(truth, scores, cases)
    undefined = why_undefined(truth, classes, of="slide")
    if interval is None:
        undefined["auroc_ci"] = why_no_interval(truth, cases, classes)
    reason = _no_cases_reason(truth, cases)
    return {
        "auroc": auroc(truth, scores),
        "auroc_ci": None if interval is None else list(interval),
        "balanced_accuracy": _balanced(truth, said, classes),
        **probability_figures(truth, scores),
        **class_figures(truth, scores, classes, said),
        "undefined": undefined,
        "n_slides": len(truth),
        "n_cases": len(set(cases)),
        "by_case": None if reason else _summarise_cases(truth, scores, cases, classes, thresholds),
        "by_case_reason": reason,
    }


def _no_cases_reason(truth: NDArray[np.int64], cases: Sequence[str]) -> str:
    """Return why slides are not also measured by case."""
    if len(set(cases)) == len(cases):
        return "every case has one slide"
    mixed = len(set(zip(cases, truth.tolist(), strict=True))) > len(set(cases))
    return "slides of a case have different labels" if mixed else ""


def _summarise_cases(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    cases: Sequence[str],
    classes: Sequence[str],
    thresholds: Points,
) -> CaseSummary:
    names, truth, scores = by_case(labels, probabilities, cases)
    of_case = dict(zip(reversed(cases), reversed(thresholds), strict=True)) if thresholds is not None else None
    said = answered(scores, None if of_case is None else [of_case[name] for name in names])
    return {
        "auroc": auroc(truth, scores),
        "balanced_accuracy": _balanced(truth, said, classes),
        **probability_figures(truth, scores),
        **class_figures(truth, scores, classes, said),
        "undefined": why_undefined(truth, classes, of="case"),
    }


def _balanced(truth: NDArray[np.int64], said: NDArray[np.int64], classes: Sequence[str]) -> float | None:
    return float(balanced_accuracy_score(truth, said)) if len(np.unique(truth)) == len(classes) else None
