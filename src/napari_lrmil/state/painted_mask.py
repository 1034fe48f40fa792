"""A tissue mask that a person painted, and the slide that it belongs to."""

from typing import TYPE_CHECKING, NamedTuple

from lrmil.errors import TissueError
from lrmil.raster import Raster

if TYPE_CHECKING:
    from lrmil.slides.slide import Slide

ANOTHER = "Remove the layer of the mask, or press 'Find tissue' to begin a new one."


class PaintedMask(NamedTuple):
    """A mask, and what it was painted on."""

    mask: Raster
    """(rows, cols) bool."""
    fingerprint: str
    """Hash of the slide's samples when the mask was begun."""


def require_mask_of(slide: "Slide", painted: PaintedMask) -> None:
    """Require that a mask was painted on this slide and covers it.

    Parameters
    ----------
    slide
        The slide as its file is now.
    painted
        The mask.

    Raises
    ------
    TissueError
        If it was painted on other content, or its extent is not that of the slide.
    """
    if painted.fingerprint != slide.fingerprint:
        raise TissueError(
            f"The tissue mask was painted on another slide or an earlier version of {slide.path.name}. {ANOTHER}"
        )
    rows, columns = painted.mask.array.shape
    cell_y, cell_x = painted.mask.cell_yx
    width, height = slide.dimensions
    if abs(rows * cell_y - height) >= cell_y or abs(columns * cell_x - width) >= cell_x:
        raise TissueError(
            f"Expected a tissue mask as large as {slide.path.name}, {width} x {height} px. "
            f"Got one of {columns * cell_x:.0f} x {rows * cell_y:.0f} px. {ANOTHER}"
        )
