"""From probabilities to an answer, or to none: operating point, conformal sets, and a limit on the risk.

All three are learned from calibrated probabilities of slides that the model was not trained on. What they promise holds
for slides that could as well have been among those.
"""

import warnings
from collections.abc import Collection
from dataclasses import field
from typing import Annotated, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ConfigDict, Field, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from lrmil.operating_point import OperatingPoint, answered, choose_operating_point

STRICT = ConfigDict(extra="forbid")
SEVERAL, NONE, RISK, LOW = "several_classes", "no_class", "risk", "low_probability"
CONFIDENCE = 0.9  # with which the limit on the risk holds
SHARES = np.linspace(0.5, 1, 11)  # of slides that may be answered, from the surest
CLIPPED = 1e-12  # probability whose log odds are still finite

Share = Annotated[float, Field(ge=0, le=1)]
Inner = Annotated[float, Field(gt=0, lt=1)]
Slides = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PredictionSets:
    """Split-conformal sets: a class is plausible for a slide where its probability is at least its limit."""

    coverage: Inner
    """Share of new slides whose class is to be in the set."""
    limits: Annotated[tuple[Share, ...], Field(min_length=2, max_length=1000)]
    """One for each class."""
    by_class: bool
    """Whether the share is kept for the slides of each class, or over all slides."""
    slides: tuple[Slides, ...]
    """Number of slides of each class that they were learned from."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RiskLimit:
    """The confidence from which on the share of wrong answers is at most `max_risk`, at a confidence of 90 %."""

    max_risk: Inner
    limit: Share
    """See `Decision.confidence`."""
    answered: Slides
    """Number of slides that reached the limit."""
    errors: Slides
    """How many of those were answered wrong."""
    slides: Slides
    """Number of all slides that it was learned from."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Decision:
    """How calibrated probabilities become an answer."""

    operating_point: OperatingPoint | None = None
    """None: the most probable class is the answer."""
    sets: PredictionSets | None = None
    risk: RiskLimit | None = None
    absent: dict[str, str] = field(default_factory=dict)
    """Part that is None -> why, as the end of a sentence."""

    @model_validator(mode="after")
    def _require_classes(self) -> Self:
        if self.sets and len(self.sets.limits) != len(self.sets.slides):
            raise ValueError("state a limit and a number of slides for each class")
        return self

    @property
    def threshold(self) -> float | None:
        """The probability from which on the last of two classes is the answer; None for the most probable class."""
        return None if self.operating_point is None else self.operating_point.threshold

    def to_dict(self) -> dict[str, object]:
        """Return it JSON-ready."""
        return dict(TypeAdapter(Decision).dump_python(self, mode="json"))

    def problem(self, classes: int) -> str:
        """Return why it cannot be that of so many classes, as the end of a sentence; "" if it can."""
        if self.operating_point and classes != 2:
            return "there is an operating point of more than two classes"
        return "there is not one limit for each class" if self.sets and len(self.sets.limits) != classes else ""

    def plausible(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which classes are plausible for slides (..., c); without sets, those that are answered."""
        if self.sets is None:
            return np.asarray(np.arange(probabilities.shape[-1]) == answered(probabilities, self.threshold)[..., None])
        return np.asarray(probabilities >= np.array(self.sets.limits))

    def confidence(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how sure the answers (...) for slides (..., c) are: the highest probability.

        With a threshold t, the log odds of the positive class are taken relative to those of t, so that an answer is
        the surer the further it is from the threshold.
        """
        return np.asarray(_moved(probabilities, self.threshold).max(axis=-1))

    def doubts(self, probabilities: NDArray[np.float64]) -> list[str]:
        """Return why a slide (c,) should not be answered, in words of this module; none if it should."""
        found = []
        if self.sets is not None:
            plausible = int(self.plausible(probabilities).sum())
            found += [SEVERAL] if plausible > 1 else [NONE] if plausible == 0 else []
        if self.risk is not None and self.confidence(probabilities) < self.risk.limit:
            found.append(RISK)
        return found


def about_classes(reasons: Collection[str]) -> bool:
    """Return whether a slide is uncertain for nothing but its classes, so that a closer look may settle it.

    A slide that looks unlike those that a student learned from looks unlike those of its teacher, too.

    Parameters
    ----------
    reasons
        Those of an answer; without any, it is not uncertain, or of a version that did not state them.
    """
    return bool(reasons) and {*reasons} <= {SEVERAL, NONE, RISK, LOW}


def fit_decision(
    probabilities: ArrayLike, targets: ArrayLike, *, rule: str, coverage: float, max_risk: float
) -> Decision:
    """Learn how to decide from slides that the model was not trained on.

    Parameters
    ----------
    probabilities
        (n, c) calibrated.
    targets
        (n,) class indices; each class has a slide.
    rule
        The operating point, of two classes; see `lrmil.operating_point.read_rule`.
    coverage
        Share of new slides whose class is to be in its conformal set; 0 for no sets.
    max_risk
        Largest share of wrong answers; 0 for no limit.
    """
    values, truth = np.asarray(probabilities, float), np.asarray(targets, np.int64)
    absent = {}
    if values.shape[1] == 2:
        point = choose_operating_point(rule, values[:, 1], truth == 1)
    else:
        point, absent["operating_point"] = None, "there are more than two classes"
    sets = fit_sets(values, truth, coverage) if coverage else None
    if sets is None:
        absent["sets"] = "there are too few slides" if coverage else "decision.coverage is 0"
    threshold = None if point is None else point.threshold
    risk = limit_risk(values, truth, max_risk, threshold=threshold) if max_risk else None
    if risk is None:
        few = f"even of the surest half of the slides, more than {max_risk:.0%} may be answered wrong"
        absent["risk"] = few if max_risk else "decision.max_risk is 0"
    return Decision(operating_point=point, sets=sets, risk=risk, absent=absent)


def fit_sets(probabilities: NDArray[np.float64], targets: NDArray[np.int64], coverage: float) -> PredictionSets | None:
    """Learn split-conformal sets, by class where each has the slides that needs, else over all slides.

    The conformity of a slide is the probability of its class (least ambiguous sets). With n slides, the limit is the
    ceil((n + 1) coverage)-th highest, by MAPIE, which needs n >= coverage / (1 - coverage).

    Parameters
    ----------
    probabilities, targets
        As for `fit_decision`.
    coverage
        Share of new slides whose class is to be in its set.

    Returns
    -------
    PredictionSets or None
        None if there are too few slides.

    References
    ----------
    Sadinle, Lei and Wasserman, JASA 114 (2019), arXiv 1609.00451; by class: Vovk, ACML 2012, arXiv 1209.2673.
    """
    classes = probabilities.shape[1]
    own = probabilities[np.arange(len(targets)), targets]
    counts = tuple(np.bincount(targets, minlength=classes).tolist())
    limits = [_conformal_limit(own[targets == place], coverage) for place in range(classes)]
    by_class = None not in limits
    if not by_class:
        limits = [_conformal_limit(own, coverage)] * classes
    found = tuple(limit for limit in limits if limit is not None)
    if len(found) < classes:
        return None
    return PredictionSets(coverage=coverage, limits=found, by_class=by_class, slides=counts)


def limit_risk(
    probabilities: NDArray[np.float64], targets: NDArray[np.int64], max_risk: float, *, threshold: float | None = None
) -> RiskLimit | None:
    """Find the lowest confidence from which on at most `max_risk` of the answers are wrong, by MAPIE's learn-then-test.

    The surest half of the slides is tested first, then more of them, until the risk of an answer is not controlled.

    Parameters
    ----------
    probabilities, targets
        As for `fit_decision`.
    max_risk
        Largest share of wrong answers among those given.
    threshold
        The operating point; None for the most probable class.

    Returns
    -------
    RiskLimit or None
        None if not even the risk of the surest half is controlled.

    References
    ----------
    Angelopoulos et al., Annals of Applied Statistics 19 (2025), arXiv 2110.01052.
    """
    from mapie.risk_control import BinaryRisk, MultiClassificationLTTController  # slow to load

    moved = _moved(probabilities, threshold)
    confidence = moved.max(axis=1)
    kept = np.ceil(SHARES * len(targets)).astype(int)
    limits = np.unique(np.sort(confidence)[::-1][kept - 1])[::-1]
    wrong = BinaryRisk(
        risk_occurrence=lambda truth, said: said != truth,
        risk_condition=lambda _, said: ~np.isnan(said),
        higher_is_better=False,
    )
    controller = MultiClassificationLTTController(
        predict_function=lambda values: values,
        risks=[wrong],
        target_level=[max_risk],
        confidence_level=CONFIDENCE,
        list_predict_params=limits,
        classes=np.arange(moved.shape[1]),
        fwer_method="fixed_sequence",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no limit was found is what the result says
        valid = controller.calibrate(moved, targets).valid_predict_params
    if not len(valid):
        return None
    limit = float(np.min(valid))
    given = confidence >= limit
    errors = int((moved.argmax(axis=1) != targets)[given].sum())
    return RiskLimit(max_risk=max_risk, limit=limit, answered=int(given.sum()), errors=errors, slides=len(targets))


def _conformal_limit(own: NDArray[np.float64], coverage: float) -> float | None:
    """Return the probability that the class of a new slide reaches in this share of them; None if there are too few."""
    from mapie.conformity_scores import LACConformityScore  # slow to load

    risk = 1 - coverage
    if np.ceil((len(own) + 1) * (1 - risk)) > len(own):
        return None
    return -float(LACConformityScore().get_conformity_score_quantiles(-own, np.array([risk]), cv="prefit")[0])


def _moved(probabilities: NDArray[np.float64], threshold: float | None) -> NDArray[np.float64]:
    """Return probabilities of two classes whose log odds are relative to a threshold, which is then at one half."""
    if threshold is None:
        return probabilities
    shares = np.clip(probabilities[..., 1], CLIPPED, 1 - CLIPPED)
    level = np.clip(threshold, CLIPPED, 1 - CLIPPED)
    odds = np.log(shares) - np.log1p(-shares) - np.log(level) + np.log1p(-level)
    positive = 1 / (1 + np.exp(-odds))
    return np.stack([1 - positive, positive], axis=-1)
