"""Read slides with OpenSlide: those that tifffile reads wrongly or not at all."""

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
from lrmil.slides.readers.scanners import openslide_scanner
from lrmil.slides.source import MRXS

UNREAD = {  # formats of scanners that OpenSlide refuses, by extension
    ".czi": "Zeiss CZI",
    ".isyntax": "Philips iSyntax",
    ".i2syntax": "Philips iSyntax",
    ".kfb": "KFBio KFB",
    ".lif": "Leica LIF",
    ".mdsx": "Motic MDSX",
    ".sdpc": "TEKSQRAY SDPC",
    ".vsi": "Olympus VSI",
    ".zvi": "Zeiss ZVI",
}
DEFAULT_TILE = 256
UNEVEN = 0.02  # difference of a level's PixelSpacing in y and x: the level is then stretched
MAX_SIDE = 1 << 22  # pixels: 210 mm at 0.05 um/px, longer than any microscope slide


class OpenSlideReader:
    """A slide opened by OpenSlide; see `lrmil.slides.readers.protocol.Reader`.

    Areas that were not scanned (transparent pixels of an MRXS) are white.

    Parameters
    ----------
    path
        The slide file.

    Raises
    ------
    SlideError
        If OpenSlide does not know the format or cannot open the file, or the slide is not one RGB brightfield plane.
    """

    name = "openslide"
    bytes_read: int | None = None  # OpenSlide does not count them

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
        self._stored, self._shapes = tuple(range(len(shapes))), shapes  # OpenSlide's index of each level
        self.origin_yx = (int(properties.get("openslide.bounds-y", 0)), int(properties.get("openslide.bounds-x", 0)))
        self.mpp_candidates = openslide_mpp(properties, shapes[0])
        self.objective_power = openslide_power(properties, shapes[0])
        self.scanner = openslide_scanner(properties)
        self._notes = _notes(properties, self.origin_yx)
        self._moved: set[int] = set()
        # libdicom crashes the process if two threads get an error in the same damaged file.
        is_dicom = properties.get("openslide.vendor") == "dicom"
        self._turn: AbstractContextManager[object] = threading.Lock() if is_dicom else nullcontext()
        self._frames = DicomFrames(path) if is_dicom else None
        self._single = DicomLevels(self._frames) if self._frames else None
        self._alone: dict[int, openslide.OpenSlide | None] = {}
        aligned = align(self, factors=_spacing_factors(path, shapes) if is_dicom else ())
        self.levels, self._stored, self._notes = aligned.levels, aligned.kept, (*self._notes, *aligned.notes)

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences a user must know, including levels that were not read exactly so far."""
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
        """Close the file."""
        for handle in (self._handle, *self._alone.values()):
            if handle is not None:
                handle.close()

    @cached_property
    def _factors(self) -> tuple[float, ...]:
        """Level-0 pixels per pixel of each level, as OpenSlide uses them."""
        return tuple(map(float, self._handle.level_downsamples))

    def _handle_of(self, level: int) -> tuple[openslide.OpenSlide, int]:
        """Return the handle that reads a level, and the index of the level in it: 0 if it is opened alone."""
        if level not in self._alone:
            self._alone[level] = self._open_alone(level)
        alone = self._alone[level]
        return (self._handle, level) if alone is None else (alone, 0)

    def _open_alone(self, level: int) -> openslide.OpenSlide | None:
        """Open a DICOM level whose factor is not an integer as a slide of its own; None for any other level."""
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
        """Read the stored pixels or, if those would take too much reading, the nearest ones of OpenSlide."""
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
        """Read with a new handle: a handle keeps its error, which another thread may have caused."""
        with self._lock:
            if self._handle is failed:
                self._handle = _open(self._path)
            elif self._alone.get(level) is failed:
                self._alone[level] = self._open_alone(level)
        factor = self._factors[level] if index == level else 1.0
        exact = all(begins_with_level0(corner, factor) for corner in (y, x))
        problem: Exception | None = None
        for read in (self._read,) if exact else (self._read, self._read_moved):  # the damage may be outside the region
            own = self._open_alone(level) if index != level else None
            with own or _open(self._path) as handle:
                try:
                    return read(handle, level, index if own or index == level else level, y, x, h, w)
                except openslide.OpenSlideError as error:
                    problem = error
        where = f"level {level}, y={y} x={x} h={h} w={w}"
        raise unreadable(self._path, f"OpenSlide failed at {where}: {problem}") from problem


def _moved_note(level: int) -> str:
    return f"Parts of level {level} are shifted by less than a pixel, because its factor is not an integer."


def fluorescence_in(properties: Mapping[str, str]) -> str:
    """Return how the metadata state fluorescence, which OpenSlide returns as RGB; "" if they do not."""
    for name, value in properties.items():
        says = name.endswith(("SLIDE_TYPE", "illumination-source", "IlluminationTypeCodeSequence[0].CodeMeaning"))
        if says and "fluorescen" in value.casefold():
            return "stated by the scanner"
        if re.search(r";ExcitationName=[^;]*\d", value):
            return "an excitation filter is stated"
    return ""


def _notes(properties: Mapping[str, str], origin_yx: tuple[int, int]) -> tuple[str, ...]:
    regions = sum(bool(re.fullmatch(r"openslide\.region\[\d+\]\.x", name)) for name in properties)
    notes = []
    if regions > 1:
        notes.append(f"The slide has {regions} scanned regions; they are read as one image, each at its position.")
    if origin_yx != (0, 0):
        notes.append(
            f"The scanned area begins at x={origin_yx[1]}, y={origin_yx[0]} (OpenSlide's bounds). Coordinates are "
            "relative to the corner of the whole slide."
        )
    if properties.get("openslide.icc-size"):
        notes.append(ICC_NOTE)
    return tuple(notes)


def _spacing_factors(path: Path, shapes: Sequence[tuple[int, int]]) -> tuple[float | None, ...]:
    """Return the ratio of each level's PixelSpacing to that of the first level; () if that has none."""
    spacings = pixel_spacings(path, shapes)
    first = spacings.get(shapes[0])
    if first is None or len(shapes) < 2:
        return ()
    return tuple(_spacing_factor(spacings[shape], first) if shape in spacings else None for shape in shapes)


