"""The paired grid: integer links are exact at every scanner's resolution, and rounding to pixels never accumulates."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import avg_pool2d

from lrmil.errors import ConfigError
from lrmil.geometry import Grid, children_of, parent_of, positions_in, resolution_ratio, token_overlap

SCANNERS = (0.5, 0.25, 0.2427, 0.3251, 0.4991)
RATIOS = (1, 2, 4, 8)

cells = st.lists(st.tuples(st.integers(0, 10**5), st.integers(0, 10**5)), min_size=1, max_size=8).map(np.array)
mpps = st.sampled_from(SCANNERS) | st.floats(0.1, 1.5)
quick = settings(deadline=None, max_examples=60)


class TestLinks:
    @quick
    @given(cells, st.sampled_from(RATIOS))
    def test_children_know_their_parent_and_slot(self, parents: np.ndarray, s: int) -> None:
        nested = children_of(parents, s)
        assert nested.shape == (len(parents), s * s, 2) and nested.dtype == np.int32
        back, slots = parent_of(nested.reshape(-1, 2), s)
        assert np.array_equal(back, np.repeat(parents, s * s, axis=0))
        assert np.array_equal(slots, np.tile(np.arange(s * s), len(parents)))

    @quick
    @given(cells, st.sampled_from(RATIOS))
    def test_every_cell_is_the_child_its_slot_says(self, index: np.ndarray, s: int) -> None:
        parents, slots = parent_of(index, s)
        assert parents.dtype == slots.dtype == np.int32
        assert np.array_equal(children_of(parents, s)[np.arange(len(index)), slots], index)

    @pytest.mark.parametrize("s", RATIOS)
    def test_slots_are_in_reading_order(self, s: int) -> None:
        expected = [[3 * s + i, 7 * s + j] for i in range(s) for j in range(s)]
        assert children_of(np.array([[3, 7]]), s)[0].tolist() == expected

    @pytest.mark.parametrize("s", RATIOS)
    @pytest.mark.parametrize("slide_mpp", SCANNERS)
    def test_the_centre_of_a_child_lies_in_its_parent_on_every_scanner(self, slide_mpp: float, s: int) -> None:
        coarse = Grid(2.0, 64, slide_mpp, (11, 5))
        fine = coarse.refined(s)
        index = np.random.default_rng(0).integers(0, 50_000, (200, 2))
        centre = fine.level0_yx(index) - fine.origin_yx + fine.step_level0 / 2
        assert np.array_equal(parent_of(index, s)[0], np.floor(centre * slide_mpp / coarse.size_um))


class TestPixels:
    @quick
    @given(cells, mpps, st.floats(0.2, 8.0), st.integers(16, 512), st.sampled_from(RATIOS))
    def test_rounding_never_accumulates(
        self, index: np.ndarray, slide_mpp: float, mpp: float, size: int, s: int
    ) -> None:
        grid = Grid(mpp, size, slide_mpp, (13, 7)).refined(s)
        corners = grid.level0_yx(index)
        assert corners.dtype == np.int64
        step = Fraction(mpp) * size / Fraction(slide_mpp) / s
        for cell, corner in zip(index.ravel().tolist(), (corners - (13, 7)).ravel().tolist(), strict=True):
            assert abs(corner - cell * step) <= Fraction(1, 2) + Fraction(1, 10**6)

    @quick
    @given(cells, mpps, st.sampled_from(RATIOS), st.integers(16, 300))
    def test_children_tile_their_parent(self, parents: np.ndarray, slide_mpp: float, s: int, size: int) -> None:
        coarse = Grid(2.0, size, slide_mpp, (3, 9))
        fine = coarse.refined(s)
        parent = coarse.level0_yx(parents)
        starts = fine.level0_yx(children_of(parents, s)).reshape(-1, s, s, 2)
        ends = starts + fine.step_level0
        assert np.abs(starts[:, 0, 0] - parent).max() <= 1
        assert np.abs(ends[:, -1, -1] - (parent + coarse.step_level0)).max() <= 1
        gaps = [starts[:, 1:, :, 0] - ends[:, :-1, :, 0], starts[:, :, 1:, 1] - ends[:, :, :-1, 1]]
        assert all(np.abs(gap).max(initial=0) <= 1 for gap in gaps)
        assert (starts[..., 0] == starts[:, :, :1, 0]).all() and (starts[..., 1] == starts[:, :1, :, 1]).all()

    @pytest.mark.parametrize("slide_mpp", SCANNERS)
    def test_a_patch_is_as_wide_as_the_microns_say(self, slide_mpp: float) -> None:
        grid = Grid(2.0, 256, slide_mpp)
        assert grid.size_um == 512.0
        assert grid.step_level0 * slide_mpp == pytest.approx(512.0, rel=1e-12)
        assert grid.refined(4).step_level0 == pytest.approx(grid.step_level0 / 4, rel=1e-12)
        assert grid.refined(4).size == 256 and grid.refined(4).mpp == 0.5

    def test_the_origin_is_added_once(self) -> None:
        index = np.array([[0, 0], [1, 0], [0, 2]])
        assert Grid(2.0, 16, 0.5, (100, 30)).level0_yx(index).tolist() == [[100, 30], [164, 30], [100, 158]]

    @quick
    @given(mpps, st.integers(1, 9000), st.integers(1, 9000), st.tuples(st.integers(0, 99), st.integers(0, 99)))
    def test_the_shape_covers_the_slide_and_no_more(
        self, slide_mpp: float, width: int, height: int, origin: tuple[int, int]
    ) -> None:
        grid = Grid(2.0, 64, slide_mpp, origin)
        rows, cols = grid.shape_over((width, height))
        for count, extent, start in ((rows, height, origin[0]), (cols, width, origin[1])):
            remaining = extent - start
            if remaining <= 0:
                assert count == 0
            else:
                assert (count - 1) * grid.step_level0 < remaining <= count * grid.step_level0 * (1 + 1e-12)

    @pytest.mark.parametrize("values", [(0.0, 256, 0.5), (2.0, 0, 0.5), (2.0, 256, 0.0), (-1.0, 256, 0.5)])
    def test_impossible_grids_are_refused(self, values: tuple[float, int, float]) -> None:
        with pytest.raises(ConfigError, match="above 0"):
            Grid(*values)

    @pytest.mark.parametrize("children", [0, -4])
    def test_no_children_are_refused(self, children: int) -> None:
        with pytest.raises(ConfigError, match="1 or more"):
            Grid(2.0, 256, 0.5).refined(children)


class TestResolutionRatio:
    @pytest.mark.parametrize(
        ("lr", "hr", "s"), [(2.0, 0.5, 4), (1.0, 0.5, 2), (2.0, 0.25, 8), (0.9, 0.3, 3), (1, 1, 1)]
    )
    def test_whole_ratios(self, lr: float, hr: float, s: int) -> None:
        assert resolution_ratio(lr, hr) == s

    @pytest.mark.parametrize(("lr", "hr"), [(2.0, 0.6), (0.5, 2.0), (0.5, 0.49)])
    def test_others_are_refused(self, lr: float, hr: float) -> None:
        with pytest.raises(ConfigError, match="whole multiple"):
            resolution_ratio(lr, hr)


def naive_overlap(tokens: int, children: int) -> np.ndarray:
    """Area of child (i, j) under token (u, v) by the definition, as a share of the child's area."""
    weights = np.zeros((children**2, tokens**2))
    for i, j, u, v in product(range(children), range(children), range(tokens), range(tokens)):
        high = min((i + 1) / children, (u + 1) / tokens) - max(i / children, u / tokens)
        wide = min((j + 1) / children, (v + 1) / tokens) - max(j / children, v / tokens)
        weights[i * children + j, u * tokens + v] = max(0.0, high) * max(0.0, wide) * children**2
    return weights


