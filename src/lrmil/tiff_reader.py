"""Read TIFF pyramids by decoding only the segments (tiles or strips) that a rectangle needs, in any thread."""

import logging
import os
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
from cachetools import LRUCache, cached
from numpy.typing import NDArray

from lrmil.errors import SlideError
from lrmil.reader import check_inside, make_levels, unreadable
from lrmil.tiff_pages import LevelPage, parse_pyramid

CACHE_BYTES = 32 << 20
MAX_SEGMENT_BYTES = 512 << 20
UNDECODABLE = (ValueError, TypeError, RuntimeError, IndexError, OSError, MemoryError)  # imagecodecs: RuntimeError

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # its remarks go to the application's log, not stderr
logger = logging.getLogger(__name__)


class TiffReader:
    """A TIFF, SVS, OME-TIFF or NDPI slide; see `lrmil.reader.Reader`.

    Raises
    ------
    NeedsOpenSlide
        If OpenSlide is the right reader for this TIFF.
    SlideError
        If the file is not a TIFF, is truncated, or its largest image is not 8-bit RGB.
    """

    name = "tifffile"
    origin_yx = (0, 0)
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes_read = 0
        self._lock = threading.Lock()
        self._pages, self.mpp_candidates, self.objective_power = parse_pyramid(path)
        self._size = path.stat().st_size
        self._refuse_truncated()
        self.levels = make_levels([page.shape for page in self._pages], [page.tile for page in self._pages])
        self._maps = [_memory_map(path, page, self._size) for page in self._pages]
        # The condition makes a thread that asks for a segment in the making wait for it; others decode meanwhile.
        self._cache: LRUCache[tuple[object, ...], NDArray[np.uint8]] = LRUCache(CACHE_BYTES, lambda array: array.nbytes)
        self._segment = cached(self._cache, condition=threading.Condition())(self._decode)
        self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        # A viewer drops a slide's arrays without a word: the file is let go of with the last of them.
        self._let_go = weakref.finalize(self, os.close, self._fd)
        try:
            self._read_sample()
        except SlideError:
            self.close()
            raise

    @property
    def bytes_read(self) -> int | None:
        """Compressed bytes taken from the file so far."""
        return self._bytes_read

    def read(self, level: int, y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
        """Read an (h, w, 3) rectangle of a level; see `lrmil.reader.Reader.read`."""
        check_inside(self.levels, level, y, x, h, w)
        if (mapped := self._maps[level]) is not None:
            self._count(h * w * 3)
            return np.array(mapped[y : y + h, x : x + w])
        page, out = self._pages[level], np.empty((h, w, 3), np.uint8)
        for row in range(y // page.tile[0], (y + h - 1) // page.tile[0] + 1):
            for column in range(x // page.tile[1], (x + w - 1) // page.tile[1] + 1):
                segment = self._segment(level, row * page.columns + column)
                top, left = row * page.tile[0], column * page.tile[1]
                y0, y1 = max(y, top), min(y + h, top + page.tile[0])
                x0, x1 = max(x, left), min(x + w, left + page.tile[1])
                out[y0 - y : y1 - y, x0 - x : x1 - x] = segment[y0 - top : y1 - top, x0 - left : x1 - left]
        return out

    def close(self) -> None:
        """Let go of the file and of the decoded segments."""
        self._let_go()
        self._fd = -1  # never a number that the system may give to another file
        self._maps = [None] * len(self._maps)
        self._segment.cache_clear()

    def _decode(self, level: int, index: int) -> NDArray[np.uint8]:
        """Decode one segment; several threads may do so at once, since no lock is held."""
        page, where = self._pages[level], f"segment {index} of level {level}"
        if page.segment_bytes > MAX_SEGMENT_BYTES:
            raise SlideError(
                f"Expected tiles or small strips in {self._path}; level {level} is one compressed block of "
                f"{page.segment_bytes >> 20} MiB. Convert it to a tiled pyramid, for example with bfconvert or vips."
            )
        offset, count = page.offsets[index], page.counts[index]
        if offset <= 0 or count <= 0:
            raise unreadable(self._path, f"{where} is empty")
        data = self._fetch(offset, count)
        if len(data) < count:
            raise unreadable(self._path, f"{where} lies beyond the end of the file")
        if page.ends_in_eoi and b"\xff\xd9" not in data:  # libjpeg would paint the missing part grey
            raise unreadable(self._path, f"{where} is an incomplete JPEG")
        try:
            decoded = page.decode(data, index)
        except UNDECODABLE as error:
            raise unreadable(self._path, f"{where} cannot be decoded ({error})") from error
        if decoded is None or decoded.ndim != 3 or decoded.shape[2] != 3 or not page.fills(index, decoded.shape):
            raise unreadable(self._path, f"{where} does not have the size that its level states")
        return decoded

    def _fetch(self, offset: int, count: int) -> bytes:
        try:
            if sys.platform == "win32":
                with self._lock:
                    os.lseek(self._fd, offset, os.SEEK_SET)
                    data = os.read(self._fd, count)
            else:
                data = os.pread(self._fd, count, offset)
        except OSError as error:
            raise unreadable(self._path, f"the system says: {error}") from error
        self._count(len(data))
        return data

    def _count(self, count: int) -> None:
        with self._lock:
            self._bytes_read += count

    def _refuse_truncated(self) -> None:
        """Refuse a file of which every level is cut off; a slide with an intact level is still of use."""
        beyond = [sum(o + c > self._size for o, c in zip(p.offsets, p.counts, strict=True)) for p in self._pages]
        for level, missing in enumerate(beyond):
            if missing:
                total = len(self._pages[level].offsets)
                logger.warning(
                    "%s: %d of %d segments of level %d lie beyond its end", self._path, missing, total, level
                )
        if all(beyond):
            raise unreadable(self._path, f"it is truncated: it ends after {self._size} bytes, within every level")

    def _read_sample(self) -> None:
        """Decode one segment, so that a file of which nothing can be read fails when it is opened."""
        problem: SlideError | None = None
        for level in reversed(range(len(self._pages))):
            if self._maps[level] is not None:
                return
            last = len(self._pages[level].offsets) - 1
            for index in sorted({0, last // 2, last}):
                try:
                    self._segment(level, index)
                except SlideError as error:
                    problem = problem or error
                else:
                    return
        if problem is not None:
            raise problem


def _memory_map(path: Path, page: LevelPage, size: int) -> NDArray[np.uint8] | None:
    offset = page.offsets[0]
    if not page.mappable or offset + page.shape[0] * page.shape[1] * 3 > size:
        return None
    return np.memmap(path, np.uint8, mode="r", offset=offset, shape=(*page.shape, 3))
