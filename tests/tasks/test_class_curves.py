"""Curves of class probabilities: which classes have which, and what they are of."""

import numpy as np
import pytest

from lrmil import metrics
from lrmil.tasks.class_curves import class_trust, roc_curves
from lrmil.tasks.classification import Classification


def drawn(classes: int, n: int = 30) -> tuple[list[int], np.ndarray]:
    rng = np.random.default_rng(classes)
    return [number % classes for number in range(n)], rng.dirichlet(np.ones(classes), n)


@pytest.mark.parametrize(("classes", "named"), [(("a", "b"), ["b"]), (("a", "b", "c"), ["a", "b", "c"])])
def test_a_roc_curve_of_each_class_or_of_the_positive_one(classes: tuple[str, ...], named: list[str]) -> None:
    targets, values = drawn(len(classes))
    found = roc_curves(classes, targets, values)
    assert [*found] == named and found == Classification(classes).curves(targets, values)
    for name in named:
        points = metrics.roc(targets, values, classes.index(name))
        assert points is not None and found[name]["true_positive_rate"] == points.true_positive_rate.tolist()
    assert roc_curves(classes, [0] * 30, values)[named[-1]] == {}


def test_only_two_classes_have_a_decision_curve() -> None:
    targets, values = drawn(2)
    benefit = class_trust(targets, values).benefit
    assert benefit is not None and benefit.treat_all[49] == pytest.approx(0), "half of the slides are positive"
    assert class_trust(*drawn(3)).benefit is None


@pytest.mark.parametrize("classes", [2, 3])
def test_answers_are_the_most_probable_classes(classes: int) -> None:
    targets, values = drawn(classes)
    wrong = np.mean(values.argmax(axis=1) != targets)
    found = class_trust(targets, values)
    assert found.selective.risk[-1] == pytest.approx(wrong) and found.selective.confidence[0] == values.max()
    assert (found.reliability.right * found.reliability.slides).sum() / 30 == pytest.approx(1 - wrong)


def test_delongs_test_is_of_the_positive_class_of_two() -> None:
    targets, values = drawn(2)
    other = np.roll(values, 1, axis=0)
    found = Classification(("a", "b")).difference_test(targets, values, other)
    areas = [metrics.auroc(targets, one) for one in (values, other)]
    assert found is not None and found.difference == pytest.approx(areas[0] - areas[1])  # type: ignore[operator]
    three = drawn(3)
    assert Classification(("a", "b", "c")).difference_test(*three, three[1]) is None
