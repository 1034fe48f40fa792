"""Measure how well probabilities rank and classify slides; a metric that is not defined is None."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve

from lrmil.by_class import ClassFigures, class_figures, why_no_interval, why_undefined
from lrmil.calibration import ProbabilityFigures, probability_figures
from lrmil.operating_point import answered
from lrmil.resampling import case_interval, weighted_area


class Roc(NamedTuple):
    """Points of a ROC curve from (0, 0) to (1, 1), each (k,); the first threshold is infinite."""

    false_positive_rate: NDArray[np.float64]
    true_positive_rate: NDArray[np.float64]
    thresholds: NDArray[np.float64]


class ByCase(NamedTuple):
    """One row per case, sorted by name: labels (m,) and mean probabilities (m, c)."""

    cases: tuple[str, ...]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]


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


def auroc(labels: ArrayLike, probabilities: ArrayLike) -> float | None:
    """Compute the area under the ROC curve: of class 1 for two classes, else the mean over each class against the rest.

    Parameters
    ----------
    labels
        (n,) class indices.
    probabilities
        (n, c) class probabilities, or any finite score that ranks the classes.

    Returns
    -------
    float or None
        None if a class is missing in `labels`: the area is then not defined.

    Raises
    ------
    ValueError
        If the shapes do not match, a probability is not finite, or a label has no column.
    """
    truth, scores = _checked(labels, probabilities)
    if not _all_present(truth, scores):
        return None
    return float(np.mean([roc_auc_score(truth == index, scores[:, index]) for index in _ranked(scores)]))


def balanced_accuracy(labels: ArrayLike, probabilities: ArrayLike) -> float | None:
    """Compute the mean over classes of the share of slides whose most probable class is the right one.

    Parameters
    ----------
    labels, probabilities
        As for `auroc`.

    Returns
    -------
    float or None
        None if a class is missing in `labels`.

    Raises
    ------
    ValueError
        As `auroc`.
    """
    truth, scores = _checked(labels, probabilities)
    return _balanced(truth, scores, answered(scores))


def auroc_interval(
    labels: ArrayLike,
    probabilities: ArrayLike,
    cases: Sequence[str],
    *,
    minus: ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Compute a bootstrap percentile interval of `auroc`, or of the difference of two, that resamples cases.

    Parameters
    ----------
    labels, probabilities
        As for `auroc`.
    cases
        (n,) the case of each slide.
    minus
        (n, c) probabilities of another model for the same slides. The interval is then that of the AUROC of
        `probabilities` less the AUROC of these; each resample draws the same cases for both.
    level, resamples, seed
        As for `lrmil.resampling.case_interval`. Resamples without some class are left out.

    Returns
    -------
    (low, high) or None
        None if a class has fewer than two cases: their spread is then unknown.

    Raises
    ------
    ValueError
        As `auroc`, or if `cases` has another length than `labels`, or `minus` another shape than `probabilities`.
    """
    truth, scores = _checked(labels, probabilities)
    others = None if minus is None else _checked(labels, minus)[1]
    if others is not None and others.shape != scores.shape:
        raise ValueError(f"Expected probabilities of two models in one shape; got {scores.shape} and {others.shape}.")
    names = _checked_cases(cases, truth)
    if any(len(np.unique(names[truth == index])) < 2 for index in range(scores.shape[1])):
        return None

    def areas(weights: NDArray[np.int64]) -> NDArray[np.float64]:
        found = _weighted_auroc(truth, scores, weights)
        return found if others is None else found - _weighted_auroc(truth, others, weights)

    return case_interval(areas, names, level=level, resamples=resamples, seed=seed)


def roc(labels: ArrayLike, probabilities: ArrayLike, class_index: int) -> Roc | None:
    """Compute the ROC curve of one class against the rest.

    Parameters
    ----------
    labels, probabilities
        As for `auroc`.
    class_index
        Column of `probabilities`.

    Returns
    -------
    Roc or None
        None if all slides, or none, are of that class.

    Raises
    ------
    ValueError
        As `auroc`.
    """
    truth, scores = _checked(labels, probabilities)
    positive = truth == class_index
    return Roc(*roc_curve(positive, scores[:, class_index])) if 0 < positive.sum() < len(positive) else None


