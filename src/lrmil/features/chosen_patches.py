"""Which patches of a slide are encoded at one resolution, and what it took to find them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lrmil.geometry import Grid
from lrmil.patches.kept import Found, find_patches
from lrmil.patches.plan import PatchPlan, patches_of
from lrmil.patches.tissue import Tissue
from lrmil.slides.slide import Slide


@dataclass(frozen=True, slots=True)
class Chosen:
    """The n patches of a slide at one resolution.

    Attributes
    ----------
    grid
        Their lattice.
    index
        (n, 2) row and column.
    level0_yx
        (n, 2) px of level 0.
    undecided
        Patches in areas that could not be read; they may contain tissue.
    notes
        Sentences on the tissue.
    found
        What to keep for other resolutions; None if nothing is kept.
    """

    grid: Grid
    index: NDArray[np.int32]
    level0_yx: NDArray[np.int64]
    undecided: int
    notes: tuple[str, ...]
    found: Found | None

    @property
    def seconds_before(self) -> float:
        """Seconds that an earlier call took to find the tissue."""
        return self.found.seconds_before if self.found else 0.0

    @property
    def bytes_before(self) -> int:
        """Bytes that an earlier call read to find the tissue."""
        return self.found.bytes_before if self.found else 0


def choose_patches(
    slide: Slide,
    plan: PatchPlan,
    resolution: Literal["lr", "hr"],
    masks: Sequence[Tissue],
    path: Path | None,
    *,
    version: int,
) -> Chosen:
    """Return the LR patches of a slide, or their covered HR children.

    Parameters
    ----------
    slide
        An open slide with a known resolution.
    plan, resolution
        Which patches.
    masks
        The mask that was given, if one was.
    path, version
        As in `find_patches`; None if patches are not kept.

    Raises
    ------
    ResolutionError, SlideError
        If the slide is too coarse, or cannot be read.
    """
    found = None if path is None else find_patches(slide, plan, path, version=version)
    patches = patches_of(slide, plan, *masks) if found is None else found.patches
    if resolution == "lr":
        return Chosen(patches.grid, patches.index, patches.level0_yx, patches.undecided, patches.notes, found)
    slide.require_mpp(patches.children_grid.mpp)
    return Chosen(
        patches.children_grid,
        patches.children_index[patches.children_covered],
        patches.children_level0_yx[patches.children_covered],
        patches.children_undecided,
        patches.notes,
        found,
    )