def _spacing_factor(own: tuple[float, float], first: tuple[float, float]) -> float:
    y, x = own[0] / first[0], own[1] / first[1]
    return y if abs(y - x) <= UNEVEN * y else math.nan


def _require_safe_dicom(path: Path) -> None:
    """Require a DICOM slide of one focal plane and a possible size: OpenSlide would crash on others."""
    for part in series_of(path) if is_dicom(path) else ():
        try:
            with part.open("rb") as file:
                head = file.read(HEAD)
        except OSError:
            continue  # OpenSlide reports the reason
        sides, planes = sides_of(head), focal_planes_of(head)
        if planes > 1:
            raise several_planes(path, planes, "focal planes")
        if sides is not None and max(sides) > MAX_SIDE:
            raise SlideError(
                f"Expected a slide no larger than a microscope slide in {part}. Got a side of {max(sides)} px. The "
                "file is probably damaged: copy it again from its source."
            )


def _open(path: Path) -> openslide.OpenSlide:
    _require_safe_dicom(path)
    if path.suffix.lower() == MRXS and not path.with_suffix("").is_dir():
        raise SlideError(
            f"The folder {path.stem} with the pixels of {path} is missing. An MRXS slide is a file and a folder of "
            "the same name: copy both."
        )
    try:
        return openslide.OpenSlide(path)
    except (openslide.OpenSlideError, OSError) as error:
        if kind := UNREAD.get(path.suffix.lower()):
            raise SlideError(
                f"{kind} is not read: {path}. Export the slide as OME-TIFF, with the scanner's own software or with "
                "QuPath (File > Export images), and open that. Keep the original."
            ) from error
        raise SlideError(
            f"OpenSlide cannot open {path}: {error}. Check that the file is complete, and that `lrmil doctor` lists "
            "its format."
        ) from error
