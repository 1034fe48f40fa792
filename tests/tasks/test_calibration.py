"""Platt scaling: against scikit-learn's own, sums and orders kept, and what is refused."""

from typing import Self

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from lrmil.calibration import calibration_error
from lrmil.tasks.calibration import MIN_OF_CLASS, Calibration, fit_calibration, log_odds
from lrmil.tasks.classification import Classification


class GivenOdds(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose decisions are its inputs."""

    def __init__(self, classes: int) -> None:
        self.classes, self.classes_ = classes, np.arange(classes)

    def fit(self, odds: NDArray[np.float64], targets: NDArray[np.int64]) -> Self:
        raise NotImplementedError

    def predict(self, odds: NDArray[np.float64]) -> NDArray[np.int64]:
        return odds.argmax(axis=1)

    def decision_function(self, odds: NDArray[np.float64]) -> NDArray[np.float64]:
        return odds[:, 1] if len(self.classes_) == 2 else odds


def draw(classes: int, *, count: int = 200, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Overconfident logits that are shifted, and the labels of the right ones."""
    rng = np.random.default_rng(seed)
    right = rng.normal(size=(count, classes)) * 1.5
    targets = np.array([rng.choice(classes, p=softmax(row)) for row in right])
    return 3 * right + np.linspace(0, 2, classes), targets


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_it_is_the_scaling_of_scikit_learn(classes: int) -> None:
    logits, targets = draw(classes)
    odds = log_odds(logits)
    theirs = CalibratedClassifierCV(FrozenEstimator(GivenOdds(classes)), method="sigmoid", ensemble=False)
    expected = theirs.fit(odds, targets).predict_proba(odds)
    found = fit_calibration(logits, targets)
    assert found is not None and found.slides == len(targets)
    np.testing.assert_allclose(found.probabilities(logits), expected, atol=2e-4)


@pytest.mark.parametrize("classes", [2, 3])
def test_new_answers_of_the_same_kind_are_calibrated(classes: int) -> None:
    found = fit_calibration(*draw(classes, count=2000))
    logits, targets = draw(classes, count=5000, seed=1)
    assert found is not None
    before = calibration_error(targets, softmax(logits, axis=1))
    after = calibration_error(targets, found.probabilities(logits))
    assert after < 0.03 < 0.1 < before


rows = arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(2, 5)), elements=st.floats(-300, 300))


@given(logits=rows)
def test_log_odds_are_those_of_the_softmax(logits: NDArray[np.float64]) -> None:
    found = log_odds(logits)
    for row, odds in zip(logits, found, strict=True):
        for place, value in enumerate(odds):
            others = np.delete(row, place)
            top = others.max()
            assert value == pytest.approx(row[place] - top - np.log(np.exp(others - top).sum()), abs=1e-9)


@settings(max_examples=200)
@given(logits=rows, data=st.data())
def test_probabilities_sum_to_one_and_two_classes_keep_their_order(
    logits: NDArray[np.float64], data: st.DataObject
) -> None:
    classes = logits.shape[1]
    numbers = st.lists(st.floats(-50, 50), min_size=classes, max_size=classes)
    slopes = [abs(value) / 10 + 0.01 for value in data.draw(numbers)]
    offsets = data.draw(numbers)
    if classes == 2:
        slopes, offsets = [slopes[0]] * 2, [-offsets[0], offsets[0]]
    found = Calibration(slopes=tuple(slopes), offsets=tuple(offsets), slides=9).probabilities(logits)
    assert np.isfinite(found).all() and (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-9)
    if classes == 2:
        order = np.argsort(logits[:, 1] - logits[:, 0])
        assert (np.diff(found[order, 1]) >= -1e-12).all()


@pytest.mark.parametrize("slope", [5e-324, 1e300, 1.7e308])
@pytest.mark.parametrize("offsets", [(0.0, 0.0, 0.0), (-1e17, -1e17, -1e17), (-1e308, 0.0, 1e308), (-1.7e308,) * 3])
@pytest.mark.parametrize("logits", [(0.0, 0.0, 0.0), (1e4, 1e4, 1e4), (1e4, -1e4, 1e4), (3e38, -3e38, 0.0)])
def test_any_numbers_that_a_model_may_state_give_probabilities(
    slope: float, offsets: tuple[float, ...], logits: tuple[float, ...]
) -> None:
    with np.errstate(over="raise", invalid="raise"):
        found = Calibration(slopes=(slope,) * 3, offsets=offsets, slides=1).probabilities(logits)
    assert (found >= 0).all() and found.sum() == pytest.approx(1)


