"""Read the slides that tifffile reads wrongly or not at all, through OpenSlide."""

import math
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray

from lrmil.errors import SlideError
from lrmil.slides.dicom_head import is_dicom
from lrmil.slides.dicom_series import series_of
from lrmil.slides.readers.alignment import align
from lrmil.slides.readers.dicom_frames import HEAD, DicomFrames, focal_planes_of, pixel_spacings, sides_of
from lrmil.slides.readers.dicom_levels import DicomLevels
from lrmil.slides.readers.openslide_regions import begins_with_level0, read_from, read_stored
from lrmil.slides.readers.pixel_size import openslide_mpp, openslide_power
from lrmil.slides.readers.protocol import ICC_NOTE, Level, not_brightfield, require_inside, several_planes, unreadable
from lrmil.slides.source import MRXS

DEFAULT_TILE = 256
UNEVEN = 0.02  # of a level's PixelSpacing: it then has not the proportions of the first
MAX_SIDE = 1 << 22  # pixels: 210 mm at 0.05 um/px, longer than any glass


class OpenSlideReader:
    """A slide opened by OpenSlide; see `lrmil.slides.readers.protocol.Reader`.

    Where a scanner stored nothing (transparent pixels outside the scanned areas of an MRXS), the slide is white.

    Raises
    ------
    SlideError
        If OpenSlide does not know the format or cannot open the file.
    """

    name = "openslide"
    bytes_read: int | None = None  # OpenSlide does not tell

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._handle = _open(path)
        properties = self._handle.properties
        if fluorescence := fluorescence_in(properties):
            self._handle.close()
            raise not_brightfield(path, f"fluorescence ({fluorescence})")
        shapes = [(height, width) for width, height in self._handle.level_dimensions]
        tiles = [
            (
                int(properties.get(f"openslide.level[{level}].tile-height", DEFAULT_TILE)),
                int(properties.get(f"openslide.level[{level}].tile-width", DEFAULT_TILE)),
            )
            for level in range(len(shapes))
        ]
        self.levels = tuple(Level(shape, 1.0, tile) for shape, tile in zip(shapes, tiles, strict=True))
        self._stored, self._shapes = tuple(range(len(shapes))), shapes  # level -> that of OpenSlide
        self.origin_yx = (int(properties.get("openslide.bounds-y", 0)), int(properties.get("openslide.bounds-x", 0)))
        self.mpp_candidates = openslide_mpp(properties, shapes[0])
        self.objective_power = openslide_power(properties, shapes[0])
        self._notes = _notes(properties, self.origin_yx)
        self._moved: set[int] = set()
        # libdicom crashes the process when two threads meet an error in one damaged file.
        is_dicom = properties.get("openslide.vendor") == "dicom"
        self._turn: AbstractContextManager[object] = threading.Lock() if is_dicom else nullcontext()
        self._frames = DicomFrames(path) if is_dicom else None
        self._single = DicomLevels(self._frames) if self._frames else None
        self._alone: dict[int, openslide.OpenSlide | None] = {}
        aligned = align(self, factors=_spacing_factors(path, shapes) if is_dicom else ())
        self.levels, self._stored, self._notes = aligned.levels, aligned.kept, (*self._notes, *aligned.notes)

    @property
    def notes(self) -> tuple[str, ...]:
        """Also which levels could not be read as they are stored so far."""
        with self._lock:
            moved = [level for level, stored in enumerate(self._stored) if stored in self._moved]
        return (*self._notes, *map(_moved_note, moved))

    def read(self, level: int, y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
        """Read an (h, w, 3) rectangle of a level; see `lrmil.slides.readers.protocol.Reader.read`."""
        require_inside(self.levels, level, y, x, h, w)
        level = self._stored[level]
        if self._frames:
            self._frames.require_whole_frames(self._shapes[level], y, x, h, w)
        with self._turn:
            handle, index = self._handle_of(level)
            try:
                return self._read(handle, level, index, y, x, h, w)
            except openslide.OpenSlideError:
                return self._read_again(handle, level, index, y, x, h, w)

    def close(self) -> None:
        """Let go of the file."""
        for handle in (self._handle, *self._alone.values()):
            if handle is not None:
                handle.close()

    @cached_property
    def _factors(self) -> tuple[float, ...]:
        """Level-0 pixels per pixel of each level, as OpenSlide takes them."""
        return tuple(map(float, self._handle.level_downsamples))

    def _handle_of(self, level: int) -> tuple[openslide.OpenSlide, int]:
        """Give the handle that reads a level, and the number of the level in it: 0 where it is opened alone."""
        if level not in self._alone:
            self._alone[level] = self._open_alone(level)
        alone = self._alone[level]
        return (self._handle, level) if alone is None else (alone, 0)

    def _open_alone(self, level: int) -> openslide.OpenSlide | None:
        """Open a level as a slide of its own: one of DICOM whose factor is not whole."""
        if self._single is None or self._factors[level].is_integer():
            return None
        link = self._single.link_to(self._shapes[level])
        try:
            return _open(link) if link else None
        except SlideError:
            return None

    def _read(
        self, handle: openslide.OpenSlide, level: int, index: int, y: int, x: int, h: int, w: int
    ) -> NDArray[np.uint8]:
        """Read what is stored; of a large level whose factor is not whole, what OpenSlide has nearest."""
        stored = read_stored(handle, index, y, x, h, w)
        return self._read_moved(handle, level, index, y, x, h, w) if stored is None else stored

    def _read_moved(
        self, handle: openslide.OpenSlide, level: int, index: int, y: int, x: int, h: int, w: int
    ) -> NDArray[np.uint8]:
        pixels = read_from(handle, index, (y, x), (h, w))
        with self._lock:
            self._moved.add(level)
        return pixels

    def _read_again(
        self, failed: openslide.OpenSlide, level: int, index: int, y: int, x: int, h: int, w: int
    ) -> NDArray[np.uint8]:
        """Read through a handle of our own, since an error sticks to a handle: another thread may have caused it."""
        with self._lock:
            if self._handle is failed:
                self._handle = _open(self._path)
            elif self._alone.get(level) is failed:
                self._alone[level] = self._open_alone(level)
        factor = self._factors[level] if index == level else 1.0
        exact = all(begins_with_level0(corner, factor) for corner in (y, x))
        problem: Exception | None = None
        for read in (self._read,) if exact else (self._read, self._read_moved):  # the damage may lie beside the region
            own = self._open_alone(level) if index != level else None
            with own or _open(self._path) as handle:
                try:
                    return read(handle, level, index if own or index == level else level, y, x, h, w)
                except openslide.OpenSlideError as error:
                    problem = error
        where = f"level {level}, y={y} x={x} h={h} w={w}"
        raise unreadable(self._path, f"OpenSlide failed at {where}: {problem}") from problem


def _moved_note(level: int) -> str:
    return f"OpenSlide gave parts of level {level} moved by part of a pixel, since its factor is not a whole number."


def fluorescence_in(properties: Mapping[str, str]) -> str:
    """Words in which a scanner says that it took fluorescence, which OpenSlide gives as RGB."""
    for name, value in properties.items():
        says = name.endswith(("SLIDE_TYPE", "illumination-source", "IlluminationTypeCodeSequence[0].CodeMeaning"))
        if says and "fluorescen" in value.casefold():
            return "as its scanner says"
        if re.search(r";ExcitationName=[^;]*\d", value):
            return "an excitation filter is stated"
    return ""


def _notes(properties: Mapping[str, str], origin_yx: tuple[int, int]) -> tuple[str, ...]:
    regions = sum(bool(re.fullmatch(r"openslide\.region\[\d+\]\.x", name)) for name in properties)
    notes = []
    if regions > 1:
        notes.append(f"The slide has {regions} scanned regions; all are read, where they lie, as one picture.")
    if origin_yx != (0, 0):
        notes.append(
            f"The scanned area begins at x={origin_yx[1]}, y={origin_yx[0]} (OpenSlide's bounds); coordinates count "
            "from the corner of the whole slide."
        )
    if properties.get("openslide.icc-size"):
        notes.append(ICC_NOTE)
    return tuple(notes)


def _spacing_factors(path: Path, shapes: Sequence[tuple[int, int]]) -> tuple[float | None, ...]:
    """For each level the ratio of its PixelSpacing to that of the first; () where the first states none."""
    spacings = pixel_spacings(path, shapes)
    first = spacings.get(shapes[0])
    if first is None or len(shapes) < 2:
        return ()
    return tuple(_spacing_factor(spacings[shape], first) if shape in spacings else None for shape in shapes)


def _spacing_factor(own: tuple[float, float], first: tuple[float, float]) -> float:
    y, x = own[0] / first[0], own[1] / first[1]
    return y if abs(y - x) <= UNEVEN * y else math.nan


def _require_safe_dicom(path: Path) -> None:
    """Refuse a DICOM slide of several focal planes, or of a size no glass has: OpenSlide would end the process."""
    for part in series_of(path) if is_dicom(path) else ():
        try:
            with part.open("rb") as file:
                head = file.read(HEAD)
        except OSError:
            continue  # OpenSlide says why
        sides, planes = sides_of(head), focal_planes_of(head)
        if planes > 1:
            raise several_planes(path, planes, "focal planes")
        if sides is not None and max(sides) > MAX_SIDE:
            raise SlideError(
                f"Expected a slide that a glass can hold in {part}. Got a side of {max(sides)} px; the file is "
                "probably damaged: copy it again from its source."
            )


def _open(path: Path) -> openslide.OpenSlide:
    _require_safe_dicom(path)
    if path.suffix.lower() == MRXS and not path.with_suffix("").is_dir():
        raise SlideError(
            f"Expected the folder {path.stem} beside {path}, which holds the slide's pixels; there is none. "
            "An MRXS is a file and a folder of one name: copy both."
        )
    try:
        return openslide.OpenSlide(path)
    except (openslide.OpenSlideError, OSError) as error:
        raise SlideError(
            f"Expected a whole-slide image in {path}; OpenSlide says: {error}. "
            "Check that the file is complete and in a format that `lrmil doctor` lists."
        ) from error
