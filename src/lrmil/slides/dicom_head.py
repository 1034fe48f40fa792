"""Read the start of a DICOM file: which series it belongs to, and what kind of image it holds.

A few short values are needed of every file in a folder, whatever its kind. So the elements are read here one by one
(DICOM PS3.5 chapter 7), within limits and without quoting them in any warning. OpenSlide reads everything else.
"""

import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lrmil.errors import printable

PREAMBLE, MAGIC = 128, b"DICM"  # PS3.10 chapter 7.1
WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"  # VL Whole Slide Microscopy Image Storage, PS3.4 annex B.5
DIRECTORY = "1.2.840.10008.1.3.10"  # the index of a medium, PS3.10 chapter 8; not an image
IMPLICIT = "1.2.840.10008.1.2"
STORAGE_CLASS, TRANSFER_SYNTAX = 0x00020002, 0x00020010
IMAGE_TYPE, MODALITY, SERIES = 0x00080008, 0x00080060, 0x0020000E
WANTED = {STORAGE_CLASS, TRANSFER_SYNTAX, IMAGE_TYPE, MODALITY, SERIES}
LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}  # 32-bit length
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
UNDEFINED = 0xFFFFFFFF
MAX_ELEMENTS = 10_000  # read in one file
MAX_VALUE = 1024  # bytes
MAX_DEPTH = 16  # nested sequences


class DicomHead(NamedTuple):
    """The values that identify the files of one slide; a value that cannot be read is empty."""

    storage_class: str = ""
    series: str = ""
    """UID of the series."""
    image_type: tuple[str, ...] = ()
    """Such as ORIGINAL, PRIMARY, VOLUME, NONE; the third value tells a scan from a label or an overview."""
    modality: str = ""
    """Such as SM or CT."""

    @property
    def is_whole_slide(self) -> bool:
        """Whether the file is part of a whole-slide image: a level, label, overview or thumbnail."""
        return self.storage_class == WHOLE_SLIDE

    @property
    def is_volume(self) -> bool:
        """Whether the file is a level of a scan, by the rule of OpenSlide."""
        return self.is_whole_slide and self.image_type[2:3] == ("VOLUME",)


def is_dicom(file: Path) -> bool:
    """Return whether a file is DICOM by its content, whatever its name; False if it cannot be read."""
    return file.is_file() and head_of(file) is not None  # is_file: never waits for a pipe


def head_of(file: Path) -> DicomHead | None:
    """Read the identifying values of a file; None if it is not DICOM or cannot be read."""
    try:
        with file.open("rb") as stream:
            if stream.read(PREAMBLE + len(MAGIC))[PREAMBLE:] != MAGIC:
                return None
            values = _Walk(stream).values
    except OSError:
        return None  # opening it reports the reason
    image_type = _text(values.get(IMAGE_TYPE, b""))
    return DicomHead(
        _text(values.get(STORAGE_CLASS, b"")),
        _text(values.get(SERIES, b"")),
        tuple(part.strip() for part in image_type.split("\\")) if image_type else (),
        _text(values.get(MODALITY, b"")),
    )


class _Walk:
    """Reads the elements of a file in order, up to its series UID."""

    def __init__(self, stream: BinaryIO) -> None:
        self.values: dict[int, bytes] = {}
        self._stream = stream
        self._left = MAX_ELEMENTS
        with suppress(struct.error, ValueError, OverflowError):  # damaged: keep the values read so far
            self._collect()

    def _collect(self) -> None:
        implicit, last = False, 0
        while last < SERIES:
            position = self._stream.tell()
            group = int.from_bytes(self._stream.read(2), "little")
            self._stream.seek(position)
            if last < 0x00030000 <= group << 16:  # the file meta information ends here
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
            raise ValueError("too many elements")
        start = self._stream.read(8)
        group, number, vr, length = struct.unpack("<HH2sH", start)
        tag = group << 16 | number
        if implicit or group == 0xFFFE:  # an item, or an item delimiter
            return tag, b"", int.from_bytes(start[4:], "little")
        if not vr.isalpha() or not vr.isupper():
            raise ValueError("no value representation")
        if vr in LONG:
            (length,) = struct.unpack("<L", self._stream.read(4))
        return tag, vr, length

    def _skip_sequence(self, *, implicit: bool, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise ValueError("sequences nested too deeply")
        while True:
            tag, _, length = self._element(implicit=True)
            if tag == SEQUENCE_END:
                return
            if tag != ITEM:
                raise ValueError("no item in a sequence")
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
