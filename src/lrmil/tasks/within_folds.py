"""The AUROC within folds: slides are ranked only against slides that the same models answered."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrmil.resampling import case_interval, weighted_area

DEFINITION = (
    "pairs of slides of one fold alone: sum over the folds of AUROC x positives x negatives, divided by the sum of "
    "positives x negatives; of more than two classes the mean over the classes, each against the rest; 95 % bootstrap "
    "percentile interval, cases drawn within their fold"
)


class WithinFolds(TypedDict):
    """The figure, ready for JSON."""

    auroc: float | None
    auroc_ci: list[float] | None
    definition: str
    reason: str
    """Why the AUROC is not defined, as the end of a sentence; "" if it is."""


def within_folds(
    labels: ArrayLike,
    probabilities: ArrayLike,
    cases: Sequence[str],
    folds: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> WithinFolds:
    """Compute the AUROC stratified by fold, since each fold has models, and so probabilities, of its own scale.

    Parameters
    ----------
    labels, probabilities
        (n,) class indices and (n, c) probabilities of the test slides.
    cases, folds
        (n,) case and fold of each. A case lies in one fold.
    resamples, seed
        As for `lrmil.resampling.case_interval`.
    """
    truth, scores = np.asarray(labels, np.int64), np.asarray(probabilities, np.float64)
    names, groups = np.asarray(cases, np.str_), np.asarray(folds, np.str_)
    ranked = range(1, 2) if scores.shape[1] == 2 else range(scores.shape[1])  # of two classes, 0 mirrors 1

    def areas(weights: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(
            np.mean([_stratified_area(truth == c, scores[:, c], groups, weights) for c in ranked], axis=0)
        )

    (area,) = areas(np.ones((1, len(truth)), np.int64))
    if not np.isfinite(area):
        reason = "no fold has test slides of both classes" if len(ranked) == 1 else _absent(scores.shape[1])
        return {"auroc": None, "auroc_ci": None, "definition": DEFINITION, "reason": reason}
    few = any(len(np.unique(names[truth == c])) < 2 for c in range(scores.shape[1]))
    interval = None if few else case_interval(areas, names, level=0.95, resamples=resamples, seed=seed, strata=groups)
    return {
        "auroc": float(area),
        "auroc_ci": None if interval is None else list(interval),
        "definition": DEFINITION,
        "reason": "",
    }


def _stratified_area(
    positive: NDArray[np.bool_], score: NDArray[np.float64], folds: NDArray[np.str_], weights: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return (b,) areas for weights (b, n); NaN where no fold has weight on both sides."""
    wins, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for fold in np.unique(folds):
        own = folds == fold
        here = weights[:, own]
        count = here[:, positive[own]].sum(axis=1) * here[:, ~positive[own]].sum(axis=1)
        wins += np.nan_to_num(weighted_area(positive[own], score[own], here)) * count
        pairs += count
    areas = np.full(len(pairs), np.nan)
    np.divide(wins, pairs, out=areas, where=pairs > 0)
    return areas


def _absent(classes: int) -> str:
    return f"for one of {classes} classes, no fold has test slides of it and of others"
