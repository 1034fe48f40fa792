"""Read a region of one level of a pyramid, and resample it with an anti-aliasing filter."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lrmil.slides.readers.protocol import Reader

WHITE = 255  # pixels outside the slide, like glass
WHOLE = 1e-3  # a ratio, or an offset in pixels, this close to an integer counts as one


def sample(
    reader: Reader, level: int, corner_yx: tuple[float, float], size_yx: tuple[int, int], *, ratio: float
) -> NDArray[np.uint8]:
    """Read a region of a level, shrunk by `ratio`; outside the level it is white.

    Parameters
    ----------
    reader
        The open slide.
    level
        Index of the level.
    corner_yx
        Top-left corner in pixels of the level; it may be fractional, or outside the level.
    size_yx
        (height, width) in output pixels.
    ratio
        Level pixels per output pixel.

    Returns
    -------
    NDArray
        (height, width, 3) pixels: a copy if nothing has to be resampled, exact means of `ratio` x `ratio` pixels if the
        ratio is an integer, else the result of a Hamming filter of that support.

    Raises
    ------
    SlideError
        If the pixels cannot be read.
    """
    spans = [_Span(start, size, ratio) for start, size in zip(corner_yx, size_yx, strict=True)]
    pixels = read_padded(reader, level, *(span.first for span in spans), *(span.length for span in spans))
    whole = abs(ratio - round(ratio)) < WHOLE
    if whole and round(ratio) == 1 and all(span.aligned for span in spans) and pixels.shape[:2] == tuple(size_yx):
        return pixels
    (top, bottom), (left, right) = (span.box for span in spans)
    filter_ = Image.Resampling.BOX if whole else Image.Resampling.HAMMING
    height, width = size_yx
    return np.array(Image.fromarray(pixels).resize((width, height), filter_, box=(left, top, right, bottom)))


def read_padded(reader: Reader, level: int, y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
    """Read a rectangle that may extend beyond the edges of a level; outside the level it is white.

    Parameters
    ----------
    reader
        The open slide.
    level, y, x, h, w
        Index of the level, corner and size in pixels of the level.

    Returns
    -------
    NDArray
        (h, w, 3) pixels.

    Raises
    ------
    SlideError
        If the pixels cannot be read.
    """
    height, width = reader.levels[level].shape
    y0, y1, x0, x1 = max(y, 0), min(y + h, height), max(x, 0), min(x + w, width)
    if (y0, y1, x0, x1) == (y, y + h, x, x + w):
        return reader.read(level, y, x, h, w)
    out = np.full((h, w, 3), WHITE, np.uint8)
    if y0 < y1 and x0 < x1:
        out[y0 - y : y1 - y, x0 - x : x1 - x] = reader.read(level, y0, x0, y1 - y0, x1 - x0)
    return out


class _Span:
    """One axis of a region: the pixels that contain it, and its begin and end relative to them."""

    def __init__(self, start: float, size: int, ratio: float) -> None:
        end = start + size * ratio
        self.first = math.floor(start + WHOLE)  # rounding errors must not read another row of tiles
        self.length = max(1, math.ceil(end - WHOLE) - self.first)
        self.box = max(start - self.first, 0.0), min(end - self.first, float(self.length))
        self.aligned = abs(start - self.first) < WHOLE
