"""Regions that a person drew, and the slide that they belong to."""

from typing import TYPE_CHECKING, NamedTuple

from lrmil.errors import TissueError
from lrmil.patches.drawn_regions import Regions

if TYPE_CHECKING:
    from lrmil.slides.slide import Slide


class DrawnOn(NamedTuple):
    """Regions, and what they were drawn on."""

    regions: Regions
    fingerprint: str
    """Hash of the slide's samples when they were begun; "" if another reader opened it."""


def require_drawn_on(slide: "Slide", drawn: DrawnOn) -> None:
    """Require that regions were drawn on this content of a slide.

    Parameters
    ----------
    slide
        The slide as its file is now.
    drawn
        The regions.

    Raises
    ------
    TissueError
        If they were drawn on other content.
    """
    if drawn.fingerprint not in ("", slide.fingerprint):
        raise TissueError(
            f"The regions were drawn on an earlier version of {slide.path.name}. Open it again, and draw them there."
        )
