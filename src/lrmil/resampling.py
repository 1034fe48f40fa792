"""Draw cases again and again, and see how far a figure moves: bootstrap percentile intervals of checked arrays."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

CHUNK_WEIGHTS = 4_000_000  # resamples x slides in one array: 32 MB


def case_interval(
    statistic: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    cases: NDArray[np.str_],
    *,
    level: float,
    resamples: int,
    seed: int,
    strata: NDArray[np.str_] | None = None,
) -> tuple[float, float] | None:
    """Compute the percentile interval of a figure over resamples of cases, since slides of a case are dependent.

    Parameters
    ----------
    statistic
        Returns the figure (b,) for weights (b, n), how often each slide counts in each resample; NaN where the figure
        is not defined.
    cases
        (n,) the case of each slide.
    level
        Share of the resamples inside the interval, 0 to 1.
    resamples
        Number of resamples; those without a figure are left out.
    seed
        Seed of the draws. Equal seeds and numbers of cases draw the same cases.
    strata
        (n,) the stratum of each slide, the same for all slides of a case: as many cases are drawn in each stratum as it
        has. None draws among all cases.

    Returns
    -------
    (low, high) or None
        None if no resample has a figure.

    References
    ----------
    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; Field and Welsh, JRSS B 69 (2007), on
    resampling clusters.
    """
    names, first, place = np.unique(cases, return_index=True, return_inverse=True)
    stratum = np.zeros(len(names), np.int64) if strata is None else np.unique(strata[first], return_inverse=True)[1]
    draws = _draw_counts(stratum, len(cases), resamples, np.random.default_rng(seed))
    found = np.concatenate([statistic(counts[:, place]) for counts in draws])
    defined = found[np.isfinite(found)]
    if not defined.size:
        return None
    low, high = np.quantile(defined, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def weighted_area(
    positive: NDArray[np.bool_], score: NDArray[np.float64], weights: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Compute the Mann-Whitney statistic: the weight of pairs in which the positive ranks higher, ties as one half.

    Parameters
    ----------
    positive, score
        (n,) of each slide.
    weights
        (b, n) how often each slide counts.

    Returns
    -------
    ndarray
        (b,) areas; NaN where all weight is on positives, or none.
    """
    order = np.argsort(score)
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    positives = np.add.reduceat((weights * positive)[:, order], starts, axis=1)
    negatives = np.add.reduceat((weights * ~positive)[:, order], starts, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    wins = (positives * (2 * below + negatives)).sum(axis=1) / 2
    area = np.full(len(pairs), np.nan)
    np.divide(wins, pairs, out=area, where=pairs > 0)
    return area


def _draw_counts(
    stratum: NDArray[np.int64], n_slides: int, resamples: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield (b, cases) counts of how often each case of a stratum is drawn, in chunks that bound the memory."""
    chunk = max(1, CHUNK_WEIGHTS // n_slides)
    members = [np.flatnonzero(stratum == one) for one in np.unique(stratum)]
    for start in range(0, resamples, chunk):
        counts = np.zeros((min(chunk, resamples - start), len(stratum)), np.int64)
        for own in members:
            counts[:, own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), size=len(counts))
        yield counts
