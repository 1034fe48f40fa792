"""Intervals over resamples of cases: how cases are drawn, and figures that some resamples lack."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lrmil import resampling
from lrmil.resampling import case_interval, weighted_area


def seen_weights(cases: list[str], resamples: int, seed: int = 0) -> NDArray[np.int64]:
    """Every weight that a statistic is given."""
    seen = []

    def statistic(weights: NDArray[np.int64]) -> NDArray[np.float64]:
        seen.append(weights)
        return weights[:, 0].astype(float)

    assert case_interval(statistic, np.array(cases), level=0.9, resamples=resamples, seed=seed) is not None
    return np.concatenate(seen)


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=12), st.integers(0, 100))
def test_slides_of_a_case_are_drawn_together(cases: list[str], seed: int) -> None:
    weights = seen_weights(cases, 20, seed)
    assert weights.shape == (20, len(cases))
    for row in weights:
        drawn = {case: {int(weight) for weight, of in zip(row, cases, strict=True) if of == case} for case in cases}
        assert all(len(found) == 1 for found in drawn.values())
        assert sum(found.pop() for found in drawn.values()) == len(set(cases))


def test_equal_seeds_draw_the_same_cases_in_any_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [str(number) for number in range(30)]
    whole = seen_weights(cases, 50)
    monkeypatch.setattr(resampling, "CHUNK_WEIGHTS", 30 * 7)
    np.testing.assert_array_equal(whole, seen_weights(cases, 50))
    assert not np.array_equal(whole, seen_weights(cases, 50, seed=1))


def test_the_interval_is_of_the_resamples_that_have_a_figure() -> None:
    figures = iter([np.array([np.nan, 1.0, 2.0, np.nan, 3.0])])
    found = case_interval(lambda _: next(figures), np.array(["a", "b"]), level=0.5, resamples=5, seed=0)
    assert found == (1.5, 2.5)
    nothing = case_interval(lambda w: np.full(len(w), np.nan), np.array(["a"]), level=0.5, resamples=5, seed=0)
    assert nothing is None


def test_an_area_needs_weight_on_both_sides() -> None:
    positive, score = np.array([True, False, False]), np.array([0.5, 0.5, 0.9])
    areas = weighted_area(positive, score, np.array([[1, 1, 1], [2, 3, 0], [1, 0, 0], [0, 1, 1]]))
    np.testing.assert_allclose(areas, [0.25, 0.5, np.nan, np.nan])
