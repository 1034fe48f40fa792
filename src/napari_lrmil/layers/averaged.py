"""The levels that a slide's pyramid lacks: averaged chunk by chunk when they are looked at, and kept within a bound.

They are drawn, and nothing else: models read the slide itself.
"""

import math
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, product, takewhile
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from cachetools import Cache, cached
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_opening

from lrmil.slides.pyramid import HATCHING, hatched
from lrmil.steps import Step

if TYPE_CHECKING:
    import dask.array as da

MAX_STEP = 4  # between neighbouring levels: a viewer then draws at most 16 pixels for one on the screen
COARSE = 1024  # px; the longest side of the last level, all of which a viewer draws
KEPT_BYTES = 512 << 20  # of averaged chunks, for each open slide
THREADS = 4  # that make the quarters of a chunk
SURELY_HATCHED = 12  # px: a square of this side has both greys of the hatching, which no picture has by chance
READING_DEPTH = 2  # of averaged levels: there threads read the file, and average what they read
AVERAGED = "-averaged"  # the end of such a level's name

Key = tuple[int, str, int, int]  # depth, level, row and column of a chunk


def with_averaged_levels(levels: "Sequence[da.Array]") -> "list[da.Array]":
    """Return the levels of a slide, with averaged ones in wide gaps and below a large last one, all of them lazy.

    Parameters
    ----------
    levels
        (y, x, 3) uint8 arrays, full resolution first. Equal names mean equal content.
    """
    kept = _Kept(KEPT_BYTES)
    out: list[da.Array] = []
    for index, stored in enumerate(levels):
        coarser = max(levels[index + 1].shape[:2]) if index + 1 < len(levels) else None
        out.append(stored)
        finer: _StoredLevel | _AveragedLevel = _StoredLevel(stored)
        while _is_wide(max(finer.shape[:2]), coarser):
            finer = _AveragedLevel(finer, kept)
            out.append(finer.as_dask())
    return out


def first_look_steps(levels: "Sequence[da.Array]") -> Iterator[Step[None]]:
    """Make the averaged levels below the last stored one, which takes as long as reading that one.

    A viewer draws the whole slide first and would wait for this; here it can show how far it is. Parts that are kept
    are not made again.

    Parameters
    ----------
    levels
        As `with_averaged_levels` returned them.

    Yields
    ------
    Step
        For each part; none if there is little to read.
    """
    averaged = list(takewhile(lambda level: level.name.endswith(AVERAGED), reversed(levels)))
    coarse = averaged[: 1 - READING_DEPTH]

    def parts(place: int, row: int, column: int) -> Iterator[None]:
        if place + 1 < len(coarse):
            tall, wide, _ = coarse[place + 1].numblocks
            rows, columns = range(2 * row, min(2 * row + 2, tall)), range(2 * column, min(2 * column + 2, wide))
            for finer_row, finer_column in product(rows, columns):
                yield from parts(place + 1, finer_row, finer_column)
        coarse[place].blocks[row, column].compute(scheduler="synchronous")
        yield

    blocks = product(*map(range, coarse[0].numblocks[:2])) if coarse else ()
    total = sum(math.prod(level.numblocks) for level in coarse)
    for done, _ in enumerate(chain.from_iterable(parts(0, *block) for block in blocks), start=1):
        yield Step(("read the slide",), done, total, "parts")


def _is_wide(side: int, coarser: int | None) -> bool:
    """Return whether a level is missing after one with this longest side in px, given that of the next, if any."""
    return side > COARSE if coarser is None else side > MAX_STEP * 1.1 * coarser


class _Chunk(NamedTuple):
    """The (h, w, 3) pixels of a part of a level, and where they are hatched since nothing could be read."""

    pixels: NDArray[np.uint8]
    failed: NDArray[np.bool_] | None  # (h, w); None if all could be read


class _Kept(Cache[Key, _Chunk]):
    """Chunks within a bound; the finest go first, since they are made again soonest."""

    def __init__(self, most: int) -> None:
        super().__init__(most, lambda chunk: chunk.pixels.nbytes + (0 if chunk.failed is None else chunk.failed.nbytes))
        self.condition = threading.Condition()

    def __setitem__(self, key: Key, chunk: _Chunk) -> None:
        if self.currsize + self.getsizeof(chunk) > self.maxsize and all(other[0] > key[0] for other in self):
            raise ValueError("A coarser chunk would go.")  # `cached` then does not keep this one
        super().__setitem__(key, chunk)

    def popitem(self) -> tuple[Key, _Chunk]:
        finest = min(self, key=lambda key: key[0])
        return finest, self.pop(finest)


