"""Measure what acting on probabilities is worth: the net benefit of a decision curve, of checked arrays."""

import numpy as np
from numpy.typing import NDArray

THRESHOLDS: NDArray[np.float64] = np.arange(1, 100) / 100


def net_benefit(
    positive: NDArray[np.bool_], probabilities: NDArray[np.float64], thresholds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute the net benefit (t,) of acting on each slide whose probability is at least the threshold.

    Net benefit is TP / n - FP / n * threshold / (1 - threshold): true positives per slide, less false ones at the
    price of someone who acts at this threshold. To act on none has 0.

    Parameters
    ----------
    positive
        (n,) whether a slide is of the positive class, n >= 1.
    probabilities
        (n,) its probability of that class; ones act on all.
    thresholds
        (t,) probabilities above 0 and below 1.

    References
    ----------
    Vickers and Elkin, Medical Decision Making 26 (2006).
    """
    acted = probabilities[None] >= thresholds[:, None]
    true, false = (acted & positive).mean(axis=1), (acted & ~positive).mean(axis=1)
    return np.asarray(true - false * thresholds / (1 - thresholds))
