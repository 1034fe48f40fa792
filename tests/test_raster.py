"""Means over squares are exact areas, also where squares cut through cells or leave the raster."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrmil.raster import Raster


def naive_mean(raster: Raster, corner: np.ndarray, size: float) -> float:
    """Sum over the cells of value times area shared with the square, over the square's area."""
    total = 0.0
    for row, col in product(*map(range, raster.array.shape)):
        top, left = raster.to_level0 @ (row, col, 1)
        bottom, right = raster.to_level0 @ (row + 1, col + 1, 1)
        high = min(bottom, corner[0] + size) - max(top, corner[0])
        wide = min(right, corner[1] + size) - max(left, corner[1])
        total += float(raster.array[row, col]) * max(0.0, high) * max(0.0, wide)
    return total / size**2


coordinate = st.floats(-60, 120) | st.integers(-60, 120).map(float)


class TestMeanOver:
    @settings(deadline=None, max_examples=60)
    @given(
        seed=st.integers(0, 10**6),
        shape=st.tuples(st.integers(1, 6), st.integers(1, 6)),
        cell=st.tuples(st.floats(0.5, 20), st.floats(0.5, 20)),
        origin=st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
        corners=st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=5),
        size=st.floats(0.5, 90),
        boolean=st.booleans(),
    )
    def test_against_areas_cell_by_cell(
        self,
        seed: int,
        shape: tuple[int, int],
        cell: tuple[float, float],
        origin: tuple[float, float],
        corners: list[tuple[float, float]],
        size: float,
        boolean: bool,
    ) -> None:
        array = np.random.default_rng(seed).random(shape)
        raster = Raster.on_lattice(array > 0.5 if boolean else array, cell_level0=cell, origin_yx=origin)
        squares = np.array(corners)
        means = raster.mean_over(squares, size)
        np.testing.assert_allclose(means, [naive_mean(raster, corner, size) for corner in squares], atol=1e-9)

    def test_squares_partly_and_wholly_outside(self) -> None:
        raster = Raster.on_lattice(np.ones((4, 4), bool), cell_level0=10.0, origin_yx=(0.0, 0.0))
        corners = np.array([[0, 0], [-10, -10], [30, 30], [-10, 5], [40, 40], [-20, -20], [35, 0]])
        np.testing.assert_allclose(raster.mean_over(corners, 20.0), [1, 0.25, 0.25, 0.5, 0, 0, 0.25], atol=1e-12)

    def test_rows_are_y(self) -> None:
        raster = Raster.on_lattice(np.array([[0, 1], [0, 0], [0, 0]]), cell_level0=4.0, origin_yx=(100.0, 200.0))
        assert raster.mean_over(np.array([[100, 204], [104, 200]]), 4.0).tolist() == [1, 0]

    def test_no_squares(self) -> None:
        raster = Raster.on_lattice(np.ones((2, 2)), cell_level0=1.0, origin_yx=(0.0, 0.0))
        assert raster.mean_over(np.zeros((0, 2)), 1.0).shape == (0,)


class TestLattice:
    @pytest.mark.parametrize(("cell", "cell_yx"), [(8, (8.0, 8.0)), (2.5, (2.5, 2.5)), ((2.0, 3.0), (2.0, 3.0))])
    def test_cells_and_origin(self, cell: float | tuple[float, float], cell_yx: tuple[float, float]) -> None:
        raster = Raster.on_lattice(np.zeros((3, 3)), cell_level0=cell, origin_yx=(5.0, 7.0))
        assert raster.cell_yx == cell_yx and raster.origin_yx == (5.0, 7.0)
        assert (raster.to_level0 @ (2, 1, 1)).tolist() == [5 + 2 * cell_yx[0], 7 + cell_yx[1]]
