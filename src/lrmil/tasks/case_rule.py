"""One answer for a case (a patient) from the answers for its slides, by a rule that the model states."""

import math
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

CaseRule = Literal["mean", "max", "noisy-or"]
MEAN: Final = "mean"
POSITIVE_RULES: tuple[CaseRule, ...] = ("max", "noisy-or")  # of two classes, the second of which is the positive one
RULE_WORDS: dict[CaseRule, str] = {
    "mean": "mean of the log odds of its slides",
    "max": "slide of the highest probability of the positive class",
    "noisy-or": "noisy-or: positive if any of its slides is, as if they were independent",
}


def rules_of(classes: int) -> tuple[CaseRule, ...]:
    """Return the rules that can be used with a number of classes; the default is first."""
    return (MEAN, *POSITIVE_RULES) if classes == 2 else (MEAN,)


def pool_probabilities(probabilities: NDArray[np.float64], rule: CaseRule) -> NDArray[np.float64]:
    """Return the probabilities of a case, the same to the last bit in whatever order its slides come.

    "mean" is the normalised geometric mean: the mean over the slides of each logarithm, of two classes of the log odds.
    "max" takes the slide of the highest probability of the positive class. "noisy-or" is positive unless all slides are
    negative, each with its own probability. A single slide has its own answer by every rule.

    Parameters
    ----------
    probabilities
        (n, c) of the slides, n > 0; of two classes, the positive one is last.
    rule
        One of `rules_of(c)`.

    Returns
    -------
    ndarray
        (c,) probabilities that sum to 1.

    Raises
    ------
    ValueError
        If there is no slide, or the rule is not one for c classes.

    References
    ----------
    Mean of logarithms: the logarithmic opinion pool, Genest and Zidek, Statistical Science 1 (1986). Noisy-or: Pearl,
    Probabilistic Reasoning in Intelligent Systems (1988), section 4.3.2.
    """
    slides, classes = probabilities.shape
    if not slides or rule not in rules_of(classes):
        raise ValueError(f"Expected slides and a rule among {rules_of(classes)}. Got {slides} slides and {rule!r}.")
    if slides == 1:
        return np.array(probabilities[0])
    if rule == "max":
        return np.array(max(probabilities.tolist(), key=lambda one: (one[1], -one[0])))
    logs = np.log(np.maximum(probabilities, np.finfo(float).tiny))
    sums = np.array([math.fsum(column) for column in logs.T])  # exact, so that the order of the slides does not matter
    if rule == "noisy-or":
        return np.array([np.exp(sums[0]), -np.expm1(sums[0])])
    return np.asarray(np.exp(_normalised(sums / slides)))


def cases_in_order(cases: Sequence[str]) -> dict[str, list[int]]:
    """Return the rows of each case, sorted by its name."""
    rows: dict[str, list[int]] = {case: [] for case in sorted(set(cases))}
    for row, case in enumerate(cases):
        rows[case].append(row)
    return rows


def _normalised(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(logs - np.logaddexp.reduce(logs))
