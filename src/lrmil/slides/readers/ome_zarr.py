"""Read OME-Zarr folders; a missing chunk is unreadable, whatever the fill value."""

import lzma
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lrmil.slides.readers.alignment import align
from lrmil.slides.readers.ome_zarr_metadata import ZarrLevel, malformed_zarr, parse_ome_zarr
from lrmil.slides.readers.protocol import Level, require_inside, scene_note, unreadable
from lrmil.slides.resolution import Disregarded

if TYPE_CHECKING:
    import zarr

FILLS = (0, 255)  # pixels that change with the fill value belong to a missing chunk
UNDECODABLE = (OSError, ValueError, RuntimeError, TypeError, LookupError, ArithmeticError, EOFError, struct.error)
UNDECODABLE_PARTS = (zlib.error, lzma.LZMAError, MemoryError)


class OmeZarrReader:
    """The largest scene of an OME-Zarr 0.4 or 0.5 folder; see `lrmil.slides.readers.protocol.Reader`.

    Parameters
    ----------
    path
        The folder.

    Raises
    ------
    SlideError
        If the folder is not such an image, or its largest scene is not 8-bit RGB.
    """

    name = "zarr"
    origin_yx = (0, 0)
    objective_power: float | Disregarded | None = None
    bytes_read: int | None = None  # zarr does not count them

    def __init__(self, path: Path) -> None:
        self._path = path
        scene = parse_ome_zarr(path)
        self.levels = tuple(Level(level.shape_yx, 1.0, level.tile_yx) for level in scene.levels)
        self.mpp_candidates, self.scanner = scene.mpp_candidates, scene.scanner
        self._axes = scene.levels[0].axes
        try:
            self._arrays = [[_array(level, fill) for fill in FILLS] for level in scene.levels]
        except UNDECODABLE as error:
            raise malformed_zarr(path, f"zarr: {error}") from error
        aligned = align(self, factors=scene.factors)
        self.levels, self._arrays = aligned.levels, [self._arrays[index] for index in aligned.kept]
        self.notes = (*scene_note(scene.chosen, scene.scenes), *aligned.notes)
        self._read_sample()

    def read(self, level: int, y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
        """Read an (h, w, 3) rectangle of a level; see `lrmil.slides.readers.protocol.Reader.read`."""
        require_inside(self.levels, level, y, x, h, w)
        if not self._arrays:
            raise unreadable(self._path, "the slide is closed")
        parts = {"y": slice(y, y + h), "x": slice(x, x + w), "c": slice(None)}
        index = tuple(parts.get(axis, 0) for axis in self._axes)
        order = [[axis for axis in self._axes if axis in parts].index(axis) for axis in "yxc"]
        where = f"level {level}, y={y} x={x} h={h} w={w}"
        try:
            pixels = np.asarray(self._arrays[level][0][index])
            whole = pixels.all() or (pixels == np.asarray(self._arrays[level][1][index])).all()
        except (*UNDECODABLE, *UNDECODABLE_PARTS) as error:
            raise unreadable(self._path, f"zarr failed at {where}: {error}") from error
        if not whole:
            raise unreadable(self._path, f"a chunk is missing at {where}")
        return np.ascontiguousarray(pixels.transpose(order))

    def close(self) -> None:
        """Close the arrays."""
        self._arrays = []

    def _read_sample(self) -> None:
        """Read one pixel, so that opening a folder without any readable pixel fails."""
        problem: OSError | None = None
        for level in reversed(range(len(self.levels))):
            height, width = self.levels[level].shape
            for y, x in ((height // 2, width // 2), (0, 0), (height - 1, width - 1)):
                try:
                    self.read(level, y, x, 1, 1)
                except OSError as error:
                    problem = problem or error
                else:
                    return
        if problem is not None:
            raise problem


def _array(level: ZarrLevel, fill: int) -> "zarr.Array[Any]":
    """Open an array by its checked description, with another fill value."""
    import zarr  # takes half a second, which only such slides need
    from zarr.storage import LocalStore, StorePath

    document = {**level.document, "fill_value": fill, "attributes": {}}
    store = StorePath(LocalStore(level.folder, read_only=True), "")
    return zarr.Array(zarr.AsyncArray.from_dict(store, document))
