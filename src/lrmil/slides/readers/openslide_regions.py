"""Read the stored pixels of a level with OpenSlide, although it takes corners in pixels of level 0.

If the factor of a level is not an integer, such a corner may be between two pixels of the level, and OpenSlide then
shifts and smooths the region. So a region is read from a corner where the two grids meet, and cropped.
"""

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image

NEAR = 1 / 512  # of a pixel: cairo, which draws for OpenSlide, ignores smaller shifts
MAX_PIXELS = 1 << 24  # read for one region: 64 MiB


def read_stored(handle: openslide.OpenSlide, level: int, y: int, x: int, h: int, w: int) -> NDArray[np.uint8] | None:
    """Read a rectangle of a level exactly.

    Parameters
    ----------
    handle
        The open slide.
    level
        Index of the level.
    y, x, h, w
        Top-left corner and size in pixels of the level.

    Returns
    -------
    NDArray or None
        (h, w, 3) pixels; None if more than `MAX_PIXELS` would have to be read.
    """
    downsample = handle.level_downsamples[level]
    top, left = (meeting_point(corner, downsample) for corner in (y, x))
    height, width = y + h - top, x + w - left
    if (top, left) != (y, x) and height * width > MAX_PIXELS:
        return None
    return read_from(handle, level, (top, left), (height, width))[y - top :, x - left :]


def meeting_point(corner: int, downsample: float) -> int:
    """Return the last pixel at or before `corner` that begins with a pixel of level 0; pixel 0 always does."""
    if float(downsample).is_integer():
        return corner
    candidates = np.arange(corner, -1, -1)
    level0 = candidates * downsample
    meets = np.abs(level0 - np.rint(level0)) < NEAR * downsample
    return int(candidates[np.argmax(meets)])


def begins_with_level0(corner: int, downsample: float) -> bool:
    """Return whether a pixel of a level begins with a pixel of level 0, so that it can be read exactly."""
    return meeting_point(corner, downsample) == corner


def read_from(
    handle: openslide.OpenSlide, level: int, corner_yx: tuple[int, int], size_yx: tuple[int, int]
) -> NDArray[np.uint8]:
    """Read pixels of a level from the level-0 pixel nearest to a corner; unscanned areas are white.

    Parameters
    ----------
    handle, level
        As for `read_stored`.
    corner_yx, size_yx
        Top-left corner, and (height, width), in pixels of the level.

    Returns
    -------
    NDArray
        (height, width, 3) pixels.
    """
    downsample = handle.level_downsamples[level]
    corner = round(corner_yx[1] * downsample), round(corner_yx[0] * downsample)
    rgba = handle.read_region(corner, level, (size_yx[1], size_yx[0]))
    white = Image.new("RGB", rgba.size, (255, 255, 255))
    white.paste(rgba, mask=rgba.getchannel("A"))  # openslide-python has already undone the premultiplication
    return np.asarray(white)
