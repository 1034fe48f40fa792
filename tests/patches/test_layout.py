"""Which patches and children are kept: against a loop over the tissue's cells, and alike on every scanner."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from lrmil.errors import ResolutionError
from lrmil.patches.layout import Patches, make_patches
from lrmil.raster import Raster
from lrmil.slides.readers.protocol import Level, Reader
from lrmil.slides.resolution import Resolution
from lrmil.slides.slide import Slide

SIZE = 16  # at 2 um/px a patch is 32 um: 64 px of a slide of 0.5 um/px, four tissue cells of 16 px
CELL = 16


def slide_of(width: int, height: int, *, mpp: float = 0.5, origin_yx: tuple[int, int] = (0, 0)) -> Slide:
    """A slide without pixels."""
    reader = SimpleNamespace(levels=(Level((height, width), 1.0, (256, 256)),), origin_yx=origin_yx)
    return Slide(Path("slide.svs"), cast(Reader, reader), Resolution(mpp, "test"))


def tissue_of(array: np.ndarray, *, cell: float = CELL, origin_yx: tuple[float, float] = (0.0, 0.0)) -> Raster:
    return Raster.on_lattice(array, cell_level0=cell, origin_yx=origin_yx)


@pytest.fixture
def speckles() -> np.ndarray:
    """Random cells of tissue, 20 x 28: five by seven patches."""
    return np.random.default_rng(3).random((20, 28)) < 0.4


class TestTissue:
    @pytest.mark.parametrize("min_tissue", [0.0, 0.25, 0.5, 0.75])
    def test_patches_have_enough_tissue(self, speckles: np.ndarray, min_tissue: float) -> None:
        patches = make_patches(slide_of(28 * CELL, 20 * CELL), tissue_of(speckles), size=SIZE, min_tissue=min_tissue)
        expected = [
            [row, col]
            for row in range(5)
            for col in range(7)
            if speckles[4 * row : 4 * row + 4, 4 * col : 4 * col + 4].mean() >= min_tissue
        ]
        assert patches.index.tolist() == expected

    @pytest.mark.parametrize("min_tissue_hr", [0.25, 0.5, 1.0])
    @pytest.mark.parametrize("children", [1, 2, 4])
    def test_children_have_enough_tissue(self, speckles: np.ndarray, children: int, min_tissue_hr: float) -> None:
        patches = make_patches(
            slide_of(28 * CELL, 20 * CELL),
            tissue_of(speckles),
            size=SIZE,
            children=children,
            min_tissue=0.0,
            min_tissue_hr=min_tissue_hr,
        )
        side = 4 // children
        for (row, col), covered in zip(patches.index, patches.children_covered, strict=True):
            for slot in range(children**2):
                top, left = 4 * row + slot // children * side, 4 * col + slot % children * side
                fraction = speckles[top : top + side, left : left + side].mean()
                assert covered[slot] == (fraction >= min_tissue_hr)

    @pytest.mark.parametrize("mpp", [0.5, 0.2427, 0.3251])
    def test_wholly_tissue_is_enough_for_a_minimum_of_one(self, mpp: float) -> None:
        side = round(20 * 32 / mpp)
        tissue = tissue_of(np.ones((90, 90), bool), cell=8 / mpp)
        patches = make_patches(slide_of(side, side, mpp=mpp), tissue, size=SIZE, min_tissue=1.0, min_tissue_hr=1.0)
        inner = (patches.index < 20).all(1)
        assert inner.sum() == 400 and patches.children_covered[(patches.index < 19).all(1)].all()

    def test_no_tissue_gives_no_patches(self) -> None:
        patches = make_patches(slide_of(448, 320), tissue_of(np.zeros((20, 28), bool)), size=SIZE)
        assert len(patches) == 0
        assert patches.level0_yx.shape == (0, 2) and patches.children_covered.shape == (0, 16)
        assert patches.children_level0_yx.shape == (0, 16, 2)


class TestEdge:
    def test_children_lie_inside_the_slide(self) -> None:
        width, height = 150, 100  # 2.34 by 1.56 patches
        patches = make_patches(slide_of(width, height), tissue_of(np.ones((12, 12), bool)), size=SIZE)
        assert patches.index.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
        ends = patches.children_level0_yx + 16
        expected = (ends[..., 0] <= height) & (ends[..., 1] <= width)
        assert np.array_equal(patches.children_covered, expected)
        assert 0 < expected.sum() < expected.size

    def test_the_grid_begins_at_the_scanners_bounds(self) -> None:
        tissue = tissue_of(np.ones((4, 4), bool), origin_yx=(40.0, 90.0))
        patches = make_patches(slide_of(400, 400, origin_yx=(40, 90)), tissue, size=SIZE)
        assert patches.index.tolist() == [[0, 0]] and patches.level0_yx.tolist() == [[40, 90]]
        assert patches.children_covered.all()


class TestScanners:
    def test_links_are_the_same_for_the_same_microns(self) -> None:
        def paired(mpp: float) -> Patches:
            tissue = np.random.default_rng(1).random((53, 53)) < 0.47  # one cell of 8 um a child
            side = round(420.0 / mpp)  # 13.1 patches, 52.5 children
            raster = tissue_of(tissue, cell=8.0 / mpp)
            return make_patches(slide_of(side, side, mpp=mpp), raster, size=SIZE, min_tissue=0.47, min_tissue_hr=0.5)

        reference = paired(0.25)
        assert 50 < len(reference) < 150 and 0.3 < reference.children_covered.mean() < 0.8
        for mpp in (0.5, 0.2427, 0.3251, 0.4991):
            other = paired(mpp)
            assert np.array_equal(other.index, reference.index)
            assert np.array_equal(other.children_index, reference.children_index)
            assert np.array_equal(other.children_covered, reference.children_covered)
            np.testing.assert_allclose(other.level0_yx * mpp, reference.level0_yx * 0.25, atol=0.5)

    @pytest.mark.parametrize("mpp", [2.21, 4.0])
    def test_a_coarser_slide_is_refused(self, mpp: float) -> None:
        with pytest.raises(ResolutionError, match=rf"slide\.svs.* 2 um/px.* {mpp:g} um/px"):
            make_patches(slide_of(100, 100, mpp=mpp), tissue_of(np.ones((8, 8), bool)), size=SIZE)

    @pytest.mark.parametrize("mpp", [2.0, 2.19])
    def test_up_to_a_tenth_coarser_passes(self, mpp: float) -> None:
        assert len(make_patches(slide_of(100, 100, mpp=mpp), tissue_of(np.ones((8, 8), bool)), size=SIZE)) > 0


class TestPublicAttributes:
    def test_types_and_shapes(self, speckles: np.ndarray) -> None:
        patches = make_patches(slide_of(448, 320), tissue_of(speckles), mpp=2.0, size=SIZE, children=2)
        n = len(patches)
        assert n > 5
        assert patches.index.dtype == np.int32 and patches.index.shape == (n, 2)
        assert patches.level0_yx.dtype == np.int64 and patches.level0_yx.shape == (n, 2)
        assert patches.children_covered.dtype == bool and patches.children_covered.shape == (n, 4)
        assert patches.children_level0_yx.dtype == np.int64 and patches.children_level0_yx.shape == (n, 4, 2)
        assert isinstance(patches.size_level0, float) and patches.size_level0 == 64.0

    def test_reading_order_and_places(self, speckles: np.ndarray) -> None:
        patches = make_patches(slide_of(448, 320), tissue_of(speckles), size=SIZE)
        assert patches.index.tolist() == sorted(patches.index.tolist())
        assert np.array_equal(patches.level0_yx, patches.index * 64)
        offsets = np.array([[i * 16, j * 16] for i in range(4) for j in range(4)])
        assert np.array_equal(patches.children_level0_yx, patches.level0_yx[:, None] + offsets)
        assert np.array_equal(patches.children_index * 16, patches.children_level0_yx)
        assert patches.children_grid.mpp == 0.5


class TestUnread:
    """What cannot be read may be tissue or not: patches that depend on it are counted, never laid."""

    def test_patches_that_may_be_tissue_are_counted_and_not_laid(self) -> None:
        tissue, unread = np.zeros((20, 28), bool), np.zeros((20, 28), bool)
        tissue[:4, :4] = True  # patch (0, 0), wholly
        tissue[:4, 4] = True  # patch (0, 1), a quarter: enough
        tissue[:2, 8] = unread[:2, 9] = True  # patch (0, 2), an eighth and an eighth
        unread[4:8, 4:12] = True  # patches (1, 1) and (1, 2)
        unread[4, 0] = True  # patch (1, 0), a sixteenth: too little whatever it is
        slide, children = slide_of(28 * CELL, 20 * CELL), 2
        without = make_patches(slide, tissue_of(tissue), size=SIZE, children=children)
        patches = make_patches(slide, tissue_of(tissue), unread=tissue_of(unread), size=SIZE, children=children)
        assert without.index.tolist() == patches.index.tolist() == [[0, 0], [0, 1]]
        np.testing.assert_array_equal(without.children_covered, patches.children_covered)
        assert (without.undecided, without.children_undecided) == (0, 0)
        assert patches.undecided == 3, "(0, 2), (1, 1), (1, 2)"
        assert patches.children_undecided == 1 + 4 + 4, "the upper left child of (0, 2), and all of the other two"

    def test_nothing_unread_changes_nothing(self, speckles: np.ndarray) -> None:
        slide, unread = slide_of(28 * CELL, 20 * CELL), tissue_of(np.zeros((20, 28), bool))
        patches = make_patches(slide, tissue_of(speckles), unread=unread, size=SIZE)
        assert (patches.undecided, patches.children_undecided) == (0, 0)
