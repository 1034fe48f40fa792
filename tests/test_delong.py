"""DeLong's test against all pairs, one by one, and at its limits.

Of the data aSAH of the R package pROC, which are not kept here, it gave to 13 digits what pROC's own tests expect: for
wfns less s100b 0.0923 (0.0104 to 0.1742), p = 0.0272, for wfns less ndka p = 0.0051, for ndka less s100b p = 0.1643.
"""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lrmil.delong import delong_test
from lrmil.metrics import auroc


def drawn(n: int, seed: int, levels: int) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """Labels with two of each at least, and two scores that have to do with them; few levels make ties."""
    rng = np.random.default_rng(seed)
    positive = np.concatenate([[True, True, False, False], rng.random(n) < 0.4])
    shared = rng.normal(size=len(positive)) + positive
    first, second = (np.round(levels * (shared + rng.normal(size=len(positive)))) / levels for _ in range(2))
    return positive, first, second


def psi(x: float, y: float) -> float:
    return 1.0 if x > y else 0.5 if x == y else 0.0


def looped(positive: NDArray[np.bool_], scores: list[NDArray[np.float64]]) -> tuple[float, float]:
    """Difference and variance by the structural components of DeLong et al., equations 2 to 5."""
    above, below, areas = [], [], []
    for score in scores:
        xs, ys = score[positive].tolist(), score[~positive].tolist()
        above.append([sum(psi(x, y) for y in ys) / len(ys) for x in xs])
        below.append([sum(psi(x, y) for x in xs) / len(xs) for y in ys])
        areas.append(sum(above[-1]) / len(xs))

    def covariance(of: list[list[float]], r: int, s: int) -> float:
        pairs = zip(of[r], of[s], strict=True)
        return sum((a - areas[r]) * (b - areas[s]) for a, b in pairs) / (len(of[r]) - 1)

    m, n = len(above[0]), len(below[0])
    entries = {(r, s): covariance(above, r, s) / m + covariance(below, r, s) / n for r in (0, 1) for s in (0, 1)}
    return areas[0] - areas[1], entries[0, 0] + entries[1, 1] - entries[0, 1] - entries[1, 0]


@given(st.integers(0, 30), st.integers(0, 10_000), st.sampled_from([1, 3, 1000]))
def test_against_structural_components(n: int, seed: int, levels: int) -> None:
    positive, first, second = drawn(n, seed, levels)
    difference, variance = looped(positive, [first, second])
    found = delong_test(positive, first, second)
    assert found is not None and found.difference == pytest.approx(difference, abs=1e-12)
    if variance < 1e-12:
        assert found.p is None and found.interval == (found.difference, found.difference)
        return
    sigma = math.sqrt(variance)
    assert found.p == pytest.approx(2 * (1 - NormalDist().cdf(abs(difference) / sigma)), abs=1e-9)
    reach = NormalDist().inv_cdf(0.975) * sigma
    assert found.interval == pytest.approx((difference - reach, difference + reach), abs=1e-9)


@given(st.integers(0, 30), st.integers(0, 10_000), st.sampled_from([1, 3, 1000]))
def test_symmetries(n: int, seed: int, levels: int) -> None:
    """The other way round, in another order, by any rising function, and seen from the other class."""
    positive, first, second = drawn(n, seed, levels)
    found, turned = delong_test(positive, first, second), delong_test(positive, second, first)
    assert found is not None and turned is not None
    assert turned.difference == pytest.approx(-found.difference, abs=1e-12)
    assert (turned.p is None) == (found.p is None) and (found.p is None or turned.p == pytest.approx(found.p))
    order = np.random.default_rng(seed).permutation(len(positive))
    same = (
        delong_test(positive[order], first[order], second[order]),
        delong_test(positive, first**3, np.exp(second)),
        delong_test(~positive, -first, -second),
    )
    for one in same:
        assert one is not None and one.difference == pytest.approx(found.difference, abs=1e-12)
        assert one.interval == pytest.approx(found.interval, abs=1e-12)
    two = [np.stack([-score, score], axis=1) for score in (first, second)]
    areas = [auroc(positive.astype(int), score) for score in two]
    assert found.difference == pytest.approx(areas[0] - areas[1], abs=1e-12)  # type: ignore[operator]


def test_equal_orders_have_no_variance_and_no_p() -> None:
    positive, first, _ = drawn(20, 0, 1000)
    found = delong_test(positive, first, first * 3 - 1)
    assert found is not None and (found.difference, found.interval, found.p) == (0, (0, 0), None)
    perfect, reverse = positive.astype(float), -positive.astype(float)
    found = delong_test(positive, perfect, reverse)
    assert found is not None and (found.difference, found.interval, found.p) == (1, (1, 1), None)


def test_one_slide_of_a_class_has_no_spread() -> None:
    scores = np.array([0.1, 0.2, 0.3])
    for positive in ([True, False, False], [True, True, False], [True] * 3, [False] * 3):
        assert delong_test(np.array(positive), scores, scores) is None


def test_no_difference_is_found_as_often_as_chance_allows() -> None:
    """Of 400 pairs of scores that are equally good, 5 % have a p below 0.05."""
    rng = np.random.default_rng(0)
    positive = np.arange(120) < 50
    below = 0
    for _ in range(400):
        shared = rng.normal(size=120) + positive
        found = delong_test(positive, shared + rng.normal(size=120), shared + rng.normal(size=120))
        assert found is not None and found.p is not None
        below += found.p < 0.05
    assert 8 <= below <= 34  # a binomial count of 400 times 0.05 lies there in 99.7 % of cases
