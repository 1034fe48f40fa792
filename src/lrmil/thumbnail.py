"""A whole slide at a coarse resolution, read in blocks so that memory stays small even without a coarse level."""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import SlideError
from lrmil.reader import Reader
from lrmil.sampling import WHITE, sample

BLOCK = 1024  # largest side of a block in output pixels
SOURCE_BLOCK = 4096  # largest side of a block in pixels of the level it is read from: 48 MiB a thread
SMALLEST_BLOCK = 16  # a block that fails is split down to this side, so that one bad tile costs little
MAX_THREADS = 4


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


def make_thumbnail(reader: Reader, level: int, ratio: int) -> Thumbnail:
    """Shrink a whole level by a whole `ratio`.

    Raises
    ------
    SlideError
        If nothing at all could be read.
    """
    height, width = reader.levels[level].shape
    rows, cols = math.ceil(height / ratio), math.ceil(width / ratio)
    array = np.full((rows, cols, 3), WHITE, np.uint8)
    failed = np.zeros((rows, cols), bool)
    problems: list[SlideError] = []

    def fill(y: int, x: int, side: int) -> None:
        part = np.s_[y : min(y + side, rows), x : min(x + side, cols)]
        size = failed[part].shape
        try:
            array[part] = sample(reader, level, (y * ratio, x * ratio), (size[0], size[1]), ratio=ratio)
        except SlideError as error:
            if side <= SMALLEST_BLOCK:
                failed[part] = True
                problems.append(error)
                return
            half = side // 2
            for top, left in product(range(y, min(y + side, rows), half), range(x, min(x + side, cols), half)):
                fill(top, left, half)

    block = _block_side(ratio)
    corners = list(product(range(0, rows, block), range(0, cols, block)))
    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        list(pool.map(lambda corner: fill(corner[0], corner[1], block), corners))
    if failed.all():
        raise problems[0]
    return Thumbnail(array, ratio * reader.levels[level].downsample, failed)


def _block_side(ratio: int) -> int:
    """Side in output pixels: a power of two, so that it halves evenly down to the smallest."""
    side = BLOCK
    while side > SMALLEST_BLOCK and side * ratio > SOURCE_BLOCK:
        side //= 2
    return side
