"""What a DICOM file says of itself before its pixels: which series it belongs to, and what kind of image it holds.

Only a few short values are wanted, of every file in a folder, whatever that file is. So the elements are walked here
(DICOM PS3.5 chapter 7), within bounds and without a word of theirs in any warning, and the rest is left to OpenSlide.
"""

import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lrmil.errors import printable

PREAMBLE, MAGIC = 128, b"DICM"  # PS3.10 chapter 7.1
WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"  # VL Whole Slide Microscopy Image Storage, PS3.4 annex B.5
DIRECTORY = "1.2.840.10008.1.3.10"  # of a medium, PS3.10 chapter 8: no image
IMPLICIT = "1.2.840.10008.1.2"
STORAGE_CLASS, TRANSFER_SYNTAX = 0x00020002, 0x00020010
IMAGE_TYPE, MODALITY, SERIES = 0x00080008, 0x00080060, 0x0020000E
WANTED = {STORAGE_CLASS, TRANSFER_SYNTAX, IMAGE_TYPE, MODALITY, SERIES}
LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}  # 32-bit length
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF
MAX_ELEMENTS = 10_000  # walked in one file
MAX_VALUE = 1024  # bytes
MAX_DEPTH = 16  # of sequences within sequences


class DicomHead(NamedTuple):
    """The values by which files of one slide are found; all are empty where a file says nothing that can be read."""

    storage_class: str = ""
    series: str = ""
    """UID of the series."""
    image_type: tuple[str, ...] = ()
    """Such as ORIGINAL, PRIMARY, VOLUME, NONE: the third says whether it is the scan, its label or an overview."""
    modality: str = ""
    """Such as SM or CT."""

    @property
    def is_whole_slide(self) -> bool:
        """Whether the file belongs to a whole-slide image: a level, or the label, overview or thumbnail."""
        return self.storage_class == WHOLE_SLIDE

    @property
    def is_volume(self) -> bool:
        """Whether the file holds a level of a scan, as OpenSlide sees it; not a label, an overview or a thumbnail."""
        return self.is_whole_slide and self.image_type[2:3] == ("VOLUME",)


def is_dicom(file: Path) -> bool:
    """Tell by its bytes whether a file is DICOM, whatever its name; False where it cannot be read."""
    return file.is_file() and head_of(file) is not None  # a pipe is not waited for


def head_of(file: Path) -> DicomHead | None:
    """Read what a file says of itself; None when it is not DICOM or cannot be read at all."""
    try:
        with file.open("rb") as stream:
            if stream.read(PREAMBLE + len(MAGIC))[PREAMBLE:] != MAGIC:
                return None
            values = _Walk(stream).values
    except OSError:
        return None  # opening it says why
    image_type = _text(values.get(IMAGE_TYPE, b""))
    return DicomHead(
        _text(values.get(STORAGE_CLASS, b"")),
        _text(values.get(SERIES, b"")),
        tuple(part.strip() for part in image_type.split("\\")) if image_type else (),
        _text(values.get(MODALITY, b"")),
    )


class _Walk:
    """Goes through the elements of a file up to its series UID, from one to the next by their lengths."""

    def __init__(self, stream: BinaryIO) -> None:
        self.values: dict[int, bytes] = {}
        self._stream = stream
        self._left = MAX_ELEMENTS
        with suppress(struct.error, ValueError, OverflowError):  # damaged from there on: what comes before counts
            self._collect()

    def _collect(self) -> None:
        implicit, last = False, 0
        while last < SERIES:
            position = self._stream.tell()
            group = int.from_bytes(self._stream.read(2), "little")
            self._stream.seek(position)
            if last < 0x00030000 <= group << 16:  # the elements on the file end, those of the image begin
                implicit = _text(self.values.get(TRANSFER_SYNTAX, b"")) == IMPLICIT
            tag, vr, length = self._element(implicit=implicit)
            if not last < tag <= SERIES:  # they are sorted
                return
            last = tag
            if length == UNDEFINED:
                self._skip_sequence(implicit=implicit or vr == b"UN", depth=0)
            elif tag in WANTED and length <= MAX_VALUE:
                self.values[tag] = self._stream.read(length)
            else:
                self._stream.seek(length, os.SEEK_CUR)

    def _element(self, *, implicit: bool) -> tuple[int, bytes, int]:
        self._left -= 1
        if self._left < 0:
            raise ValueError("Expected fewer elements.")
        start = self._stream.read(8)
        group, number, vr, length = struct.unpack("<HH2sH", start)
        tag = group << 16 | number
        if implicit or group == 0xFFFE:  # an item, or the end of one
            return tag, b"", int.from_bytes(start[4:], "little")
        if not vr.isalpha() or not vr.isupper():
            raise ValueError("Expected two letters that say what kind of value follows.")
        if vr in LONG:
            (length,) = struct.unpack("<L", self._stream.read(4))
        return tag, vr, length

    def _skip_sequence(self, *, implicit: bool, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise ValueError("Expected sequences of a smaller depth.")
        while True:
            tag, _, length = self._element(implicit=True)
            if tag == SEQUENCE_END:
                return
            if tag != ITEM:
                raise ValueError("Expected an item of a sequence.")
            if length != UNDEFINED:
                self._stream.seek(length, os.SEEK_CUR)
                continue
            while True:
                tag, vr, length = self._element(implicit=implicit)
                if tag == ITEM_END:
                    break
                if length == UNDEFINED:
                    self._skip_sequence(implicit=implicit or vr == b"UN", depth=depth + 1)
                else:
                    self._stream.seek(length, os.SEEK_CUR)


def _text(value: bytes) -> str:
    return printable(value.decode("ascii", errors="replace").strip(" \0"))
