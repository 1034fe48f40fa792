"""Cohen's kappa of two labels of the same slides, with a bootstrap interval by case, or why there is none."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from lrmil.resampling import case_interval

LEVEL, RESAMPLES, SEED = 0.95, 2000, 0
NO_WIDTH = "Few slides, or one label throughout, leave an interval no width; this does not mean certainty."


@dataclass(frozen=True, slots=True)
class Kappa:
    """How well two labels of the same slides agree.

    Attributes
    ----------
    pairs
        Number of pairs of labels. Of several readers together, a slide has a pair for each.
    agreed
        In how many the labels are equal.
    cases
        Number of cases; without cases, of slides.
    kappa
        Cohen's kappa, at most 1; None where it is not defined.
    interval
        95 % bootstrap percentile interval; None where it is not defined.
    reason
        Why there is no kappa or no interval, or why it has no width; else "".
    """

    pairs: int
    agreed: int
    cases: int
    kappa: float | None
    interval: tuple[float, float] | None
    reason: str


def kappa_of(first: Sequence[str], second: Sequence[str], cases: Sequence[str]) -> Kappa:
    """Compute Cohen's kappa, and its 95 % interval over 2,000 resamples of the cases.

    Parameters
    ----------
    first, second
        (n,) the two labels of each slide.
    cases
        (n,) the case of each slide; slides of a case are drawn together.

    Returns
    -------
    Kappa
        Without a kappa if there is no pair, or if both give one label alone; without an interval also if there are
        fewer than two cases.

    Raises
    ------
    ValueError
        If the lengths differ.

    References
    ----------
    Cohen, Educational and Psychological Measurement 20 (1960).
    """
    if not len(first) == len(second) == len(cases):
        raise ValueError(f"Expected as many labels and cases. Got {len(first)}, {len(second)} and {len(cases)}.")
    agreed = sum(one == other for one, other in zip(first, second, strict=True))
    counts = len(first), agreed, len(set(cases))
    labels = sorted({*first, *second})
    if not labels:
        return Kappa(*counts, None, None, "There is no slide with both labels.")
    if len(labels) == 1:
        reason = f"Both gave the label '{labels[0]}' alone, so chance would agree as well: kappa is not defined."
        return Kappa(*counts, None, None, reason)
    codes = _numbers(first, labels), _numbers(second, labels)  # numpy takes "a" and "a\0" for one text
    kappa = float(cohen_kappa_score(*codes))
    if counts[2] < 2:
        return Kappa(*counts, kappa, None, "All slides are of one case, so there is no interval.")
    drawn = _numbers(cases, sorted(set(cases))).astype(np.str_)
    interval = case_interval(partial(weighted_kappa, *codes), drawn, level=LEVEL, resamples=RESAMPLES, seed=SEED)
    if interval is None:
        return Kappa(*counts, kappa, None, "No resample of the cases has a kappa, so there is no interval.")
    return Kappa(*counts, kappa, interval, NO_WIDTH if interval[0] == interval[1] else "")


def weighted_kappa(
    first: NDArray[np.int64], second: NDArray[np.int64], weights: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Compute Cohen's kappa for several weights of the slides at once.

    Parameters
    ----------
    first, second
        (n,) numbers of the two labels of each slide, from 0.
    weights
        (b, n) how often each slide counts.

    Returns
    -------
    ndarray
        (b,) kappas; NaN where all weight is on one label that both give.
    """
    each = np.arange(max(first.max(), second.max()) + 1)
    counted = weights.astype(np.float64)  # whole numbers far below 2 ** 53 stay exact, and their products are fast
    total = counted.sum(axis=1)
    agreed = counted @ (first == second)
    chance = ((counted @ (first[:, None] == each)) * (counted @ (second[:, None] == each))).sum(axis=1)
    found = np.full(len(total), np.nan)
    np.divide(total * agreed - chance, total**2 - chance, out=found, where=total**2 != chance)
    return found


def _numbers(names: Sequence[str], known: Sequence[str]) -> NDArray[np.int64]:
    index = {name: number for number, name in enumerate(known)}
    return np.array([index[name] for name in names], np.int64)
