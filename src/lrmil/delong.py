"""Test whether two scores of the same slides rank two classes equally well: DeLong's test of checked arrays."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata


class DeLong(NamedTuple):
    """The area of a score less that of another one."""

    difference: float
    interval: tuple[float, float]
    """Normal approximation."""
    p: float | None
    """Two-sided, for no difference; None if the variance of the difference is estimated as 0."""


def delong_test(
    positive: NDArray[np.bool_], scores: NDArray[np.float64], minus: NDArray[np.float64], *, level: float = 0.95
) -> DeLong | None:
    """Compare the areas under the ROC curves of two scores of the same slides, which are taken as independent.

    With X the m scores of the positive slides and Y the n others, the area is the mean over all pairs of psi(X, Y),
    which is 1 if X > Y, 1/2 if X = Y, else 0. V10(i) is the mean of psi(X_i, Y) over Y and V01(j) that of psi(X, Y_j)
    over X. The variance of the difference of two areas is var(V10 - V10') / m + var(V01 - V01') / n; primes are of the
    other score, and var is unbiased. Midranks give V10 and V01 without comparing all pairs.

    Parameters
    ----------
    positive
        (n,) whether a slide is of the positive class.
    scores, minus
        (n,) the two scores; higher is more positive. Ties count one half.
    level
        Of the interval, 0 to 1.

    Returns
    -------
    DeLong or None
        None with fewer than two slides on a side: their spread is then unknown.

    References
    ----------
    DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988); by midranks: Sun and Xu, IEEE Signal Processing Letters 21
    (2014).
    """
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if min(n_positive, n_negative) < 2:
        return None
    above, below = (one - other for one, other in zip(_wins(positive, scores), _wins(positive, minus), strict=True))
    pairs = 2 * n_positive * n_negative
    difference = float(above.sum() / pairs)
    variance = float(
        above.var(ddof=1) / (2 * n_negative) ** 2 / n_positive + below.var(ddof=1) / (2 * n_positive) ** 2 / n_negative
    )
    reach = float(norm.ppf((1 + level) / 2)) * variance**0.5
    p = float(2 * norm.sf(abs(difference) / variance**0.5)) if variance else None
    return DeLong(difference, (difference - reach, difference + reach), p)


def _wins(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count for each positive slide the others below it, and for each other the positive ones above it.

    Doubled, so that ties are whole numbers and equal orders have a difference of exactly 0.
    """
    ranks = rankdata(scores)
    above = 2 * (ranks[positive] - rankdata(scores[positive]))
    below = 2 * (positive.sum() - (ranks[~positive] - rankdata(scores[~positive])))
    return above, below
