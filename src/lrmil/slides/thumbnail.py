"""Read a whole slide at a coarse resolution, in blocks, so that memory stays small even without a coarse level."""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lrmil.errors import SlideError
from lrmil.slides.fallback import LevelFallback
from lrmil.slides.readers.sampling import WHITE

MAX_BLOCK = 1024  # largest side of a block in output pixels
MAX_SOURCE_BLOCK = 4096  # largest side of a block in pixels of the level: 48 MiB per thread
MIN_BLOCK = 16  # smallest side in output pixels to which a failed block is split: one bad tile loses little
MAX_LOST = 4096  # more failed blocks are not split: each attempt takes up to 5 ms
MAX_THREADS = 4
MAX_THUMBNAIL = 1 << 28  # pixels: a microscope slide of 150 x 100 mm has 234 million at 8 um/px


class Thumbnail(NamedTuple):
    """A whole slide at a coarse resolution.

    Parameters
    ----------
    array
        (rows, cols, 3) uint8; unreadable pixels are white.
    cell_level0
        Exact number of level-0 pixels per thumbnail pixel; pixel (0, 0) begins at level-0 (0, 0).
    failed
        (rows, cols) bool: True for unreadable pixels.
    """

    array: NDArray[np.uint8]
    cell_level0: float
    failed: NDArray[np.bool_]


def make_thumbnail(pixels: LevelFallback, level: int, ratio: int) -> Thumbnail:
    """Shrink a whole level by an integer factor.

    A block that cannot be read is split and tried again, down to `MIN_BLOCK`. With more than `MAX_LOST` failed blocks
    the splitting stops, so that the unreadable area is marked more coarsely.

    Parameters
    ----------
    pixels
        The open slide.
    level
        Index of the level to read.
    ratio
        Pixels of the level per thumbnail pixel.

    Raises
    ------
    SlideError
        If nothing could be read, or the level is larger than any microscope slide.
    """
    height, width = pixels.reader.levels[level].shape
    step = ratio * pixels.reader.levels[level].downsample
    rows, cols = math.ceil(height / ratio), math.ceil(width / ratio)
    if rows * cols > MAX_THUMBNAIL:
        raise SlideError(
            f"Expected a slide no larger than a microscope slide. Got {width} x {height} px, which make a thumbnail of "
            f"{rows * cols / 1e6:.0f} million pixels. The file is probably damaged, or its um/px is wrong."
        )
    array = np.full((rows, cols, 3), WHITE, np.uint8)
    failed = np.zeros((rows, cols), bool)

    def fill(y: int, x: int, side: int) -> SlideError | None:
        size = min(side, rows - y), min(side, cols - x)
        try:
            region = pixels.sample(level, (y * step, x * step), size, step=step, max_pixels=MAX_SOURCE_BLOCK**2)
        except SlideError as error:
            return error
        array[y : y + size[0], x : x + size[1]] = region
        return None

    side = _block_side(ratio)
    corners = list(product(range(0, rows, side), range(0, cols, side)))
    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        while True:
            problems = list(pool.map(lambda corner, side=side: fill(corner[0], corner[1], side), corners))
            lost = [corner for corner, problem in zip(corners, problems, strict=True) if problem]
            finest_fits = side * step <= MAX_SOURCE_BLOCK  # else a finer level has not been tried yet
            if not lost or side <= MIN_BLOCK or (finest_fits and len(lost) > MAX_LOST):
                break
            side //= 2
            quarters = chain.from_iterable(product((y, y + side), (x, x + side)) for y, x in lost)
            corners = [(top, left) for top, left in quarters if top < rows and left < cols]
    for y, x in lost:
        failed[y : y + side, x : x + side] = True
    if failed.all():
        raise next(problem for problem in problems if problem)
    return Thumbnail(array, step, failed)


def shrunk(thumbnail: Thumbnail, side: int) -> Thumbnail:
    """Return a thumbnail shrunk by an integer factor to at most `side` x `side` pixels; itself, if it is no larger.

    Parameters
    ----------
    thumbnail
        A whole slide.
    side
        Longest side in pixels.
    """
    rows, cols = thumbnail.failed.shape
    factor = math.ceil(max(rows, cols) / side)
    if factor <= 1:
        return thumbnail
    array = np.asarray(Image.fromarray(thumbnail.array).reduce(factor))
    failed = np.pad(thumbnail.failed, [(0, -rows % factor), (0, -cols % factor)])
    blocks = failed.reshape(len(failed) // factor, factor, -1, factor)
    return Thumbnail(array, thumbnail.cell_level0 * factor, np.asarray(blocks.any((1, 3))))


def _block_side(ratio: int) -> int:
    """Return the side of a block in output pixels: a power of two, so that it can be halved down to `MIN_BLOCK`."""
    side = MAX_BLOCK
    while side > MIN_BLOCK and side * ratio > MAX_SOURCE_BLOCK:
        side //= 2
    return side
