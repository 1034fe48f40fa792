"""A whole slide at a coarse resolution, read in blocks so that memory stays small even without a coarse level."""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import SlideError
from lrmil.slides.fallback import LevelFallback
from lrmil.slides.readers.sampling import WHITE

BLOCK = 1024  # largest side of a block in output pixels
SOURCE_BLOCK = 4096  # largest side of a block in pixels of the level it is read from: 48 MiB a thread
MIN_BLOCK = 16  # a block that fails is split down to this side in output pixels: one bad tile costs little
MAX_LOST = 4096  # blocks: more are not split further; a try that fails takes up to 5 ms
MAX_THREADS = 4
MAX_THUMBNAIL = 1 << 28  # pixels: at 8 um/px a glass of 150 x 100 mm has 234 million


class Thumbnail(NamedTuple):
    """A whole slide at a coarse resolution.

    Parameters
    ----------
    array
        (rows, cols, 3) uint8; what could not be read is white.
    cell_level0
        Level-0 pixels per thumbnail pixel, exact; pixel (0, 0) begins at level-0 (0, 0).
    failed
        (rows, cols) bool: what could not be read.
    """

    array: NDArray[np.uint8]
    cell_level0: float
    failed: NDArray[np.bool_]


def make_thumbnail(pixels: LevelFallback, level: int, ratio: int) -> Thumbnail:
    """Shrink a whole level by a whole `ratio`.

    A block that cannot be read is split, and its parts are tried again, down to `MIN_BLOCK`. The number of tries
    is bounded: where a slide is lost in more places than `MAX_LOST`, what is marked as lost is taken more coarsely.

    Raises
    ------
    SlideError
        If nothing at all could be read, or the level is larger than any glass.
    """
    height, width = pixels.reader.levels[level].shape
    step = ratio * pixels.reader.levels[level].downsample
    rows, cols = math.ceil(height / ratio), math.ceil(width / ratio)
    if rows * cols > MAX_THUMBNAIL:
        raise SlideError(
            f"Expected a slide that a glass can hold. Got one of {width} x {height} px, shrunk still "
            f"{rows * cols / 1e6:.0f} million; the file is probably damaged, or its um/px is wrong."
        )
    array = np.full((rows, cols, 3), WHITE, np.uint8)
    failed = np.zeros((rows, cols), bool)

    def fill(y: int, x: int, side: int) -> SlideError | None:
        size = min(side, rows - y), min(side, cols - x)
        try:
            region = pixels.sample(level, (y * step, x * step), size, step=step, max_pixels=SOURCE_BLOCK**2)
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
            finest_fits = side * step <= SOURCE_BLOCK  # else a finer level has not been tried yet
            if not lost or side <= MIN_BLOCK or (finest_fits and len(lost) > MAX_LOST):
                break
            side //= 2
            corners = [
                (top, left)
                for y, x in lost
                for top, left in product((y, y + side), (x, x + side))
                if top < rows and left < cols
            ]
    for y, x in lost:
        failed[y : y + side, x : x + side] = True
    if failed.all():
        raise next(problem for problem in problems if problem)
    return Thumbnail(array, step, failed)


def _block_side(ratio: int) -> int:
    """Side in output pixels: a power of two, so that it halves evenly down to the smallest."""
    side = BLOCK
    while side > MIN_BLOCK and side * ratio > SOURCE_BLOCK:
        side //= 2
    return side
