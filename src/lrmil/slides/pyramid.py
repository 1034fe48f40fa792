"""Wrap the levels of a slide as lazy dask arrays, for viewers.

Unreadable areas are hatched grey, so that the rest can be seen and nobody mistakes them for tissue or glass. No model
ever sees the hatching: predictions read the slide itself.
"""

from contextlib import suppress
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import SlideError
from lrmil.slides.fallback import LevelFallback

if TYPE_CHECKING:
    import dask.array as da

CHUNK = 1024  # px: dask is slow on storage tiles (0.18 s a slice with 291k tiles of 256 px, 0.02 s with 1024 px)
HATCHING = (150, 205, 8)  # two grey values, and the width of a stripe in px
MAX_CHUNK = 4096  # px: viewers fetch whole chunks, so wider storage blocks are cut


def make_pyramid(pixels: LevelFallback, name: str) -> "list[da.Array]":
    """Return each level, full resolution first, as a (y, x, 3) uint8 dask array that reads when it is computed.

    Parameters
    ----------
    pixels
        The open slide.
    name
        Identifies the content: arrays of equal name share cached chunks.
    """
    import dask.array as da  # takes half a second, which only viewers need

    return [
        da.from_array(
            LazyLevel(pixels, index),
            chunks=(_chunk(level.tile[0]), _chunk(level.tile[1]), 3),
            name=f"{name}-{index}",
            meta=np.empty((0, 0, 0), np.uint8),
            fancy=False,
        )
        for index, level in enumerate(pixels.reader.levels)
    ]


class LazyLevel:
    """One level as an array-like object for dask: it has a shape and a dtype, and reads what is sliced."""

    ndim = 3
    dtype = np.dtype(np.uint8)

    def __init__(self, pixels: LevelFallback, level: int) -> None:
        self._pixels = pixels
        self._level = level
        self.shape = (*pixels.reader.levels[level].shape, 3)

    def __getitem__(self, index: tuple[slice | int, ...]) -> NDArray[np.uint8]:
        """Read the rectangle around the requested pixels, then index it."""
        whole = (*index, *(slice(None),) * (3 - len(index)))
        rows, columns = (_Extent(part, size) for part, size in zip(whole[:2], self.shape, strict=False))
        if not (rows.length and columns.length):
            pixels = np.empty((rows.length, columns.length, 3), np.uint8)
        else:
            pixels = self._read(rows.first, columns.first, rows.length, columns.length)
        return pixels[rows.within, columns.within, whole[2]]

    def _read(self, y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
        """Read a rectangle; if that fails, read it block by block, and hatch the unreadable blocks."""
        try:
            return self._sample(y, x, h, w)
        except SlideError:
            out = hatched(y, x, h, w)
        tall, wide = self._pixels.reader.levels[self._level].tile
        for top, left in product(range(y // tall * tall, y + h, tall), range(x // wide * wide, x + w, wide)):
            y0, y1, x0, x1 = max(y, top), min(y + h, top + tall), max(x, left), min(x + w, left + wide)
            with suppress(SlideError):
                out[y0 - y : y1 - y, x0 - x : x1 - x] = self._sample(y0, x0, y1 - y0, x1 - x0)
        return out

    def _sample(self, y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
        step = self._pixels.reader.levels[self._level].downsample
        return self._pixels.sample(self._level, (y * step, x * step), (h, w), step=step)


def hatched(y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
    """Draw diagonal grey stripes that continue in neighbouring rectangles.

    Parameters
    ----------
    y, x, h, w
        Corner and size of the rectangle in pixels of its level.

    Returns
    -------
    NDArray
        (h, w, 3) uint8.
    """
    dark, light, width = HATCHING
    stripes = (np.arange(y, y + h)[:, None] + np.arange(x, x + w)) // width % 2
    return np.repeat(np.where(stripes == 0, dark, light).astype(np.uint8)[..., None], 3, axis=2)


class _Extent:
    """The pixels that one part of an index needs: the first, their number, and the index within them."""

    def __init__(self, part: slice | int, size: int) -> None:
        wanted = range(size)[part] if isinstance(part, slice) else range(size)[part : part + 1 or size]
        self.first = min(wanted, default=0)
        self.length = max(wanted, default=-1) + 1 - self.first
        self.within: slice | int = slice(None, None, wanted.step) if isinstance(part, slice) else 0


def _chunk(tile: int) -> int:
    """Return the side of a chunk in px: several storage blocks, about `CHUNK`; blocks above `MAX_CHUNK` are cut."""
    return CHUNK if tile > MAX_CHUNK else tile * max(1, CHUNK // tile)
