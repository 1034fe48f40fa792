"""The operating point of two classes: the probability from which on a slide is answered with the positive class."""

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid")
MOST_PROBABLE = "most_probable"
YOUDEN = "youden"
SHARES = ("sensitivity", "specificity")
COSTS = "costs"
EXPECTED = (
    f'"{YOUDEN}", "{MOST_PROBABLE}", "sensitivity=0.95", "specificity=0.95", or "costs=5:1" for the cost of a missed '
    "positive slide against that of a false alarm"
)
LEVEL = 0.95

Share = Annotated[float, Field(ge=0, le=1)]
Slides = Annotated[int, Field(ge=0)]
Row = tuple[Slides, Slides]
Points = Sequence[float] | None
"""The operating point (n,) of each slide; None where the most probable class is the answer."""


class Rule(NamedTuple):
    """How an operating point is chosen."""

    name: str
    value: float = 0.5
    """The share to reach; of costs, the probability where both errors cost the same."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Rate:
    """A share of slides, with its 95 % interval."""

    value: Share
    low: Share
    high: Share


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OperatingPoint:
    """The positive class is the answer where its calibrated probability is `threshold` or more."""

    rule: Annotated[str, Field(max_length=100)]
    """As `read_rule` reads it."""
    threshold: Share
    confusion: tuple[Row, Row]
    """Counts of the slides that it was chosen by: a row for the negative and the positive class, a column for each
    answer."""
    sensitivity: Rate
    """Share of the positive slides that are answered with the positive class."""
    specificity: Rate
    """Share of the negative slides that are answered with the negative class."""


def read_rule(text: str) -> Rule:
    """Read how an operating point is to be chosen.

    Parameters
    ----------
    text
        One of `EXPECTED`, with any number in place of those.

    Raises
    ------
    ValueError
        If it is none of these, or a number is out of range; its text says what was expected.
    """
    name, _, number = text.partition("=")
    try:
        if name in (YOUDEN, MOST_PROBABLE) and not number:
            return Rule(name)
        if name in SHARES and 0 < float(number) <= 1:
            return Rule(name, float(number))
        if name == COSTS:
            missed, alarm = map(float, number.split(":"))
            if min(missed, alarm) > 0 and max(missed, alarm) < np.inf:
                return Rule(name, alarm / (missed + alarm))
    except ValueError:
        pass
    raise ValueError(f"pass {EXPECTED}")


def choose_operating_point(text: str, probabilities: ArrayLike, positive: ArrayLike) -> OperatingPoint:
    """Choose the operating point of a model by its answers for slides that it was not trained on.

    `sensitivity` and `specificity` take the threshold that reaches the share with the least loss of the other, and
    `costs` the one at which both errors are expected to cost the same (Elkan, IJCAI 2001). `youden` maximises
    sensitivity + specificity - 1 (Youden, Cancer 3 (1950)). The maximum of few slides lies where chance puts it, so of
    the thresholds less than one standard error below it, the one nearest to the frequency of the positive class is
    taken, which is the best of all for probabilities that are calibrated.

    Parameters
    ----------
    text
        The rule; see `read_rule`.
    probabilities
        (n,) calibrated probabilities of the positive class.
    positive
        (n,) whether each slide is of the positive class; both classes occur.

    Raises
    ------
    ValueError
        As `read_rule`, or if the shapes differ or a class has no slide.
    """
    rule, scores, truth = read_rule(text), np.asarray(probabilities, float), np.asarray(positive, bool)
    if scores.ndim != 1 or scores.shape != truth.shape or truth.all() or not truth.any():
        raise ValueError(
            f"Expected probabilities (n,) of slides of both classes. Got {scores.shape} and {truth.shape}."
        )
    threshold = rule.value if rule.name in (MOST_PROBABLE, COSTS) else _threshold(rule, scores, truth)
    said = scores >= threshold
    rows = [(int((~said & own).sum()), int((said & own).sum())) for own in (~truth, truth)]
    return OperatingPoint(
        rule=text,
        threshold=threshold,
        confusion=(rows[0], rows[1]),
        sensitivity=_rate(rows[1][1], sum(rows[1])),
        specificity=_rate(rows[0][0], sum(rows[0])),
    )


def answered(probabilities: NDArray[np.float64], thresholds: ArrayLike | None = None) -> NDArray[np.int64]:
    """Return the class (...) that slides (..., c) are answered with.

    Parameters
    ----------
    probabilities
        Calibrated, or not.
    thresholds
        The last of two classes is the answer where its probability is at least this; one for all slides, or one for
        each (...). None for the most probable class; of equal ones, the first.
    """
    if thresholds is None:
        return np.asarray(probabilities.argmax(axis=-1))
    return np.asarray(probabilities[..., 1] >= np.asarray(thresholds), np.int64)


def _threshold(rule: Rule, scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Return the threshold of a rule that needs the slides: halfway between two probabilities, or their frequency."""
    frequency = truth.mean()
    edges = np.unique([0, *scores, 1])
    cuts = np.unique([0, *(edges[1:] + edges[:-1]) / 2, frequency])
    positives, negatives = np.sort(scores[truth]), np.sort(scores[~truth])
    sensitivity = (len(positives) - np.searchsorted(positives, cuts)) / len(positives)
    specificity = np.searchsorted(negatives, cuts) / len(negatives)
    if rule.name == YOUDEN:
        index = sensitivity + specificity
        best = int(index.argmax())
        error = np.hypot(
            _standard_error(sensitivity[best], len(positives)), _standard_error(specificity[best], len(negatives))
        )
        near = cuts[index >= index[best] - error]
        return float(near[np.abs(near - frequency).argmin()])
    if rule.name == "sensitivity":
        return float(cuts[sensitivity >= rule.value].max())
    return float(cuts[specificity >= min(rule.value, specificity.max())].min())


def _standard_error(share: float, slides: int) -> float:
    """Return the standard error of a share; as if one slide more of either kind had been seen, so that it is not 0."""
    smoothed = (share * slides + 1) / (slides + 2)
    return float(np.sqrt(smoothed * (1 - smoothed) / slides))


def _rate(count: int, slides: int) -> Rate:
    """Return a share of slides with Wilson's interval (JASA 22 (1927)), by scipy."""
    from scipy.stats import binomtest  # slow to load, and predictions do not need it

    interval = binomtest(count, slides).proportion_ci(LEVEL, method="wilson")
    return Rate(value=count / slides, low=max(0.0, float(interval.low)), high=min(1.0, float(interval.high)))
