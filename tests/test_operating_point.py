"""Operating points against a plain loop and scikit-learn, by hand, and at their limits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from sklearn.metrics import confusion_matrix, recall_score

from lrmil.operating_point import OperatingPoint, answered, choose_operating_point, read_rule

drawn = {"seed": st.integers(0, 10_000), "n": st.integers(2, 60), "digits": st.integers(1, 6)}


def slides(seed: int, n: int, digits: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Probabilities and truth of both classes; few digits make ties, zeros and ones."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(n) < rng.integers(1, n))
    return np.round(np.clip(rng.beta(1, 1, n) + 0.3 * (truth - 0.5), 0, 1), digits), truth


def rates(threshold: float, scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Sensitivity and specificity, one slide after the other."""
    right = [0, 0]
    for score, positive in zip(scores.tolist(), truth.tolist(), strict=True):
        right[positive] += (score >= threshold) == positive
    return right[1] / int(truth.sum()), right[0] / int((~truth).sum())


def every_threshold(scores: NDArray[np.float64]) -> list[float]:
    """All that divide the slides differently."""
    return [-1.0, *sorted(set(scores.tolist())), 2.0]


@given(**drawn)
def test_the_counts_are_those_of_scikit_learn(seed: int, n: int, digits: int) -> None:
    scores, truth = slides(seed, n, digits)
    for rule in ("youden", "most_probable", "sensitivity=0.9", "specificity=0.9", "costs=4:1"):
        found = choose_operating_point(rule, scores, truth)
        said = scores >= found.threshold
        assert np.array_equal(found.confusion, confusion_matrix(truth, said, labels=[False, True]))
        assert found.sensitivity.value == pytest.approx(recall_score(truth, said))
        assert found.specificity.value == pytest.approx(recall_score(~truth, ~said))
        for rate in (found.sensitivity, found.specificity):
            assert 0 <= rate.low <= rate.value <= rate.high <= 1
        again = choose_operating_point(rule, scores[::-1], truth[::-1])
        assert again == found


@given(**drawn, target=st.sampled_from([0.3, 0.5, 0.9, 0.95, 1.0]))
def test_a_share_is_reached_with_the_least_loss_of_the_other(seed: int, n: int, digits: int, target: float) -> None:
    scores, truth = slides(seed, n, digits)
    options = [rates(threshold, scores, truth) for threshold in every_threshold(scores)]
    found = choose_operating_point(f"sensitivity={target}", scores, truth)
    assert found.sensitivity.value >= target
    assert found.specificity.value == max(other for share, other in options if share >= target)
    found = choose_operating_point(f"specificity={target}", scores, truth)
    reachable = [(share, other) for share, other in options[:-1] if other >= target] if scores.max() == 1 else options
    if not reachable:  # a negative slide of probability 1 is above every threshold
        assert found.specificity.value == max(other for _, other in options[:-1])
        return
    assert found.specificity.value >= target
    assert found.sensitivity.value == max(share for share, other in reachable if other >= target)


@given(**drawn)
def test_youden_is_one_standard_error_from_the_best_at_most(seed: int, n: int, digits: int) -> None:
    scores, truth = slides(seed, n, digits)
    best = max((rates(threshold, scores, truth) for threshold in every_threshold(scores)), key=sum)
    error = 0.0
    for share, count in zip(best, (int(truth.sum()), int((~truth).sum())), strict=True):
        smoothed = (share * count + 1) / (count + 2)
        error += smoothed * (1 - smoothed) / count
    found = choose_operating_point("youden", scores, truth)
    chosen = found.sensitivity.value + found.specificity.value
    assert chosen >= sum(best) - 2 * math.sqrt(error) - 1e-9
    if sum(rates(float(truth.mean()), scores, truth)) == sum(best):
        assert found.threshold == truth.mean()


def test_youden_leaves_the_frequency_where_the_slides_tell_it_to() -> None:
    truth = np.repeat([False, True], 100)
    separated = np.concatenate([np.linspace(0.0, 0.1, 100), np.linspace(0.2, 0.9, 100)])
    assert choose_operating_point("youden", separated, truth).threshold < 0.25
    calibrated = np.concatenate([np.linspace(0.0, 0.45, 100), np.linspace(0.55, 1.0, 100)])
    assert choose_operating_point("youden", calibrated, truth).threshold == 0.5


