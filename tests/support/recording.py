"""A slide whose reader notes what is read of the file."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrmil.slides.readers.choice import open_reader
from lrmil.slides.readers.protocol import Level, Reader
from lrmil.slides.resolution import resolve_mpp
from lrmil.slides.slide import Slide


class Read(NamedTuple):
    """A rectangle of a level, in pixels of that level."""

    level: int
    y: int
    x: int
    h: int
    w: int


class RecordingReader:
    """Pass every read on to another reader, and keep a list of them.

    Parameters
    ----------
    reader
        What reads the pixels; it is closed with this one.
    levels, notes
        What this one says of its levels and how they are read, in place of what the other says.
    """

    def __init__(
        self, reader: Reader, *, levels: Sequence[Level] | None = None, notes: tuple[str, ...] | None = None
    ) -> None:
        self.reads: list[Read] = []
        self.name = reader.name
        self.levels = reader.levels if levels is None else tuple(levels)
        self.origin_yx = reader.origin_yx
        self.objective_power = reader.objective_power
        self.scanner = reader.scanner
        self.mpp_candidates = reader.mpp_candidates
        self._reader = reader
        self._notes = notes

    @property
    def notes(self) -> tuple[str, ...]:
        return self._reader.notes if self._notes is None else self._notes

    @property
    def bytes_read(self) -> int | None:
        return self._reader.bytes_read

    def read(self, level: int, y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
        self.reads.append(Read(level, y, x, h, w))
        return self._reader.read(level, y, x, h, w)

    def close(self) -> None:
        self._reader.close()


def open_recorded(
    path: Path, *, levels: Sequence[Level] | None = None, notes: tuple[str, ...] | None = None
) -> tuple[Slide, list[Read]]:
    """Open a slide, and return it with the list of what is read of it, which grows."""
    reader = RecordingReader(open_reader(path), levels=levels, notes=notes)
    return Slide(path, reader, resolve_mpp(None, reader.mpp_candidates)), reader.reads
