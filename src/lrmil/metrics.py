"""Measure how well probabilities rank and classify slides; a metric that is not defined is None."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve

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
    truth, scores = checked(labels, probabilities)
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
    truth, scores = checked(labels, probabilities)
    return float(balanced_accuracy_score(truth, scores.argmax(axis=1))) if _all_present(truth, scores) else None


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
    truth, scores = checked(labels, probabilities)
    others = None if minus is None else checked(labels, minus)[1]
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
    truth, scores = checked(labels, probabilities)
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
    truth, scores = checked(labels, probabilities)
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


def checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return (n,) labels and (n, c) probabilities as arrays; raise a ValueError as `auroc`."""
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
