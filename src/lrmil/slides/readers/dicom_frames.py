"""Locate the frames (tiles) of a DICOM slide in its files, to find missing bytes that OpenSlide's decoders hide.

Only the values needed for that are read, and they are used only if the number of frames is right. Otherwise OpenSlide
alone reads the file. Tags: DICOM PS3.3 C.8.12 (whole-slide images), PS3.5 A.4 (encapsulated frames).
"""

import math
import re
import threading
from collections.abc import Collection
from itertools import product
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lrmil.slides.dicom_series import levels_of
from lrmil.slides.readers.missing_bytes import END_OF_JPEG, MISSING_BYTES, ends_in_zeros, has_missing_compressed_bytes
from lrmil.slides.readers.protocol import unreadable

HEAD = 1 << 16  # bytes that contain the values common to all frames
HEADS = (1 << 20, 64 << 20)  # bytes within which the frames begin: the values of each frame may be long
MAX_FRAMES = 1 << 22
COLUMNS, ROWS = b"\x48\x00\x06\x00UL\x04\x00", b"\x48\x00\x07\x00UL\x04\x00"  # of the whole image
FOCAL_PLANES = b"\x48\x00\x03\x03UL\x04\x00"
SPACING = re.compile(rb"\x28\x00\x30\x00DS..([0-9.eE+-]+)\\([0-9.eE+-]+)[ \0]?", re.DOTALL)  # PixelSpacing: y, x
TILE_ROWS, TILE_COLUMNS = b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x11\x00US\x02\x00"
ROW_BY_ROW = b"\x20\x00\x11\x93CS\x0a\x00TILED_FULL"
ENCAPSULATED = b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff"
ITEM = b"\xfe\xff\x00\xe0"
JPEG = b"\xff\xd8\xff"


class LevelFrames(NamedTuple):
    """The frames of one level in one file, row by row."""

    file: Path
    tile: tuple[int, int]
    """(height, width) of a frame in pixels."""
    columns: int
    """Number of frames in a row."""
    spans: tuple[tuple[int, int], ...]
    """Offset and length in bytes of each frame."""