def test_a_known_table() -> None:
    """8 of 10 and 18 of 20: Wilson's intervals by his formula."""
    truth = np.repeat([True, False], [10, 20])
    scores = np.concatenate([[0.9] * 8, [0.1] * 2, [0.9] * 2, [0.1] * 18])
    found = choose_operating_point("most_probable", scores, truth)
    assert (found.threshold, found.confusion) == (0.5, ((18, 2), (2, 8)))
    z = 1.959963984540054
    for rate, k, m in ((found.sensitivity, 8, 10), (found.specificity, 18, 20)):
        centre, spread = k + z * z / 2, z * math.sqrt(k * (m - k) / m + z * z / 4)
        assert (rate.low, rate.high) == pytest.approx(
            ((centre - spread) / (m + z * z), (centre + spread) / (m + z * z))
        )


@pytest.mark.parametrize("rule", ["sensitivity", "specificity"])
@pytest.mark.parametrize("share", range(1, 101))
def test_a_share_that_is_met_exactly_is_enough(rule: str, share: int) -> None:
    """1 - 7 / 100 is less than 0.93 to a computer."""
    truth = np.repeat([True, False], 100)
    scores = np.tile((np.arange(100) + 0.5) / 100, 2)
    found = choose_operating_point(f"{rule}={share / 100}", scores, truth)
    assert getattr(found, rule).value == share / 100


def test_costs_are_those_of_the_errors() -> None:
    scores, truth = np.array([0.1, 0.9]), np.array([False, True])
    assert choose_operating_point("costs=4:1", scores, truth).threshold == pytest.approx(0.2)
    assert choose_operating_point("costs=1:1", scores, truth).threshold == 0.5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "best",
        "youden=1",
        "sensitivity",
        "sensitivity=0",
        "sensitivity=1.1",
        "specificity=nan",
        "costs=1",
        "costs=0:1",
        "costs=1:2:3",
        "costs=inf:1",
        "costs=-1:-1",
        "sensitivity=0.9=",
        "costs=nan:1",
        "costs=inf:inf",
    ],
)
def test_another_rule_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(ValueError, match=r'pass "youden", "most_probable", "sensitivity=0\.95"'):
        read_rule(text)


@pytest.mark.parametrize(
    ("scores", "truth"),
    [([0.5, 0.6], [True, True]), ([0.5, 0.6], [False, False]), ([0.5], [True, False]), ([], []), ([[0.5]], [[True]])],
)
def test_both_classes_are_needed(scores: list[float], truth: list[bool]) -> None:
    with pytest.raises(ValueError, match="slides of both classes"):
        choose_operating_point("youden", scores, truth)


def test_one_that_a_file_states_is_checked() -> None:
    adapter = TypeAdapter(OperatingPoint)
    good = adapter.dump_python(choose_operating_point("youden", [0.1, 0.9], [False, True]))
    assert adapter.validate_json(adapter.dump_json(adapter.validate_python(good))) == adapter.validate_python(good)
    for name, bad in (
        ("threshold", 1.5),
        ("threshold", float("nan")),
        ("confusion", ((1, -1), (0, 1))),
        ("rule", None),
    ):
        with pytest.raises(ValidationError):
            adapter.validate_python({**good, name: bad})


def test_youden_takes_the_frequency_of_the_positive_class_within_a_standard_error() -> None:
    scores = [0.1, 0.2, 0.3, 0.4, 0.55, 0.6, 0.7, 0.8, 0.9, 0.95]
    found = choose_operating_point("youden", scores, [False] * 5 + [True] * 5)
    assert found.threshold == 0.5 and found.confusion == ((4, 1), (0, 5))  # 0.575 would make no error


def test_a_specificity_that_no_threshold_reaches_is_the_highest_there_is() -> None:
    found = choose_operating_point("specificity=1", [0.2, 1.0, 0.9], [False, False, True])
    assert found.threshold == pytest.approx(1 / 3) and found.confusion == ((1, 1), (0, 1))


def test_a_probability_at_the_threshold_is_positive() -> None:
    shares = np.array([[0.5, 0.5], [0.6, 0.4]])
    assert answered(shares, 0.5).tolist() == [1, 0] and answered(shares, [0.6, 0.4]).tolist() == [0, 1]
    assert answered(shares).tolist() == [0, 0]
