"""Measure whether probabilities mean what they say: Brier score, log loss and calibration error of checked arrays."""

from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import brier_score_loss, log_loss

MAX_BINS = 10  # deciles
MIN_IN_BIN = 10  # of 10 predictions, the share that is right is off by chance alone by up to 0.16 (one sigma, at 0.5)


class ProbabilityFigures(TypedDict):
    """Figures of probabilities, ready for JSON; None where there is no slide."""

    brier: float | None
    nll: float | None
    ece: float | None


class Reliability(NamedTuple):
    """How sure answers of one bin are, and how many are right: bins (b,) in rising order of their confidence."""

    confidence: NDArray[np.float64]
    """Mean probability of the most probable class."""
    right: NDArray[np.float64]
    """Share of the answers that is right."""
    interval: NDArray[np.float64]
    """(b, 2) ends of the 95 % interval of that share."""
    slides: NDArray[np.int64]
    """Number of answers."""


def probability_figures(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> ProbabilityFigures:
    """Compute `brier_score`, `negative_log_likelihood` and `calibration_error`.

    Parameters
    ----------
    labels
        (n,) class indices.
    probabilities
        (n, c) class probabilities; rows sum to 1.
    """
    if not labels.size:
        return {"brier": None, "nll": None, "ece": None}
    return {
        "brier": brier_score(labels, probabilities),
        "nll": negative_log_likelihood(labels, probabilities),
        "ece": calibration_error(labels, probabilities),
    }


def brier_score(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Compute the mean squared distance of the probabilities from the label, by scikit-learn; lower is better.

    Of two classes it is the binary form, from 0 to 1; of more, the sum over the classes, from 0 to 2.

    Parameters
    ----------
    labels
        (n,) class indices, n >= 1.
    probabilities
        (n, c) class probabilities; rows sum to 1.

    References
    ----------
    Brier, Monthly Weather Review 78 (1950).
    """
    if probabilities.shape[1] == 2:
        return float(brier_score_loss(labels, probabilities[:, 1], pos_label=1, labels=[0, 1]))
    return float(brier_score_loss(labels, _scaled(probabilities), labels=range(probabilities.shape[1])))


def negative_log_likelihood(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Compute the mean negative log of the probability of the label, by scikit-learn's log_loss; lower is better.

    Probabilities are clipped to 2.2e-16 and more, so that one sure and wrong answer costs 36 and not infinity. It is
    the score of Good, JRSS B 14 (1952).

    Parameters
    ----------
    labels, probabilities
        As for `brier_score`.
    """
    return float(log_loss(labels, _scaled(probabilities), labels=range(probabilities.shape[1])))


def calibration_error(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    """Compute the expected calibration error (ECE) of the most probable class; lower is better, 0 is the best.

    Predictions are sorted by the probability of their most probable class and divided into bins of equal mass; equal
    probabilities share a bin. With acc the share of a bin that is right and conf its mean probability, the error is
    the sum over the bins of n_bin / n * abs(acc - conf), by MAPIE. There are 10 bins, or fewer so that each has 10
    predictions. Chance makes the error of few predictions too high, even that of a perfect model.

    Parameters
    ----------
    labels, probabilities
        As for `brier_score`.

    References
    ----------
    Guo et al., ICML 2017 (arXiv 1706.04599), equation 3; bins of equal mass: Nguyen and O'Connor, EMNLP 2015 (arXiv
    1508.05154); Roelofs et al., AISTATS 2022 (arXiv 2012.08668), on bias.
    """
    from mapie.metrics.calibration import expected_calibration_error  # slow to load

    confidence, right = _by_confidence(labels, probabilities)
    return float(expected_calibration_error(right, confidence, _bins(len(labels)), split_strategy="array split"))


def reliability(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> Reliability:
    """Compute confidence and share of right answers of each bin of `calibration_error`.

    After Guo et al., ICML 2017 (arXiv 1706.04599), section 2; the intervals are those of Wilson, JASA 22 (1927).

    Parameters
    ----------
    labels, probabilities
        As for `brier_score`.
    """
    confidence, right = _by_confidence(labels, probabilities)
    highest = [part.max() for part in np.array_split(confidence, _bins(len(labels)))]
    bins = np.unique(np.searchsorted(highest, confidence), return_inverse=True)[1]
    counts = np.bincount(bins)
    hits = np.bincount(bins, weights=right).astype(int)
    means = np.bincount(bins, weights=confidence) / counts
    intervals = [
        binomtest(hit, count).proportion_ci(0.95, method="wilson")
        for hit, count in zip(hits.tolist(), counts.tolist(), strict=True)
    ]
    return Reliability(means, hits / counts, np.array(intervals, float), counts)


def _by_confidence(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the confidence of each answer, in rising order, and whether it is right (1 or 0)."""
    confidence = probabilities.max(axis=1)
    order = np.argsort(confidence, kind="stable")
    right = probabilities.argmax(axis=1) == labels
    return confidence[order], right[order].astype(np.int64)


def _bins(slides: int) -> int:
    return min(MAX_BINS, max(1, slides // MIN_IN_BIN))


def _scaled(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows that sum to 1 although text files rounded them."""
    return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))
