"""Read the slides that tifffile reads wrongly or not at all, through OpenSlide."""

import threading
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image

from lrmil.errors import SlideError
from lrmil.reader import check_inside, make_levels, unreadable
from lrmil.resolution import openslide_mpp, openslide_power

DEFAULT_TILE = 256


class OpenSlideReader:
    """A slide opened by OpenSlide; see `lrmil.reader.Reader`.

    Where a scanner stored nothing (transparent pixels outside the scanned areas of an MRXS), the slide is white.

    Raises
    ------
    SlideError
        If OpenSlide does not know the format or cannot open the file.
    """

    name = "openslide"
    bytes_read: int | None = None  # OpenSlide does not tell
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._handle = _open(path)
        properties = self._handle.properties
        shapes = [(height, width) for width, height in self._handle.level_dimensions]
        tiles = [
            (
                int(properties.get(f"openslide.level[{level}].tile-height", DEFAULT_TILE)),
                int(properties.get(f"openslide.level[{level}].tile-width", DEFAULT_TILE)),
            )
            for level in range(len(shapes))
        ]
        self.levels = make_levels(shapes, tiles)
        self.origin_yx = (int(properties.get("openslide.bounds-y", 0)), int(properties.get("openslide.bounds-x", 0)))
        self.mpp_candidates = openslide_mpp(properties)
        self.objective_power = openslide_power(properties)

    def read(self, level: int, y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
        """Read an (h, w, 3) rectangle of a level; see `lrmil.reader.Reader.read`."""
        check_inside(self.levels, level, y, x, h, w)
        handle = self._handle
        try:
            return _read(handle, level, y, x, h, w)
        except openslide.OpenSlideError:
            return self._read_again(handle, level, y, x, h, w)

    def close(self) -> None:
        """Let go of the file."""
        self._handle.close()

    def _read_again(self, failed: openslide.OpenSlide, level: int, y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
        """Read through a handle of our own, since an error sticks to a handle: another thread may have caused it."""
        with self._lock:
            if self._handle is failed:
                self._handle = _open(self._path)
        with _open(self._path) as handle:
            try:
                return _read(handle, level, y, x, h, w)
            except openslide.OpenSlideError as error:
                where = f"level {level}, y={y} x={x} h={h} w={w}"
                raise unreadable(self._path, f"OpenSlide failed at {where}: {error}") from error


def _open(path: Path) -> openslide.OpenSlide:
    try:
        return openslide.OpenSlide(path)
    except (openslide.OpenSlideError, OSError) as error:
        raise SlideError(
            f"Expected a whole-slide image in {path}; OpenSlide says: {error}. "
            "Check that the file is complete and in a format that `lrmil doctor` lists."
        ) from error


def _read(handle: openslide.OpenSlide, level: int, y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
    downsample = handle.level_downsamples[level]
    rgba = handle.read_region((round(x * downsample), round(y * downsample)), level, (w, h))
    white = Image.new("RGB", rgba.size, (255, 255, 255))
    white.paste(rgba, mask=rgba.getchannel("A"))  # openslide-python has already undone the premultiplication
    return np.asarray(white)
