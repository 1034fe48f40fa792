"""Read regions of a level through OpenSlide as they are stored, though it counts in pixels of level 0.

A corner that is given in pixels of level 0 lies between the pixels of a level whose factor is not whole, and OpenSlide
then moves and smooths what it reads. So a region is read from a corner where both grids meet, and cut.
"""

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image

NEAR = 1 / 512  # of a pixel: cairo, which draws for OpenSlide, does not move a picture by less
MAX_PIXELS = 1 << 24  # that are read for one region: 64 MiB


def read_stored(handle: openslide.OpenSlide, level: int, y: int, x: int, h: int, w: int) -> NDArray[np.uint8] | None:
    """Read the (h, w, 3) pixels of a rectangle exactly; None where too much would have to be read for that.

    Parameters
    ----------
    y, x
        Top-left corner in pixels of the level.
    """
    downsample = handle.level_downsamples[level]
    top, left = (meeting_point(corner, downsample) for corner in (y, x))
    height, width = y + h - top, x + w - left
    if (top, left) != (y, x) and height * width > MAX_PIXELS:
        return None
    return read_from(handle, level, (top, left), (height, width))[y - top :, x - left :]


def meeting_point(corner: int, downsample: float) -> int:
    """Give the last pixel of a level at or before a corner that begins where a pixel of level 0 does; 0 always does."""
    if float(downsample).is_integer():
        return corner
    candidates = np.arange(corner, -1, -1)
    level0 = candidates * downsample
    meets = np.abs(level0 - np.rint(level0)) < NEAR * downsample
    return int(candidates[np.argmax(meets)])


def begins_with_level0(corner: int, downsample: float) -> bool:
    """Whether a pixel of a level begins where one of level 0 does, so that it can be read as it is stored."""
    return meeting_point(corner, downsample) == corner


def read_from(
    handle: openslide.OpenSlide, level: int, corner_yx: tuple[int, int], size_yx: tuple[int, int]
) -> NDArray[np.uint8]:
    """Read pixels of a level from the corner that OpenSlide has nearest; where nothing was scanned they are white."""
    downsample = handle.level_downsamples[level]
    corner = round(corner_yx[1] * downsample), round(corner_yx[0] * downsample)
    rgba = handle.read_region(corner, level, (size_yx[1], size_yx[0]))
    white = Image.new("RGB", rgba.size, (255, 255, 255))
    white.paste(rgba, mask=rgba.getchannel("A"))  # openslide-python has already undone the premultiplication
    return np.asarray(white)