class DicomFrames:
    """The frames of one DICOM slide, located when a level is first read; safe in several threads.

    Parameters
    ----------
    path
        One of the slide's files; the others are in the same folder and series.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._levels: dict[tuple[int, int], LevelFrames | None] = {}
        self._intact: dict[tuple[int, int], set[int]] = {}

    def require_whole_frames(self, shape: tuple[int, int], y: int, x: int, h: int, w: int) -> None:
        """Require that no frame under a rectangle of a level has missing bytes.

        Parameters
        ----------
        shape
            (height, width) of the level in pixels.
        y, x, h, w
            Corner and size of the rectangle in pixels of the level.

        Raises
        ------
        SlideError
            If one has; the message names the frame.
        """
        with self._lock:
            if shape not in self._levels:
                self._levels[shape], self._intact[shape] = _level_of(self._path, shape), set()
            level, intact = self._levels[shape], self._intact[shape]
        if level is None:
            return
        rows = range(y // level.tile[0], (y + h - 1) // level.tile[0] + 1)
        columns = range(x // level.tile[1], (x + w - 1) // level.tile[1] + 1)
        touched = [row * level.columns + column for row, column in product(rows, columns)]
        with level.file.open("rb") as file:
            for number in touched:
                if number in intact:
                    continue
                if problem := _find_damage(_bytes_at(file, *level.spans[number]), level.tile):
                    raise unreadable(level.file, f"frame {number} {problem}")
                intact.add(number)

    def file_of(self, shape: tuple[int, int]) -> Path | None:
        """Return the file of the level with this (height, width); None if it is not known or not unique."""
        try:
            file, _ = _file_of(self._path, shape)
        except OSError:
            return None
        return file


def sides_of(head: bytes) -> tuple[int, int] | None:
    """Return (height, width) of the whole image in the first bytes of a DICOM file; None if there is none."""
    height, width = _number(head, ROWS, 4), _number(head, COLUMNS, 4)
    return (height, width) if head[128:132] == b"DICM" and height is not None and width is not None else None


def focal_planes_of(head: bytes) -> int:
    """Return the number of focal planes in the first bytes of a DICOM file; 1 if there is none."""
    return (_number(head, FOCAL_PLANES, 4) or 1) if head[128:132] == b"DICM" else 1


def pixel_spacings(path: Path, shapes: Collection[tuple[int, int]]) -> dict[tuple[int, int], tuple[float, float]]:
    """Return the PixelSpacing of the levels of a slide.

    Parameters
    ----------
    path
        One of the slide's files; the others are in the same folder and series.
    shapes
        (height, width) of the levels in pixels.

    Returns
    -------
    dict
        (y, x) in mm, by the shape of the level; without levels that have none, or share their shape with another.
    """
    found = dict[tuple[int, int], tuple[float, float]]()
    try:
        for part, head in _heads_of_levels(path).items():
            sides = sides_of(head)
            spacing = _spacing_of(part) if sides in shapes else None
            if sides is not None and spacing is not None and found.setdefault(sides, spacing) != spacing:
                found[sides] = (math.nan, math.nan)  # two levels of the same size
    except OSError:
        return {}  # OpenSlide reports the reason
    return {sides: spacing for sides, spacing in found.items() if all(map(math.isfinite, spacing))}


def _spacing_of(file: Path) -> tuple[float, float] | None:
    with file.open("rb") as stream:
        stated = SPACING.search(_bytes_at(stream, 0, HEADS[0]))
    try:
        y, x = (float(stated[1]), float(stated[2])) if stated else (0.0, 0.0)
    except ValueError:
        return None
    return (y, x) if y > 0 and x > 0 else None


def _heads_of_levels(path: Path) -> dict[Path, bytes]:
    """Return the first bytes of each file of the scan."""
    return {part: _head(part) for part in levels_of(path)}


def _level_of(path: Path, shape: tuple[int, int]) -> LevelFrames | None:
    """Return the frames of a level; None if its file is not unique, or cannot be parsed."""
    try:
        file, head = _file_of(path, shape)
        return _frames(file, head, shape) if file else None
    except OSError:
        return None  # OpenSlide reports the reason


def _file_of(path: Path, shape: tuple[int, int]) -> tuple[Path | None, bytes]:
    """Return the file of a level, and its first bytes; None if it is not unique."""
    heads = _heads_of_levels(path)
    files = [part for part, head in heads.items() if sides_of(head) == shape]
    file = path if path in files else files[0] if len(files) == 1 else None
    return file, heads[file] if file else b""


def _frames(file: Path, head: bytes, shape: tuple[int, int]) -> LevelFrames | None:
    height, width = _number(head, TILE_ROWS, 2), _number(head, TILE_COLUMNS, 2)
    if not height or not width or ROW_BY_ROW not in head:
        return None
    rows, columns = math.ceil(shape[0] / height), math.ceil(shape[1] / width)
    if rows * columns > MAX_FRAMES:
        return None
    spans = _spans(file, rows * columns)
    return LevelFrames(file, (height, width), columns, spans) if len(spans) == rows * columns else None


def _spans(file: Path, count: int) -> tuple[tuple[int, int], ...]:
    """Return offset and length of each fragment, one per frame; the first item is a table of offsets."""
    size, found = file.stat().st_size, list[tuple[int, int]]()
    with file.open("rb") as stream:
        begin = next((at for many in HEADS if (at := _bytes_at(stream, 0, many).find(ENCAPSULATED)) >= 0), -1)
        position = begin + len(ENCAPSULATED)
        while begin >= 0 and len(found) <= count + 1:
            item = _bytes_at(stream, position, 8)
            length = int.from_bytes(item[4:], "little")
            if item[:4] != ITEM or position + 8 + length > size:
                break
            found.append((position + 8, length))
            position += 8 + length
    return tuple(found[1:])


def _find_damage(data: bytes, tile: tuple[int, int]) -> str:
    """Return the damage in the bytes of a frame that decoders would hide; "" if there is none."""
    is_jpeg = data.startswith(JPEG)
    if is_jpeg and END_OF_JPEG not in data:
        return "is an incomplete JPEG"
    if has_missing_compressed_bytes(data, tile[0] * tile[1]) or (not is_jpeg and ends_in_zeros(data)):
        return MISSING_BYTES
    return ""


def _head(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(HEAD)


def _bytes_at(stream: BinaryIO, offset: int, count: int) -> bytes:
    stream.seek(offset)
    return stream.read(count)


def _number(head: bytes, tag: bytes, size: int) -> int | None:
    position = head.find(tag)
    return int.from_bytes(head[position + len(tag) : position + len(tag) + size], "little") if position >= 0 else None
