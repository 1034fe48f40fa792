"""Read TIFF pyramids: decode only the segments (tiles or strips) that a rectangle needs, in any thread."""

import logging
import os
import sys
import threading
import weakref
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from cachetools import LRUCache, cached
from numpy.typing import NDArray

from lrmil.errors import SlideError
from lrmil.slides.readers.alignment import align
from lrmil.slides.readers.missing_bytes import (
    MIN_MISSING_BYTES,
    MISSING_BYTES,
    WEBP_PIXELS_A_BYTE,
    ends_in_zeros,
    has_missing_bytes,
    has_missing_compressed_bytes,
    has_missing_webp_end,
    may_touch_missing_bytes,
    touches_missing_bytes,
)
from lrmil.slides.readers.protocol import Level, require_inside, unreadable
from lrmil.slides.readers.tiff_pages import UNCOMPRESSED, LevelPage, parse_pyramid

CACHE_BYTES = 32 << 20
BACKGROUND = 255  # value of segments that a writer did not store: white
CHECKED = (8, 32946, 34925, 50013)  # Compression: deflate and LZMA, whose decoders verify a checksum
WEBP = 50001
MAX_SEGMENT_BYTES = 512 << 20
MAX_REMEMBERED = 1 << 16  # damaged segments kept in memory
UNDECODABLE = (ValueError, TypeError, RuntimeError, IndexError, OSError)  # imagecodecs raises RuntimeError

logger = logging.getLogger(__name__)