class TestTokenOverlap:
    @pytest.mark.parametrize("children", [1, 2, 3, 4, 8])
    @pytest.mark.parametrize("tokens", [1, 2, 3, 5, 7, 8, 14, 16])
    def test_against_areas_one_by_one(self, tokens: int, children: int) -> None:
        weights = token_overlap(tokens, children)
        assert weights.shape == (children**2, tokens**2) and weights.dtype == np.float32
        np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
        np.testing.assert_allclose(weights, naive_overlap(tokens, children), atol=1e-6)

    @pytest.mark.parametrize(("tokens", "children"), [(8, 4), (16, 4), (4, 4), (14, 2), (16, 8), (6, 3), (5, 1)])
    def test_multiples_are_average_pooling(self, tokens: int, children: int) -> None:
        image = torch.randn(2, 3, tokens, tokens, generator=torch.Generator().manual_seed(0))
        pooled = image.flatten(2) @ torch.from_numpy(token_overlap(tokens, children)).T
        torch.testing.assert_close(pooled, avg_pool2d(image, tokens // children).flatten(2))


near_cells = st.tuples(st.integers(0, 12), st.integers(0, 12))  # so that some are found


class TestPositionsIn:
    @settings(deadline=None, max_examples=100)
    @given(st.lists(near_cells, unique=True, max_size=40), st.lists(near_cells, max_size=40))
    def test_against_a_loop(self, index: list[tuple[int, int]], parents: list[tuple[int, int]]) -> None:
        expected = [index.index(parent) if parent in index else -1 for parent in parents]
        found = positions_in(np.array(index, np.int32).reshape(-1, 2), np.array(parents, np.int32).reshape(-1, 2))
        assert found.dtype == np.int64 and found.tolist() == expected

    def test_large_cells_do_not_overflow(self) -> None:
        index = np.array([[10**5, 10**5], [99_999, 10**5], [10**5, 3]], np.int32)
        assert positions_in(index, index[[2, 0, 1]]).tolist() == [2, 0, 1]