class _StoredLevel:
    """A level of the file, in chunks of an even side."""

    depth = 0

    def __init__(self, level: "da.Array") -> None:
        self.name: str = level.name
        self.shape: tuple[int, int, int] = level.shape
        tall, wide, _ = level.chunksize
        self.chunk_yx: tuple[int, int] = tall * (1 + tall % 2), wide * (1 + wide % 2)
        self._level = level

    def chunk(self, row: int, column: int) -> _Chunk:
        """Read a chunk, and tell which of its pixels are hatched."""
        (tall, wide), (dark, light, _) = self.chunk_yx, HATCHING
        part = self._level[row * tall : (row + 1) * tall, column * wide : (column + 1) * wide]
        pixels: NDArray[np.uint8] = part.compute(scheduler="synchronous")
        some = pixels[:: SURELY_HATCHED // 2, :: SURELY_HATCHED // 2]
        if not ((some == dark) | (some == light)).all(2).any():
            return _Chunk(pixels, None)
        same = (pixels == hatched(row * tall, column * wide, *pixels.shape[:2])).all(2)
        failed = binary_opening(same, np.ones((SURELY_HATCHED, SURELY_HATCHED), bool))
        return _Chunk(pixels, failed if failed.any() else None)


class _AveragedLevel:
    """A level that is not stored: each pixel is the mean of 2 x 2 of the next finer level."""

    def __init__(self, finer: "_StoredLevel | _AveragedLevel", kept: _Kept) -> None:
        self.depth: int = finer.depth + 1
        self.name: str = f"{finer.name}{AVERAGED}"
        self.shape: tuple[int, int, int] = (math.ceil(finer.shape[0] / 2), math.ceil(finer.shape[1] / 2), 3)
        self.chunk_yx: tuple[int, int] = finer.chunk_yx
        self._finer = finer
        # With the condition, a thread waits for a chunk that another thread is making.
        keep = cached(kept, key=lambda row, column: (self.depth, self.name, row, column), condition=kept.condition)
        self.chunk = keep(self._average)

    def as_dask(self) -> "da.Array":
        """Return it as a lazy (y, x, 3) array."""
        import dask.array as da

        def pixels(block_id: tuple[int, ...]) -> NDArray[np.uint8]:
            return self.chunk(block_id[0], block_id[1]).pixels

        chunks = da.core.normalize_chunks((*self.chunk_yx, 3), self.shape)
        return da.map_blocks(pixels, chunks=chunks, dtype=np.uint8, name=self.name, meta=np.empty((0, 0, 0), np.uint8))

    def _average(self, row: int, column: int) -> _Chunk:
        """Make a chunk from the chunks of the finer level that it covers, up to 2 x 2."""
        tall, wide = self.chunk_yx
        corner = row * tall, column * wide
        size = min(tall, self.shape[0] - corner[0]), min(wide, self.shape[1] - corner[1])
        pixels, failed = np.empty((*size, 3), np.uint8), np.zeros(size, bool)

        def fill(y: int, x: int) -> None:
            finer = self._finer.chunk(2 * row + y // (tall // 2), 2 * column + x // (wide // 2))
            quarter = slice(y, y + tall // 2), slice(x, x + wide // 2)
            pixels[quarter] = np.asarray(Image.fromarray(finer.pixels).reduce(2))
            if finer.failed is not None:
                failed[quarter] = _any_of_four(finer.failed)

        quarters = list(product(range(0, size[0], tall // 2), range(0, size[1], wide // 2)))
        if self.depth == READING_DEPTH:
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(fill, *zip(*quarters, strict=True)))
        else:
            for quarter in quarters:
                fill(*quarter)
        if not failed.any():
            return _Chunk(pixels, None)
        return _Chunk(np.where(failed[..., None], hatched(*corner, *size), pixels), failed)


def _any_of_four(failed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    padded = np.pad(failed, [(0, side % 2) for side in failed.shape])
    return padded[::2, ::2] | padded[1::2, ::2] | padded[::2, 1::2] | padded[1::2, 1::2]
