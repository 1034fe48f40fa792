"""Which patches of a slide a model sees: the LR patches on tissue and, for each, its covered HR children."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import SlideError
from lrmil.geometry import Grid, children_of
from lrmil.raster import Raster
from lrmil.slides.slide import Slide

MAX_CELLS = 1 << 25  # of the lattice: at 512 um a side, a microscope slide has fewer than 100,000
ROUNDING = 1e-9  # the computed fraction of a patch full of tissue may be 1 - 1e-13, and min_tissue may be 1


@dataclass(frozen=True, slots=True)
class Patches:
    """The paired patches of one slide; n LR patches in reading order, each with s*s HR children.

    Attributes
    ----------
    grid
        The LR lattice.
    children
        s, HR children along a side of an LR patch.
    index
        (n, 2) int32 row, col on the LR lattice.
    children_covered
        (n, s*s) bool: True if the child has enough tissue and lies inside the slide.
    undecided, children_undecided
        Number of LR patches, and of HR children, in areas that could not be read. Whether they contain tissue is
        unknown, so they count as failed.
    notes
        Sentences about the tissue: what was excluded, or where its mask came from.
    """

    grid: Grid
    children: int
    index: NDArray[np.int32]
    children_covered: NDArray[np.bool_]
    undecided: int = 0
    children_undecided: int = 0
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.index)

    @property
    def level0_yx(self) -> NDArray[np.int64]:
        """(n, 2) top-left corners in level-0 pixels."""
        return self.grid.level0_yx(self.index)

    @property
    def size_level0(self) -> float:
        """Side of an LR patch in level-0 pixels."""
        return self.grid.step_level0

    @property
    def children_grid(self) -> Grid:
        """The HR lattice."""
        return self.grid.refined(self.children)

    @property
    def children_index(self) -> NDArray[np.int32]:
        """(n, s*s, 2) row, col on the HR lattice."""
        return children_of(self.index, self.children)

    @property
    def children_level0_yx(self) -> NDArray[np.int64]:
        """(n, s*s, 2) top-left corners of the HR children in level-0 pixels."""
        return self.children_grid.level0_yx(self.children_index)


def make_patches(
    slide: Slide,
    tissue: Raster,
    *,
    mpp: float = 2.0,
    size: int = 256,
    children: int = 4,
    min_tissue: float = 0.25,
    min_tissue_hr: float = 0.25,
    unread: Raster | None = None,
) -> Patches:
    """Lay the paired grid over a slide and keep the patches on tissue (method.md section 2).

    Parameters
    ----------
    slide
        An open slide with a known resolution.
    tissue
        Boolean Raster, as from `segment_tissue`.
    mpp
        LR resolution, um/px.
    size
        P, patch side in pixels, the same at both resolutions.
    children
        s = mpp_LR / mpp_HR.
    min_tissue, min_tissue_hr
        Smallest tissue fraction of an LR patch that is kept and of an HR child that is covered.
    unread
        Boolean Raster of areas that could not be read, as from `find_tissue`.

    Raises
    ------
    ConfigError
        If `mpp`, `size` or `children` is not above 0.
    ResolutionError
        If the slide has no resolution or is more than 10 % coarser than `mpp`.
    SlideError
        If it is larger than a microscope slide.
    """
    slide.require_mpp(mpp)
    grid = Grid(mpp, size, slide.mpp, slide.origin_yx)
    rows, cols = grid.shape_over(slide.dimensions)
    if rows * cols > MAX_CELLS:
        raise SlideError(
            f"Expected a slide no larger than a microscope slide (300 mm). Got {slide.dimensions[0]} x "
            f"{slide.dimensions[1]} px at {slide.mpp:g} um/px, {rows * cols} patches; the file is probably damaged, or "
            "its um/px is wrong."
        )
    index = np.stack(np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij"), -1).reshape(-1, 2).astype(np.int32)
    kept, undecided = _kept(tissue, unread, grid.level0_yx(index), grid.step_level0, min_tissue)
    perhaps, index = index[kept | undecided], index[kept]

    fine = grid.refined(children)
    corners = fine.level0_yx(children_of(perhaps, children)).reshape(-1, 2)
    width, height = slide.dimensions
    inside = (corners + fine.step_level0 <= np.array([height, width]) + 0.5).all(1)
    covered, open_children = _kept(tissue, unread, corners, fine.step_level0, min_tissue_hr)
    of_kept = (inside & covered).reshape(-1, children**2)[kept[kept | undecided]]
    children_undecided = np.count_nonzero(inside & (covered | open_children)) - np.count_nonzero(of_kept)
    return Patches(grid, children, index, of_kept, int(np.count_nonzero(undecided)), int(children_undecided))


def _kept(
    tissue: Raster, unread: Raster | None, level0_yx: NDArray[np.int64], size_level0: float, least: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Mark squares with enough tissue, and others that would have enough if all unread areas were tissue."""
    share = tissue.mean_over(level0_yx, size_level0)
    kept = share >= least - ROUNDING
    if unread is None or not unread.array.any():
        return kept, np.zeros_like(kept)
    return kept, ~kept & (share + unread.mean_over(level0_yx, size_level0) >= least - ROUNDING)
