"""A slide's levels as lazy dask arrays, for viewers.

What cannot be read is hatched grey there, so that the rest can be looked at and nobody takes it for tissue or for
glass. No model ever sees it: what is classified is read from the slide itself.
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

CHUNK = 1024  # dask is slow on storage tiles (0.18 s a slice on 291k tiles of 256 px, 0.02 s on 1024 px chunks)
HATCHING = (150, 205, 8)  # two greys, and the width of a stripe in pixels
MAX_CHUNK = 4096  # viewers fetch whole chunks: a strip wider than this is cut


def make_pyramid(pixels: LevelFallback, name: str) -> "list[da.Array]":
    """Wrap each level as a (y, x, 3) uint8 dask array that reads when it is computed; full resolution first.

    Parameters
    ----------
    name
        Identifies the content: equal names share cached chunks.
    """
    import dask.array as da  # costs half a second that only viewers need to spend

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
    """One level that looks enough like an array for dask: it has a shape, a dtype and reads what is sliced."""

    ndim = 3
    dtype = np.dtype(np.uint8)

    def __init__(self, pixels: LevelFallback, level: int) -> None:
        self._pixels = pixels
        self._level = level
        self.shape = (*pixels.reader.levels[level].shape, 3)

    def __getitem__(self, index: tuple[slice | int, ...]) -> NDArray[np.uint8]:
        """Read the rectangle that holds the wanted pixels, then take them from it."""
        whole = (*index, *(slice(None),) * (3 - len(index)))
        rows, columns = (_Extent(part, size) for part, size in zip(whole[:2], self.shape, strict=False))
        if not (rows.length and columns.length):
            pixels = np.empty((rows.length, columns.length, 3), np.uint8)
        else:
            pixels = self._read(rows.first, columns.first, rows.length, columns.length)
        return pixels[rows.within, columns.within, whole[2]]

    def _read(self, y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
        """Read a rectangle; where that fails, block by block of storage, and hatch the blocks that are lost."""
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
    """Draw (h, w, 3) pixels of slanting grey stripes; those of neighbouring rectangles join."""
    dark, light, width = HATCHING
    stripes = (np.arange(y, y + h)[:, None] + np.arange(x, x + w)) // width % 2
    return np.repeat(np.where(stripes == 0, dark, light).astype(np.uint8)[..., None], 3, axis=2)


class _Extent:
    """What one part of an index needs: the first pixel and the number of them, and the index within those."""

    def __init__(self, part: slice | int, size: int) -> None:
        wanted = range(size)[part] if isinstance(part, slice) else range(size)[part : part + 1 or size]
        self.first = min(wanted, default=0)
        self.length = max(wanted, default=-1) + 1 - self.first
        self.within: slice | int = slice(None, None, wanted.step) if isinstance(part, slice) else 0


def _chunk(tile: int) -> int:
    """Group storage blocks to about `CHUNK` pixels; a block too large for a viewer is cut."""
    return CHUNK if tile > MAX_CHUNK else tile * max(1, CHUNK // tile)
