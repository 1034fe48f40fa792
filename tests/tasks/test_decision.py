"""Conformal sets against MAPIE and a plain loop, their coverage, the limit on the risk, and what files may state."""

import warnings
from dataclasses import replace
from typing import Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapie.classification import SplitConformalClassifier
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from scipy.stats import binom
from sklearn.base import BaseEstimator, ClassifierMixin

from lrmil.operating_point import answered, choose_operating_point
from lrmil.tasks.decision import (
    CONFIDENCE,
    NONE,
    RISK,
    SEVERAL,
    Decision,
    PredictionSets,
    RiskLimit,
    fit_decision,
    fit_sets,
    limit_risk,
)

drawn = {"seed": st.integers(0, 10_000), "n": st.integers(2, 90), "classes": st.integers(2, 4)}


class Given(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose probabilities are its inputs."""

    def __init__(self, classes: int) -> None:
        self.classes, self.classes_ = classes, np.arange(classes)

    def fit(self, values: NDArray[np.float64], targets: NDArray[np.int64]) -> Self:
        raise NotImplementedError

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        return values.argmax(axis=1)

    def predict_proba(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values


def slides(seed: int, n: int, classes: int, sharp: float = 2.0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities and classes that are exchangeable; each class has a slide."""
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.arange(max(n, classes)) % classes)
    odds = rng.normal(size=(len(targets), classes)) + sharp * np.eye(classes)[targets]
    shares = np.exp(odds)
    return shares / shares.sum(axis=1, keepdims=True), targets


@given(**drawn, coverage=st.sampled_from([0.5, 0.8, 0.9]))
def test_sets_are_those_of_a_loop(seed: int, n: int, classes: int, coverage: float) -> None:
    values, targets = slides(seed, n, classes)
    found = fit_sets(values, targets, coverage)

    def limit(own: list[float]) -> float | None:
        """The highest that enough of the slides reach, with the new one counted among those that do not."""
        reached = [score for score in own if sum(other >= score for other in own) >= (len(own) + 1) * coverage]
        return max(reached) if reached else None

    scores = [values[row, target] for row, target in enumerate(targets)]
    by_class = [
        limit([score for score, one in zip(scores, targets, strict=True) if one == place]) for place in range(classes)
    ]
    pooled = limit(scores)
    if None not in by_class:
        assert found is not None and found.by_class and list(found.limits) == by_class
    elif pooled is not None:
        assert found is not None and not found.by_class and found.limits == (pooled,) * classes
    else:
        assert found is None


@given(seed=st.integers(0, 1000), n=st.integers(12, 60), classes=st.integers(2, 4))
@settings(deadline=None, max_examples=30)
def test_pooled_sets_are_those_of_mapie(seed: int, n: int, classes: int) -> None:
    values, targets = slides(seed, n, classes)
    new, _ = slides(seed + 1, 40, classes)
    theirs = SplitConformalClassifier(Given(classes), confidence_level=0.9, prefit=True, conformity_score="lac")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _, sets = theirs.conformalize(values, targets).predict_set(new)
    scores = np.sort(values[np.arange(len(targets)), targets])[::-1]
    limit = float(scores[int(np.ceil((len(targets) + 1) * 0.9)) - 1])
    ours = Decision(
        sets=PredictionSets(coverage=0.9, limits=(limit,) * classes, by_class=False, slides=(n,) * classes)
    ).plausible(new)
    assert np.array_equal(sets[:, :, 0], ours)
    found = fit_sets(values, targets, 0.9)
    assert found is not None and (found.by_class or found.limits == (limit,) * classes)


@pytest.mark.parametrize(("n", "classes"), [(20, 2), (60, 2), (60, 3), (12, 3)])
def test_sets_cover_new_slides_of_each_class_as_promised(n: int, classes: int) -> None:
    covered, seen = np.zeros(classes), np.zeros(classes)
    for seed in range(400):
        values, targets = slides(seed, n + 30, classes)
        sets = fit_sets(values[:n], targets[:n], 0.8)
        assert sets is not None
        inside = Decision(sets=sets).plausible(values[n:])
        for row, target in enumerate(targets[n:]):
            covered[target] += inside[row, target]
            seen[target] += 1
    share = covered / seen if n // classes >= 10 else covered.sum() / seen.sum()
    assert np.all(share > 0.78)
    assert np.all(share < 0.8 + 1.5 * classes / n + 0.03)


@given(**drawn, max_risk=st.sampled_from([0.05, 0.1, 0.3]), moved=st.booleans())
@settings(deadline=None, max_examples=60)
def test_a_limit_is_backed_by_the_slides_beyond_it(
    seed: int, n: int, classes: int, max_risk: float, moved: bool
) -> None:
    values, targets = slides(seed, n, classes, sharp=4)
    threshold = 0.3 if moved and classes == 2 else None
    found = limit_risk(values, targets, max_risk, threshold=threshold)
    if found is None:
        return
    point = None if threshold is None else choose_operating_point("costs=7:3", values[:, 1], targets == 1)
    decision = Decision(operating_point=point, risk=found)
    kept = decision.confidence(values) >= found.limit
    assert (found.answered, found.slides) == (kept.sum(), len(targets)) and kept.sum() >= len(targets) / 2
    assert found.errors == (answered(values, threshold) != targets)[kept].sum()
    assert binom.cdf(found.errors, found.answered, max_risk) <= 1 - CONFIDENCE  # Hoeffding-Bentkus is stricter
    for row in range(len(targets)):
        assert (RISK in decision.doubts(values[row])) == (not kept[row])


