"""Attention as a raster, and that the files made of it put every patch where it is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lrmil.prediction.attention import attention_raster, ends, percentile_rank, top_patches
from lrmil.raster import Raster

cells = st.lists(st.tuples(st.integers(-40, 40), st.integers(-40, 40)), min_size=1, max_size=30, unique=True)
lengths = st.floats(1, 5000, allow_subnormal=False)
places = st.floats(-1e5, 1e5, allow_subnormal=False)


@settings(deadline=None)
@given(cells, lengths, places, places)
def test_raster_is_the_naive_loop(index: list[tuple[int, int]], step: float, y: float, x: float) -> None:
    attention = np.arange(1, len(index) + 1) / 7
    raster = attention_raster(attention, np.array(index), step_level0=step, origin_yx=(y, x))
    found = {}
    for row, col in np.ndindex(raster.array.shape):
        if not np.isnan(raster.array[row, col]):
            corner = raster.to_level0 @ (row, col, 1)
            cell = tuple(round(v) for v in (corner - (y, x)) / step)
            np.testing.assert_allclose(corner, np.array([y, x]) + np.array(cell) * step, atol=1e-6)
            found[cell] = float(raster.array[row, col])
    assert found == {cell: float(np.float32(value)) for cell, value in zip(index, attention, strict=True)}
    spans = [max(part) - min(part) + 1 for part in zip(*index, strict=True)]
    assert list(raster.array.shape) == spans
    assert raster.array.dtype == np.float32


@pytest.mark.parametrize(
    ("attention", "index"),
    [([], np.zeros((0, 2), int)), ([1.0], np.zeros((2, 2), int)), ([1.0, 2.0], np.zeros((2, 2), int))],
    ids=["no patches", "lengths differ", "same cell twice"],
)
def test_raster_refuses(attention: list[float], index: NDArray[np.int64]) -> None:
    with pytest.raises(ValueError, match=r"values|patch"):
        attention_raster(attention, index, step_level0=1, origin_yx=(0, 0))


@pytest.mark.parametrize(("k", "wanted"), [(0, []), (3, [1, 3, 2]), (9, [1, 3, 2, 4, 0]), (-1, [])])
def test_top_patches_descend_and_ties_keep_their_order(k: int, wanted: list[int]) -> None:
    assert top_patches([0.0, 0.9, 0.2, 0.9, 0.2], k).tolist() == wanted


def test_top_patches_keep_the_order_of_many_ties() -> None:
    assert top_patches(np.arange(1000) % 2, 1000).tolist() == [*range(1, 1000, 2), *range(0, 1000, 2)]


@given(st.lists(st.integers(-3, 3).map(float), max_size=12), st.integers(-2, 14))
def test_no_position_is_at_both_ends(values: list[float], k: int) -> None:
    highest, lowest = ends(values, k)
    order = sorted(range(len(values)), key=lambda position: -values[position])
    k = min(max(k, 0), len(values))
    assert highest.tolist() == order[:k]
    assert len(lowest) == min(k, len(values) - k) and not set(highest.tolist()) & set(lowest.tolist())
    rest = sorted(values[position] for position in order[k:])
    assert [values[position] for position in lowest] == rest[: len(lowest)]


def test_percentile_rank_keeps_gaps_and_treats_ties_alike() -> None:
    raster = Raster.on_lattice(np.array([[5.0, np.nan, 1.0], [2.0, 2.0, 9.0]]), cell_level0=8, origin_yx=(3, 4))
    ranks = percentile_rank(raster)
    np.testing.assert_array_equal(ranks.array, [[0.75, np.nan, 0], [0.375, 0.375, 1]])
    np.testing.assert_array_equal(ranks.to_level0, raster.to_level0)


@given(st.lists(st.sampled_from([np.nan, np.inf, -np.inf, -1.5, 0.0, 1e-30, 0.25, 0.5, 3e38]), min_size=2, max_size=20))
def test_percentile_rank_is_that_of_the_definition(values: list[float]) -> None:
    present = [value for value in values if not np.isnan(value)]
    expected = [
        np.nan
        if np.isnan(value)
        else 1.0
        if len(present) == 1
        else (sum(v < value for v in present) + (sum(v == value for v in present) - 1) / 2) / (len(present) - 1)
        for value in values
    ]
    for kind in (np.float32, np.float64):
        ranks = percentile_rank(Raster(np.array([values], kind), np.eye(2, 3))).array
        np.testing.assert_array_equal(ranks, np.array([expected], np.float32))


def test_percentile_rank_of_one_value_and_of_none() -> None:
    one = Raster(np.array([[np.nan, 0.2]]), np.eye(2, 3))
    np.testing.assert_array_equal(percentile_rank(one).array, [[np.nan, 1]])
    assert np.isnan(percentile_rank(Raster(np.full((2, 2), np.nan), np.eye(2, 3))).array).all()