def by_case(labels: ArrayLike, probabilities: ArrayLike, cases: Sequence[str]) -> ByCase:
    """Average the probabilities of the slides of each case.

    Parameters
    ----------
    labels, probabilities
        As for `auroc`.
    cases
        (n,) the case of each slide.

    Raises
    ------
    ValueError
        As `auroc`, or if a case has slides of two labels.
    """
    truth, scores = _checked(labels, probabilities)
    names, first, place, sizes = np.unique(
        _checked_cases(cases, truth), return_index=True, return_inverse=True, return_counts=True
    )
    if mixed := sorted({str(names[case]) for case in place[truth != truth[first][place]]}):
        raise ValueError(
            f"Expected one label for each case; got several for {', '.join(mixed)}. Such cases have no label to be "
            "measured against: measure by slide."
        )
    sums = np.zeros((len(names), scores.shape[1]))
    np.add.at(sums, place, scores)
    return ByCase(tuple(names.tolist()), truth[first], sums / sizes[:, None])


def summarise(
    labels: ArrayLike,
    probabilities: ArrayLike,
    cases: Sequence[str],
    classes: Sequence[str],
    *,
    thresholds: Sequence[float] | None = None,
) -> Summary:
    """Compute the metrics of a report: by slide, with a 95 % interval of the AUROC by case, and by case.

    Parameters
    ----------
    labels, probabilities, cases
        As for `by_case`, but slides of a case may have several labels: there are no metrics by case then.
    classes
        (c,) names of the columns of `probabilities`.
    thresholds
        (n,) operating points: the last of two classes is the answer for a slide where its probability is at least
        this. Without them, the most probable class is. A case has that of its first slide.

    Raises
    ------
    ValueError
        As `auroc`, or if `probabilities` and `classes` differ in c, or `cases` and `labels` in n.
    """
    truth, scores = _checked(labels, probabilities)
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
        "balanced_accuracy": _balanced(truth, scores, said),
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
    thresholds: Sequence[float] | None,
) -> CaseSummary:
    names, truth, scores = by_case(labels, probabilities, cases)
    of_case = dict(zip(reversed(cases), reversed(thresholds), strict=True)) if thresholds is not None else None
    said = answered(scores, None if of_case is None else [of_case[name] for name in names])
    return {
        "auroc": auroc(truth, scores),
        "balanced_accuracy": _balanced(truth, scores, said),
        **probability_figures(truth, scores),
        **class_figures(truth, scores, classes, said),
        "undefined": why_undefined(truth, classes, of="case"),
    }


def _balanced(truth: NDArray[np.int64], scores: NDArray[np.float64], said: NDArray[np.int64]) -> float | None:
    return float(balanced_accuracy_score(truth, said)) if _all_present(truth, scores) else None


def _checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    truth, scores = np.asarray(labels, np.int64), np.asarray(probabilities, np.float64)
    if scores.ndim != 2 or scores.shape[1] < 2 or truth.shape != scores.shape[:1]:
        raise ValueError(f"Expected labels [n] and probabilities [n, c >= 2]; got {truth.shape} and {scores.shape}.")
    if not np.isfinite(scores).all():
        raise ValueError("Expected finite probabilities; got NaN or infinity. Leave failed slides out.")
    if truth.size and not (truth.min() >= 0 and truth.max() < scores.shape[1]):
        raise ValueError(f"Expected labels from 0 to {scores.shape[1] - 1}; got {truth.min()} to {truth.max()}.")
    return truth, scores


def _checked_cases(cases: Sequence[str], truth: NDArray[np.int64]) -> NDArray[np.str_]:
    if len(cases) != len(truth):
        raise ValueError(f"Expected a case for each of {len(truth)} slides; got {len(cases)}.")
    return np.asarray(cases, np.str_)


def _all_present(truth: NDArray[np.int64], scores: NDArray[np.float64]) -> bool:
    return bool(len(np.unique(truth)) == scores.shape[1])


def _ranked(scores: NDArray[np.float64]) -> range:
    """Return the columns whose areas are averaged: of two classes only class 1, since class 0 mirrors it."""
    return range(1, 2) if scores.shape[1] == 2 else range(scores.shape[1])


def _weighted_auroc(
    truth: NDArray[np.int64], scores: NDArray[np.float64], weights: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Compute `auroc` for each row of weights (b, n); NaN where a class has no weight."""
    areas = [weighted_area(truth == index, scores[:, index], weights) for index in _ranked(scores)]
    return np.asarray(np.mean(areas, axis=0))
