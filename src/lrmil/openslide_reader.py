"""Read the slides that tifffile reads wrongly or not at all, through OpenSlide."""

import math
import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray
from PIL import Image

from lrmil.alignment import align
from lrmil.dicom_frames import HEAD, DicomFrames, focal_planes_of, pixel_spacings, sides_of
from lrmil.dicom_head import is_dicom
from lrmil.dicom_series import series_of
from lrmil.errors import SlideError
from lrmil.pixel_size import openslide_mpp, openslide_power
from lrmil.reader import ICC_NOTE, Level, check_inside, not_brightfield, several_planes, unreadable
from lrmil.slide_files import MRXS

DEFAULT_TILE = 256
UNEVEN = 0.02  # of a level's PixelSpacing: it then has not the proportions of the first
LARGEST_SIDE = 1 << 22  # pixels: 210 mm at 0.05 um/px, longer than any glass


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

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._handle = _open(path)
        properties = self._handle.properties
        if fluorescence := _fluorescence(properties):
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
        self.notes = _notes(properties, self.origin_yx)
        # libdicom crashes the process when two threads meet an error in one damaged file.
        is_dicom = properties.get("openslide.vendor") == "dicom"
        self._turn: AbstractContextManager[object] = threading.Lock() if is_dicom else nullcontext()
        self._frames = DicomFrames(path) if is_dicom else None
        aligned = align(self, factors=_spacing_factors(path, shapes) if is_dicom else ())
        self.levels, self._stored, self.notes = aligned.levels, aligned.kept, (*self.notes, *aligned.notes)

    def read(self, level: int, y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
        """Read an (h, w, 3) rectangle of a level; see `lrmil.reader.Reader.read`."""
        check_inside(self.levels, level, y, x, h, w)
        level = self._stored[level]
        if self._frames:
            self._frames.refuse_holes(self._shapes[level], y, x, h, w)
        with self._turn:
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


def _fluorescence(properties: Mapping[str, str]) -> str:
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


def _refuse_dicom(path: Path) -> None:
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
        if sides is not None and max(sides) > LARGEST_SIDE:
            raise SlideError(
                f"Expected a slide that a glass can hold in {part}. Got a side of {max(sides)} px; the file is "
                "probably damaged: copy it again from its source."
            )


def _open(path: Path) -> openslide.OpenSlide:
    _refuse_dicom(path)
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


def _read(handle: openslide.OpenSlide, level: int, y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
    downsample = handle.level_downsamples[level]
    rgba = handle.read_region((round(x * downsample), round(y * downsample)), level, (w, h))
    white = Image.new("RGB", rgba.size, (255, 255, 255))
    white.paste(rgba, mask=rgba.getchannel("A"))  # openslide-python has already undone the premultiplication
    return np.asarray(white)
