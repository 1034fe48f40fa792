"""`patches_of` lays the grid over given tissue, or over the tissue that it finds."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lrmil.patches.layout import Patches, make_patches
from lrmil.patches.plan import PatchPlan, patches_of
from lrmil.patches.tissue import Tissue, find_tissue
from lrmil.raster import Raster
from lrmil.slides.opening import open_slide
from lrmil.slides.slide import Slide

PLAN = PatchPlan(2.0, 64, children=2, min_tissue=0.6, min_tissue_hr=0.4)


@pytest.fixture
def slide(cohort: Path) -> Iterator[Slide]:
    with open_slide(cohort / "slides/demo-001.ome.tif") as opened:
        yield opened


def assert_same(one: Patches, other: Patches) -> None:
    assert one.grid == other.grid and one.children == other.children
    assert np.array_equal(one.index, other.index) and np.array_equal(one.children_covered, other.children_covered)
    assert (one.undecided, one.children_undecided) == (other.undecided, other.children_undecided)


def test_tissue_is_found_where_none_is_given(slide: Slide) -> None:
    found = find_tissue(slide)
    patches = patches_of(slide, PLAN)
    expected = make_patches(slide, found.mask, mpp=2.0, size=64, children=2, min_tissue=0.6, min_tissue_hr=0.4)
    assert len(patches) > 5 and patches.notes == found.notes
    assert_same(patches, expected)
    assert len(patches_of(slide, PatchPlan(2.0, 64, min_tissue=0.1))) > len(patches)


@pytest.mark.parametrize("unread", [None, (8, 16), (0, 16)])
def test_given_tissue_its_unread_part_and_its_notes_are_used(slide: Slide, unread: tuple[int, int] | None) -> None:
    def raster(first: int, last: int) -> Raster:
        array = np.zeros((16, 16), bool)
        array[first:last] = True
        return Raster.on_lattice(array, cell_level0=64.0, origin_yx=(0.0, 0.0))

    tissue = Tissue(raster(0, 8), None if unread is None else raster(*unread), ("by hand",))
    patches = patches_of(slide, PLAN, tissue)
    expected = make_patches(
        slide, tissue.mask, unread=tissue.unread, mpp=2.0, size=64, children=2, min_tissue=0.6, min_tissue_hr=0.4
    )
    assert_same(patches, expected)
    assert patches.notes == ("by hand",) and len(patches) == 8
    assert (patches.undecided > 0) == (unread is not None)
