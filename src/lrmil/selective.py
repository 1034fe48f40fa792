"""Measure answers of which the least sure are left out: risk against coverage, of checked arrays."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Selective(NamedTuple):
    """Points (k,) of a curve, from the surest answers alone to all, each once for equal confidences."""

    coverage: NDArray[np.float64]
    """Share of the slides that are answered."""
    risk: NDArray[np.float64]
    """Share of wrong ones among the answers."""
    confidence: NDArray[np.float64]
    """Of the least sure answer among them."""
    area: float
    """AURC: mean over the slides of the risk where the answers are those at least as sure as that of the slide."""


def selective_risk(right: NDArray[np.bool_], confidence: NDArray[np.float64]) -> Selective:
    """Compute risk and coverage of the answers that are at least so sure, for each confidence.

    Parameters
    ----------
    right
        (n,) whether an answer is right, n >= 1.
    confidence
        (n,) how sure it is. Equal ones are answered together, so that the order of the slides does not matter.

    References
    ----------
    El-Yaniv and Wiener, JMLR 11 (2010); area: Geifman, Uziel and El-Yaniv, ICLR 2019 (arXiv 1805.08206).
    """
    levels, place, counts = np.unique(-confidence, return_inverse=True, return_counts=True)
    answered = np.cumsum(counts)
    wrong = np.cumsum(np.bincount(place, weights=~right, minlength=len(levels)))
    risk = wrong / answered
    return Selective(answered / len(right), risk, -levels, float((risk * counts).sum() / len(right)))
