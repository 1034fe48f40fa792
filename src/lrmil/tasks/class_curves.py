"""Curves of class probabilities: ROC, reliability, selective risk and decision curve."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lrmil import metrics
from lrmil.calibration import reliability
from lrmil.net_benefit import THRESHOLDS, net_benefit
from lrmil.selective import selective_risk
from lrmil.tasks.answers import Target
from lrmil.tasks.trust import Benefit, Trust


def roc_curves(
    classes: Sequence[str], targets: Sequence[Target], probabilities: NDArray[np.float64]
) -> dict[str, dict[str, list[float]]]:
    """Return the ROC curve of each class against the rest; of two classes, that of the positive one alone.

    Parameters
    ----------
    classes
        (c,) names.
    targets
        (n,) class indices.
    probabilities
        (n, c) class probabilities.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for place in range(len(classes)) if len(classes) > 2 else (1,):
        points = metrics.roc(targets, probabilities, place)
        found[classes[place]] = {} if points is None else _rates(points)
    return found


def class_trust(targets: Sequence[Target], probabilities: NDArray[np.float64]) -> Trust:
    """Return what class probabilities are worth; more than two classes have no decision curve.

    Parameters
    ----------
    targets
        (n,) class indices, n >= 1.
    probabilities
        (n, c) class probabilities.
    """
    truth = np.array(targets)
    right, confidence = probabilities.argmax(axis=1) == truth, probabilities.max(axis=1)
    benefit = None
    if probabilities.shape[1] == 2:
        acted, on_all = (
            net_benefit(truth == 1, values, THRESHOLDS) for values in (probabilities[:, 1], np.ones(len(truth)))
        )
        benefit = Benefit(THRESHOLDS, acted, on_all)
    return Trust(reliability(truth, probabilities), selective_risk(right, confidence), benefit)


def _rates(points: metrics.Roc) -> dict[str, list[float]]:
    return {
        "false_positive_rate": points.false_positive_rate.tolist(),
        "true_positive_rate": points.true_positive_rate.tolist(),
    }