def test_a_rank_is_not_raised_by_rounding() -> None:
    scores = np.arange(1, 20) / 20
    values = np.stack([1 - scores, scores], axis=1)
    found = fit_sets(values, np.ones(19, np.int64), 0.55)
    assert found is not None and found.limits == (scores[::-1][11 - 1],) * 2


def test_the_risk_of_new_slides_is_controlled_as_often_as_promised() -> None:
    broken = found = 0
    for seed in range(200):
        values, targets = slides(seed, 60, 2)
        new, truth = slides(seed + 10_000, 2000, 2)
        limit = limit_risk(values, targets, 0.15)
        if limit is not None:
            found += 1
            kept = new.max(axis=1) >= limit.limit
            broken += (new.argmax(axis=1) != truth)[kept].mean() > 0.15
    assert found > 50 and broken <= (1 - CONFIDENCE) * 200


def test_what_is_said_of_a_slide() -> None:
    sets = PredictionSets(coverage=0.9, limits=(0.4, 0.3), by_class=True, slides=(20, 20))
    decision = Decision(sets=sets, risk=RiskLimit(max_risk=0.1, limit=0.7, answered=30, errors=0, slides=40))
    assert decision.doubts(np.array([0.9, 0.1])) == []
    assert decision.doubts(np.array([0.6, 0.4])) == [SEVERAL, RISK]
    strict = PredictionSets(coverage=0.9, limits=(0.8, 0.8), by_class=True, slides=(20, 20))
    assert Decision(sets=strict).doubts(np.array([0.5, 0.5])) == [NONE]
    assert Decision().doubts(np.array([0.5, 0.5])) == []
    assert Decision().plausible(np.array([0.2, 0.8])).tolist() == [False, True]


@given(shares=st.lists(st.floats(0, 1), min_size=2, max_size=20), threshold=st.floats(0.01, 0.99))
def test_an_answer_is_the_surer_the_further_it_is_from_the_threshold(shares: list[float], threshold: float) -> None:
    positive = np.sort(np.array(shares))
    values = np.stack([1 - positive, positive], axis=-1)
    point = choose_operating_point(f"costs={1 - threshold}:{threshold}", [0.1, 0.9], [False, True])
    found = Decision(operating_point=point).confidence(values)
    above = positive >= point.threshold
    assert np.all(np.diff(found[above]) >= -1e-12) and np.all(np.diff(found[~above]) <= 1e-12)
    assert np.all((found >= 0.5 - 1e-12) & (found <= 1))


def test_what_cannot_be_learned_has_its_reason() -> None:
    values, targets = slides(0, 12, 3, sharp=0)
    found = fit_decision(values, targets, rule="youden", coverage=0.95, max_risk=0.05)
    assert (found.operating_point, found.sets, found.risk, found.threshold) == (None, None, None, None)
    assert found.absent == {
        "operating_point": "there are more than two classes",
        "sets": "there are too few slides",
        "risk": "even of the surest half of the slides, more than 5% may be answered wrong",
    }
    off = fit_decision(*slides(0, 40, 2), rule="most_probable", coverage=0, max_risk=0)
    assert off.threshold == 0.5 and off.absent == {"sets": "decision.coverage is 0", "risk": "decision.max_risk is 0"}


def test_one_that_a_file_states_is_checked() -> None:
    adapter = TypeAdapter(Decision)
    good = fit_decision(*slides(3, 80, 2, sharp=4), rule="youden", coverage=0.9, max_risk=0.2)
    assert good.operating_point and good.sets and good.risk and good.problem(2) == ""
    assert adapter.validate_python(good.to_dict()) == good
    assert "more than two classes" in good.problem(3)
    assert "one limit for each class" in Decision(sets=good.sets).problem(3)
    for part, name, bad in (
        ("sets", "coverage", 1.0),
        ("sets", "limits", [0.5]),
        ("sets", "limits", [0.5, 0.5, 0.5]),
        ("risk", "limit", -0.1),
        ("risk", "max_risk", "nan"),
        ("operating_point", "threshold", 2),
        ("operating_point", "other", 2),
    ):
        stated = good.to_dict()
        stated[part] = {**stated[part], name: bad}  # type: ignore[dict-item]
        with pytest.raises(ValidationError):
            adapter.validate_python(stated)


def test_a_class_at_its_limit_is_plausible() -> None:
    sets = PredictionSets(coverage=0.9, limits=(0.25, 0.75), by_class=True, slides=(9, 9))
    assert Decision(sets=sets).plausible(np.array([0.25, 0.75])).tolist() == [True, True]


@pytest.mark.parametrize("threshold", [0.0, 0.3, 1.0])
def test_certain_answers_have_a_finite_confidence(threshold: float) -> None:
    point = replace(choose_operating_point("costs=1:1", [0.2, 0.8], [False, True]), threshold=threshold)
    with np.errstate(divide="raise", invalid="raise"):
        sure = Decision(operating_point=point).confidence(np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert ((sure >= 0.5) & (sure <= 1)).all()
