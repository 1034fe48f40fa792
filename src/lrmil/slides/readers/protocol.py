"""Define Reader, the interface of every reader, and the messages that readers share."""

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import SlideError
from lrmil.slides.resolution import Disregarded, MppCandidate
from lrmil.slides.scanner import Scanner

ICC_NOTE = "The file has an ICC colour profile. It is not applied; colours are read as stored."
ASSOCIATED = r"label|macro|thumb|thumbnail|overview|barcode|preview"
ASSOCIATED_WORD = re.compile(rf"(?<![a-z])({ASSOCIATED})(s|image|photo)?(?![a-z])", re.IGNORECASE)
INNER_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


class Level(NamedTuple):
    """One level of a pyramid.

    Parameters
    ----------
    shape
        (height, width) of this level in its own pixels.
    downsample
        Level-0 pixels per pixel of this level.
    tile
        (height, width) of a storage block, the smallest part that can be decoded.
    """

    shape: tuple[int, int]
    downsample: float
    tile: tuple[int, int]


class Reader(Protocol):
    """An open slide file that returns rectangles of its levels; several threads may read at the same time.

    Attributes
    ----------
    name
        The library that reads the pixels.
    levels
        The pyramid, full resolution first.
    origin_yx
        Offset of the scanned area in level-0 pixels.
    objective_power
        Magnification of the objective, None if not stated, or why it is not used.
    mpp_candidates
        Pixel sizes in um/px found in the file, most trusted first.
    scanner
        Make and model of the scanner; None if the file does not state them.
    """

    name: str
    levels: tuple[Level, ...]
    origin_yx: tuple[int, int]
    objective_power: float | Disregarded | None
    mpp_candidates: list[MppCandidate | Disregarded]
    scanner: Scanner | None

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that a user must know about how this slide is read."""
        ...

    @property
    def bytes_read(self) -> int | None:
        """Compressed bytes read from the file so far; None if unknown."""
        ...

    def read(self, level: int, y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
        """Read a rectangle inside a level.

        Parameters
        ----------
        level
            Index of the level.
        y, x
            Top-left corner in pixels of the level.
        h, w
            Height and width in pixels of the level.

        Returns
        -------
        NDArray
            (h, w, 3) RGB pixels.

        Raises
        ------
        ValueError
            If the rectangle is not inside the level.
        SlideError
            If the pixels cannot be read.
        """
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def require_inside(levels: Sequence[Level], level: int, y: int, x: int, h: int, w: int) -> None:
    """Require a rectangle that is not empty and lies inside a level.

    Parameters
    ----------
    levels
        The pyramid.
    level, y, x, h, w
        As for `Reader.read`.

    Raises
    ------
    ValueError
        If it is empty, or not inside the level.
    """
    height, width = levels[level].shape
    if not (y >= 0 and x >= 0 and h > 0 and w > 0 and y + h <= height and x + w <= width):
        raise ValueError(
            f"Expected a rectangle inside level {level} ({height} x {width}). Got y={y} x={x} h={h} w={w}. "
            "Clip it first, or use Slide.read_region, which pads with white."
        )


def not_brightfield(path: object, got: str) -> SlideError:
    """Return the error for an image that is not an 8-bit RGB brightfield slide; `got` says what it is."""
    return SlideError(
        f"Expected an 8-bit RGB brightfield slide in {path}. Got {got}. "
        "Convert it to RGB first; fluorescence and grey images are not supported."
    )


def is_associated(name: str) -> bool:
    """Return whether an image is named as an associated one and not a scan: label, macro photo or preview."""
    return ASSOCIATED_WORD.search(INNER_CAPITAL.sub(" ", name)) is not None


def no_scan(path: object) -> SlideError:
    """Return the error for a file without a scan."""
    return SlideError(
        f"{path} has no scan of tissue: all its images are named or marked as label, macro photo or thumbnail. Check "
        "that this is the right file."
    )


def scene_note(chosen: int, count: int) -> tuple[str, ...]:
    """Return a note which of several scenes is read, counted from 1; none if there is only one."""
    if count < 2:
        return ()
    return (f"The file has {count} scenes. Only the largest is read: scene {chosen} of {count}.",)


def several_planes(path: object, count: int, kind: str) -> SlideError:
    """Return the error for a slide with several planes.

    Parameters
    ----------
    path
        The slide.
    count
        Number of planes.
    kind
        What they are, such as "focal planes".
    """
    return SlideError(
        f"Expected one plane in {path}. Got {count} {kind}. Export one of them, for example with QuPath or bfconvert, "
        "and use that."
    )


def unreadable(path: object, what: str) -> SlideError:
    """Return the error for pixels that cannot be read; `what` says which, and what is wrong."""
    return SlideError(
        f"Cannot read pixels of {path}: {what}. Copy the file again from its source, or leave this slide out."
    )