def test_one_answer_is_calibrated_as_one_of_many() -> None:
    logits, targets = draw(3)
    found = fit_calibration(logits, targets)
    assert found is not None
    np.testing.assert_array_equal(found.probabilities(logits[7]), found.probabilities(logits)[7])


def test_answers_in_the_wrong_order_are_not_calibrated() -> None:
    logits, targets = draw(2)
    assert fit_calibration(-logits, targets) is None


@pytest.mark.parametrize("perfect", [1.0, 1e4])
def test_perfect_answers_do_not_become_certain(perfect: float) -> None:
    """Platt's targets leave room for a slide that is not like the others."""
    targets = np.arange(20) % 2
    found = fit_calibration(np.stack([-perfect * targets, perfect * targets], axis=1), targets)
    assert found is not None
    np.testing.assert_allclose(found.probabilities([-perfect, perfect])[1], 11 / 12, atol=0.02)


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e4])
@pytest.mark.parametrize("shift", [0.0, -10.0, 1e4])
def test_where_the_odds_lie_and_how_wide_does_not_matter(scale: float, shift: float) -> None:
    logits, targets = draw(2)
    odds = log_odds(logits)[:, 1]
    found = fit_calibration(np.stack([0 * odds, odds], axis=1), targets)
    moved = fit_calibration(np.stack([0 * odds, shift + scale * odds], axis=1), targets)
    assert found is not None and moved is not None
    expected = found.probabilities(np.stack([0 * odds, odds], axis=1))
    given = moved.probabilities(np.stack([0 * odds, shift + scale * odds], axis=1))
    np.testing.assert_allclose(given, expected, atol=1e-5)


def test_a_class_that_is_always_known_leaves_the_others_calibrated() -> None:
    logits, targets = draw(3)
    logits[targets == 0, 0] += 1000
    logits[targets != 0, 0] -= 1000
    found = fit_calibration(logits, targets)
    assert found is not None
    after = found.probabilities(logits)
    assert (after[targets == 0, 0] > 0.95).all() and (after[targets != 0, 0] < 0.05).all()
    rest = targets != 0
    assert after[rest, 1].mean() == pytest.approx((targets[rest] == 1).mean(), abs=0.08)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("answer", [0.0, 1.0, -7.3])
def test_equal_answers_are_not_calibrated(classes: int, answer: float) -> None:
    """There is no order to keep, so that any slope would fit as well."""
    logits = np.zeros((20, classes))
    logits[:, 0] = answer
    assert fit_calibration(logits, np.arange(20) % classes) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"slopes": [1.0, 0.0]},
        {"slopes": [1.0, -1.0]},
        {"slopes": [1.0]},
        {"slopes": [1.0, float("nan")]},
        {"offsets": [0.0]},
        {"offsets": [0.0, float("inf")]},
        {"slides": 0},
        {"more": 1},
    ],
    ids=str,
)
def test_a_document_of_a_calibration_is_checked(changes: dict[str, object]) -> None:
    document: dict[str, object] = {"slopes": [1.0, 2.0], "offsets": [0.0, 1.0], "slides": 9}
    whole = TypeAdapter(Calibration).validate_python(document)
    assert whole.to_dict() == document
    with pytest.raises(ValidationError):
        TypeAdapter(Calibration).validate_python(document | changes)


def test_a_classification_says_of_which_class_it_has_too_few_slides() -> None:
    task = Classification(("a", "b", "c"))
    enough = [0, 1, 2] * MIN_OF_CLASS
    assert task.calibration_problem(enough) == ""
    assert task.calibration_problem(enough[1:]) == f"there are fewer than {MIN_OF_CLASS} slides of a"
    assert "of b, c" in task.calibration_problem([0] * 50)


def test_a_classification_without_a_calibration_gives_its_softmax() -> None:
    task, logits = Classification(("a", "b")), np.float32([0.5, 2.0])
    np.testing.assert_array_equal(task.calibrated(logits, None), task.values(logits))
    found = Calibration(slopes=(1.0, 1.0), offsets=(0.0, 0.0), slides=9)
    np.testing.assert_allclose(task.calibrated(logits, found), task.values(logits), atol=1e-7)
