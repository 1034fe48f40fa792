"""Reader: what the tifffile route and the OpenSlide route both offer."""

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import SlideError
from lrmil.slides.resolution import Disregarded, MppCandidate

ICC_NOTE = "The file has an ICC colour profile; it is not applied: colours are read as they are stored."
ASSOCIATED = r"label|macro|thumb|thumbnail|overview|barcode|preview"
ASSOCIATED_WORD = re.compile(rf"(?<![a-z])({ASSOCIATED})(s|image|photo)?(?![a-z])", re.IGNORECASE)
INNER_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


class Level(NamedTuple):
    """One level of a pyramid.

    Parameters
    ----------
    shape
        (height, width) in pixels of this level.
    downsample
        Level-0 pixels per pixel of this level.
    tile
        (height, width) of a storage block: the least that can be decoded.
    """

    shape: tuple[int, int]
    downsample: float
    tile: tuple[int, int]


class Reader(Protocol):
    """An open slide file that gives rectangles of its levels; many threads may read at once."""

    name: str
    levels: tuple[Level, ...]
    origin_yx: tuple[int, int]
    objective_power: float | Disregarded | None
    mpp_candidates: list[MppCandidate | Disregarded]

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on how this slide is read that its user must know."""
        ...

    @property
    def bytes_read(self) -> int | None:
        """Compressed bytes taken from the file so far; None where that cannot be known."""
        ...

    def read(self, level: int, y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
        """Read an (h, w, 3) rectangle that lies inside a level, in pixels of that level.

        Raises
        ------
        ValueError
            If the rectangle is not inside the level.
        SlideError
            If the file cannot give these pixels; they are never invented.
        """
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def require_inside(levels: Sequence[Level], level: int, y: int, x: int, h: int, w: int) -> None:
    """Refuse a rectangle that is empty or not wholly inside the level."""
    height, width = levels[level].shape
    if not (y >= 0 and x >= 0 and h > 0 and w > 0 and y + h <= height and x + w <= width):
        raise ValueError(
            f"Expected a rectangle inside level {level} ({height} x {width}); got y={y} x={x} h={h} w={w}. "
            "Clip it first, or use Slide.read_region, which pads with white."
        )


def not_brightfield(path: object, got: str) -> SlideError:
    """Make the error for a picture that is no 8-bit RGB brightfield slide."""
    return SlideError(
        f"Expected an 8-bit RGB brightfield slide in {path}; got {got}. "
        "Convert it to RGB first; fluorescence and grey images are outside what this package classifies."
    )


def is_associated(name: str) -> bool:
    """Tell by its name whether an image in a slide file is no scan of tissue: the label, the macro photo, a preview."""
    return ASSOCIATED_WORD.search(INNER_CAPITAL.sub(" ", name)) is not None


def no_scan(path: object) -> SlideError:
    """Make the error for a file that has no scan."""
    return SlideError(
        f"Expected a scan of tissue in {path}; it has none: all its pictures are named or marked as label, macro photo "
        "or thumbnail, which are never read. Check that this is the right file."
    )


def scene_note(chosen: int, count: int) -> tuple[str, ...]:
    """Say which of several scenes is read, both counted from 1; nothing where there is one."""
    if count < 2:
        return ()
    return (f"The file holds {count} scenes; the largest is read alone: scene {chosen} of {count}.",)


def several_planes(path: object, count: int, kind: str) -> SlideError:
    """Make the error for a slide that was scanned at several depths, or times."""
    return SlideError(
        f"Expected one picture of the slide in {path}; it has {count} {kind}; export one, for example with QuPath or "
        "bfconvert, and use that."
    )


def unreadable(path: object, what: str) -> SlideError:
    """Make the error for pixels that a file cannot give."""
    return SlideError(
        f"Expected readable pixels in {path}; {what}. Copy the file again from its source, or leave this slide out."
    )