class TiffReader:
    """A TIFF, SVS, OME-TIFF or NDPI slide; see `lrmil.slides.readers.protocol.Reader`.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    NeedsOpenSlide
        If OpenSlide is the right reader for this TIFF.
    SlideError
        If the file is not a TIFF, is truncated, or its largest image is not 8-bit RGB.
    """

    name = "tifffile"
    origin_yx = (0, 0)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes_read = 0
        self._lock = threading.Lock()
        self._pages, unmarked, self.mpp_candidates, self.objective_power, self.scanner, self.notes = parse_pyramid(path)
        self._size = path.stat().st_size
        self._require_whole_level()
        self.levels = tuple(Level(page.shape, 1.0, page.tile) for page in self._pages)
        self._blank = [_not_stored(page) for page in self._pages]
        self._missing = [_missing(page, self._size) for page in self._pages]
        self._damaged: dict[tuple[int, int], str] = {}
        # With the condition, a thread waits for a segment that another thread is decoding.
        self._cache: LRUCache[tuple[object, ...], NDArray[np.uint8]] = LRUCache(CACHE_BYTES, lambda array: array.nbytes)
        self._segment = cached(self._cache, condition=threading.Condition())(self._decode)
        self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        # A viewer drops the arrays of a slide without closing it: the file is closed with the last of them.
        self._close_file = weakref.finalize(self, os.close, self._fd)
        try:
            self._align(unmarked)
            self._read_sample()
        except SlideError:
            self.close()
            raise

    @property
    def bytes_read(self) -> int | None:
        """Compressed bytes read from the file so far."""
        return self._bytes_read

    def read(self, level: int, y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
        """Read an (h, w, 3) rectangle of a level; see `lrmil.slides.readers.protocol.Reader.read`."""
        require_inside(self.levels, level, y, x, h, w)
        page = self._pages[level]
        if page.contiguous:
            return self._read_rows(level, y, x, h, w)
        out = np.empty((h, w, 3), np.uint8)
        rows = range(y // page.tile[0], (y + h - 1) // page.tile[0] + 1)
        columns = range(x // page.tile[1], (x + w - 1) // page.tile[1] + 1)
        cells = list(product(rows, columns))
        for row, column in cells:  # before decoding any of them
            self._require_intact(level, row * page.columns + column)
        for row, column in cells:
            index = row * page.columns + column
            top, left = row * page.tile[0], column * page.tile[1]
            y0, y1 = max(y, top), min(y + h, top + page.tile[0])
            x0, x1 = max(x, left), min(x + w, left + page.tile[1])
            part = out[y0 - y : y1 - y, x0 - x : x1 - x]
            if self._blank[level][index]:
                part[:] = BACKGROUND
            else:
                part[:] = self._segment(level, index)[y0 - top : y1 - top, x0 - left : x1 - left]
        return out

    def close(self) -> None:
        """Close the file and free the decoded segments."""
        self._close_file()
        self._fd = -1  # the system may reuse the number for another file
        self._segment.cache_clear()

    def _align(self, unmarked: Sequence[int]) -> None:
        """Keep only the levels that are aligned with the first one."""
        aligned = align(self, unmarked=unmarked)
        self._pages = [self._pages[position] for position in aligned.kept]
        self._missing = [self._missing[position] for position in aligned.kept]
        self._blank = [self._blank[position] for position in aligned.kept]
        self.levels, self.notes = aligned.levels, (*self.notes, *aligned.notes, *_blank_note(self._blank))
        self._damaged.clear()  # its keys are indices of levels, as those of the cache
        self._segment.cache_clear()

    def _read_rows(self, level: int, y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
        """Read uncompressed rows without a memory map: a mapped file that shrinks would kill the process."""
        page, read = self._pages[level], []
        first, last = page.offsets[0], page.offsets[0] + page.shape[0] * page.row_bytes
        pieces = [(y, h * w * 3)] if w == page.shape[1] else [(row, w * 3) for row in range(y, y + h)]
        for row, count in pieces:
            start, where = first + row * page.row_bytes + x * 3, f"row {row} of level {level}"
            read.append(self._fetch(start, count, where))
            if may_touch_missing_bytes(read[-1]) and self._lies_in_missing_bytes(start, count, first, last):
                raise unreadable(self._path, f"{where} {MISSING_BYTES}")
        return np.frombuffer(b"".join(read), np.uint8).reshape(h, w, 3).copy()

    def _lies_in_missing_bytes(self, start: int, count: int, first: int, last: int) -> bool:
        """Return whether uncompressed bytes belong to a run of missing bytes that may extend beyond them."""
        near, end = max(first, start - MIN_MISSING_BYTES + 1), min(last, start + count + MIN_MISSING_BYTES - 1)
        return touches_missing_bytes(self._fetch(near, end - near, "a gap", shorter=True))

    def _decode(self, level: int, index: int) -> NDArray[np.uint8]:
        """Decode one segment; no lock is held, so several threads may decode at the same time."""
        self._require_intact(level, index)
        page = self._pages[level]
        if page.segment_bytes > MAX_SEGMENT_BYTES:
            raise SlideError(
                f"Expected tiles or small strips in {self._path}. Level {level} has compressed blocks of "
                f"{page.segment_bytes >> 20} MiB. Convert it to a tiled pyramid, for example with bfconvert or vips."
            )
        data = self._fetch(page.offsets[index], page.counts[index], _name(level, index))
        problem, decoded = _find_damage(page, data), None
        if not problem:
            try:
                decoded = page.decode(data, index)
            except MemoryError as error:  # not remembered: there may be enough memory later
                raise unreadable(self._path, f"there is not enough memory to decode {_name(level, index)}") from error
            except UNDECODABLE as error:
                problem = f"cannot be decoded ({error})"
        problem = problem or _find_mismatch(page, index, data, decoded) or self._find_torn_edge(page, index, data)
        if problem:
            if len(self._damaged) < MAX_REMEMBERED:
                self._damaged[level, index] = problem
            raise unreadable(self._path, f"{_name(level, index)} {problem}")
        return np.asarray(decoded)

    def _find_torn_edge(self, page: LevelPage, index: int, data: bytes) -> str:
        """Return `MISSING_BYTES` if a run of missing bytes extends into a neighbouring segment, else ""."""
        plain = page.compression == UNCOMPRESSED and page.inside(index) == page.tile
        torn = (
            plain
            and may_touch_missing_bytes(data)
            and self._lies_in_missing_bytes(page.offsets[index], len(data), 0, self._size)
        )
        return MISSING_BYTES if torn else ""

    def _require_intact(self, level: int, index: int) -> None:
        """Require that the file contains a segment, and that it was not found damaged before."""
        problem = self._damaged.get((level, index))
        if self._missing[level][index] and not self._blank[level][index]:
            page = self._pages[level]
            empty = page.offsets[index] <= 0 or page.counts[index] <= 0
            problem = "is empty" if empty else "lies beyond the end of the file"
        if problem:
            raise unreadable(self._path, f"{_name(level, index)} {problem}")

    def _fetch(self, offset: int, count: int, where: str, *, shorter: bool = False) -> bytes:
        """Read bytes of the file; with `shorter` fewer are accepted, and they do not count as read."""
        try:
            if sys.platform == "win32":
                with self._lock:
                    os.lseek(self._fd, offset, os.SEEK_SET)
                    data = os.read(self._fd, count)
            else:
                data = os.pread(self._fd, count, offset)
        except OSError as error:
            raise unreadable(self._path, f"{where}: {error}") from error
        if shorter:
            return data
        with self._lock:
            self._bytes_read += len(data)
        if len(data) < count:
            raise unreadable(self._path, f"{where} lies beyond the end of the file")
        return data

    def _require_whole_level(self) -> None:
        """Require a level that is not truncated: one intact level makes a slide usable."""
        beyond = [sum(o + c > self._size for o, c in zip(p.offsets, p.counts, strict=True)) for p in self._pages]
        for level, missing in enumerate(beyond):
            if missing:
                total = len(self._pages[level].offsets)
                logger.warning(
                    "%s: %d of %d segments of level %d lie beyond its end", self._path, missing, total, level
                )
        if all(beyond):
            raise unreadable(self._path, f"the file is truncated after {self._size} bytes, inside every level")

    def _read_sample(self) -> None:
        """Decode one segment, so that opening a file without any readable segment fails."""
        problem: SlideError | None = None
        for level in reversed(range(len(self._pages))):
            if self._pages[level].contiguous:
                return
            stored = np.flatnonzero(~self._blank[level]).tolist()
            for index in sorted({stored[0], stored[len(stored) // 2], stored[-1]}):
                try:
                    self._segment(level, index)
                except SlideError as error:
                    problem = problem or error
                else:
                    return
        if problem is not None:
            raise problem


def _name(level: int, index: int) -> str:
    return f"segment {index} of level {level}"


def _missing(page: LevelPage, size: int) -> NDArray[np.bool_]:
    """Return a mask of the segments that the file does not contain."""
    offsets, counts = np.array(page.offsets, float), np.array(page.counts, float)
    return np.asarray((offsets <= 0) | (counts <= 0) | (offsets + counts > size))


def _not_stored(page: LevelPage) -> NDArray[np.bool_]:
    """Return a mask of the segments that a writer did not store: their offset and byte count are both 0.

    An incomplete copy usually leaves one of the two, since their tables are in different parts of the file. If no
    segment of a level has both, the mask is empty: missing bytes in both tables would look the same.
    """
    offsets, counts = np.array(page.offsets), np.array(page.counts)
    blank = (offsets == 0) & (counts == 0)
    return np.asarray(blank if ((offsets > 0) & (counts > 0)).any() else np.zeros_like(blank))


def _blank_note(blank: list[NDArray[np.bool_]]) -> tuple[str, ...]:
    parts = [f"{one.sum()} of {one.size} of level {level}" for level, one in enumerate(blank) if one.any()]
    return (f"Tiles that the file does not store are read as white background: {', '.join(parts)}.",) if parts else ()


def _find_damage(page: LevelPage, data: bytes) -> str:
    """Return the damage in the bytes of a segment that decoders would hide; "" if there is none."""
    if page.compression == UNCOMPRESSED or page.compression in CHECKED:
        return ""
    if page.ends_in_eoi and b"\xff\xd9" not in data:  # libjpeg would fill the missing part with grey
        return "is an incomplete JPEG"
    area = page.tile[0] * page.tile[1]
    if page.compression == WEBP:  # a missing end is found after decoding
        return MISSING_BYTES if has_missing_compressed_bytes(data, area, pixels_a_byte=WEBP_PIXELS_A_BYTE) else ""
    return (
        MISSING_BYTES if has_missing_compressed_bytes(data, area) or (not page.is_jpeg and ends_in_zeros(data)) else ""
    )


def _find_mismatch(page: LevelPage, index: int, data: bytes, decoded: NDArray[np.uint8] | None) -> str:
    """Return why decoded pixels cannot be those of the segment; "" if they can."""
    height, width = page.inside(index)
    if (
        decoded is None
        or decoded.dtype != np.uint8
        or decoded.ndim != 3
        or decoded.shape[2] != 3
        or decoded.shape[0] < height
        or decoded.shape[1] < width
    ):
        return "does not have the size that its level states"
    if page.compression == UNCOMPRESSED:
        return MISSING_BYTES if has_missing_bytes(data, decoded[:height, :width]) else ""
    return MISSING_BYTES if page.compression == WEBP and has_missing_webp_end(data, decoded) else ""
