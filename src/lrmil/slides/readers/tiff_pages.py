"""Parse the pages of a TIFF slide: the segments of each level, and how to decode them."""

import logging
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray

from lrmil.errors import SlideError
from lrmil.slides.readers.jpeg2000 import HEADER_BYTES, decode_jpeg2000, read_colours
from lrmil.slides.readers.pixel_size import Found
from lrmil.slides.readers.protocol import ICC_NOTE, not_brightfield
from lrmil.slides.readers.scanners import tiff_scanner
from lrmil.slides.readers.tiff_images import JPEG, JPEG_2000, OLD_JPEG, YCBCR, TiffSlide, find_slide, is_rgb
from lrmil.slides.readers.tiff_metadata import mpp_candidates, objective_power
from lrmil.slides.resolution import Disregarded
from lrmil.slides.scanner import Scanner

UNCOMPRESSED = 1
APERIO_YCBCR = 33003  # as Aperio uses it; Bio-Formats uses the number for RGB
DAMAGED = "Part of the file's structure cannot be read, perhaps because a copy is incomplete: levels may be missing."
TRESTLE = "MedScan"  # software of Trestle scanners, whose tiles overlap
ICC_PROFILE, NDPI_FILTER, NDPI_WAVELENGTH = 34675, 65434, 65451  # tags
ALPHA_NOTE = "The file has an alpha channel. It is ignored where it is opaque; elsewhere pixels are unreadable."
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, OSError, struct.error, ArithmeticError, AssertionError)


class NeedsOpenSlide(SlideError):
    """tifffile reads this TIFF wrongly or incompletely."""


@dataclass(frozen=True, slots=True)
class LevelPage:
    """The segments of one level of a TIFF, and how to decode them.

    Parameters
    ----------
    shape, tile
        (height, width) of the level and of a segment, in pixels.
    offsets, counts
        Position and length in bytes of each segment, row by row.
    decode
        Decodes the bytes of a segment, given its index, to (h, w, 3) pixels.
    compression
        TIFF Compression.
    ends_in_eoi
        Whether the bytes of each segment end with a JPEG end-of-image marker.
    contiguous
        Whether the level is uncompressed in one piece, so that rows are read, not segments.
    """

    shape: tuple[int, int]
    tile: tuple[int, int]
    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    decode: Callable[[bytes, int], NDArray[np.uint8] | None]
    compression: int
    ends_in_eoi: bool
    contiguous: bool

    @property
    def columns(self) -> int:
        """Number of segments in a row."""
        return -(-self.shape[1] // self.tile[1])

    @property
    def segment_bytes(self) -> int:
        """Bytes of a decoded segment."""
        return self.tile[0] * self.tile[1] * 3

    @property
    def is_jpeg(self) -> bool:
        """Whether segments are JPEG."""
        return self.compression in (OLD_JPEG, JPEG)

    @property
    def row_bytes(self) -> int:
        """Bytes of a decoded row of pixels of the level."""
        return self.shape[1] * 3

    def inside(self, index: int) -> tuple[int, int]:
        """Return the (height, width) of a segment without padding outside the image."""
        row, column = divmod(index, self.columns)
        return (
            min(self.tile[0], self.shape[0] - row * self.tile[0]),
            min(self.tile[1], self.shape[1] - column * self.tile[1]),
        )


class TiffPyramid(NamedTuple):
    """The possible levels of a TIFF slide, and its metadata.

    Parameters
    ----------
    pages
        Full resolution first.
    unmarked
        Indices in `pages` of those that only their size suggests to be levels.
    mpp_candidates
        Pixel sizes found in the file, most trusted first.
    objective_power
        Magnification of the objective, None if not stated, or why it is not used.
    scanner
        Make and model of the scanner; None if not stated.
    notes
        Sentences that a user must know.
    """

    pages: list[LevelPage]
    unmarked: tuple[int, ...]
    mpp_candidates: Found
    objective_power: float | Disregarded | None
    scanner: Scanner | None
    notes: tuple[str, ...] = ()


def parse_pyramid(path: Path) -> TiffPyramid:
    """Parse the structure of a TIFF slide and close it, so that segments can be read without the locks of tifffile.

    Raises
    ------
    NeedsOpenSlide
        If OpenSlide is the right reader for this TIFF.
    SlideError
        If the file is not a TIFF, or its largest image is not 8-bit RGB.
    """
    try:
        with collected_errors() as errors, tifffile.TiffFile(path) as tif:
            if tif.is_philips or tif.is_scn or tif.is_bif or tif.pages.first.software.startswith(TRESTLE):
                raise NeedsOpenSlide(f"{path} is a TIFF that needs OpenSlide.")
            slide = find_slide(path, tif)
            _require_rgb(path, slide)
            pages, unmarked = _pages(slide)
            lost = errors or len(pages) - len(unmarked) < len(slide.pages) - len(slide.unmarked)
            notes = (*slide.notes, *_notes(slide.pages[0]), *((DAMAGED,) if lost else ()))
            stated = (mpp_candidates(tif, slide), objective_power(tif, slide), tiff_scanner(tif, slide))
            return TiffPyramid(pages, unmarked, *stated, notes)
    except SlideError:
        raise
    except MALFORMED as error:
        raise SlideError(
            f"Cannot read the structure of the TIFF {path} ({error}). Copy the file again from its source, or leave "
            "this slide out."
        ) from error


@contextmanager
def collected_errors() -> Iterator[list[logging.LogRecord]]:
    """Collect the errors that tifffile logs in this thread when it skips a part of the file.

    Meanwhile its records go to the application's log if it keeps one; else they do not reach stderr.
    """
    thread, found = threading.get_ident(), list[logging.LogRecord]()
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: found.append(record) if record.thread == thread else None  # type: ignore[method-assign]
    logging.getLogger("tifffile").addHandler(handler)
    try:
        yield found
    finally:
        logging.getLogger("tifffile").removeHandler(handler)


def needs_openslide(page: Any) -> bool:
    """Return whether a page is JPEG 2000 of Aperio with subsampled colours."""
    if int(page.compression) not in JPEG_2000 or not page.parent.is_svs:
        return False
    first = next((index for index, count in enumerate(page.databytecounts) if count and page.dataoffsets[index]), None)
    if first is None:
        return False
    page.parent.filehandle.seek(page.dataoffsets[first])
    colours = read_colours(page.parent.filehandle.read(min(page.databytecounts[first], HEADER_BYTES)))
    return colours is not None and colours.subsampled


def _require_rgb(path: Path, slide: TiffSlide) -> None:
    """Require a slide of 8-bit RGB; a smaller image, such as a label, is never read in its place."""
    page = slide.pages[0]
    if any(needs_openslide(level) for level in slide.pages):
        raise NeedsOpenSlide(f"{path} is in JPEG 2000 with subsampled colours, which needs OpenSlide.")
    if fluorescence := fluorescence_in(page):
        raise not_brightfield(path, f"fluorescence ({fluorescence})")
    if not is_rgb(page):
        kind = f"axes {page.axes}, shape {page.shape}, {page.dtype}, {_title(page.photometric)}"
        raise not_brightfield(path, f"{kind}, or samples that are not interleaved")


def fluorescence_in(page: tifffile.TiffPage) -> str:
    """Return the filter of a Hamamatsu fluorescence scan, which is stored as RGB; "" for other slides."""
    tags = page.tags
    name, wavelength = str(tags.valueof(NDPI_FILTER) or "").strip(), tags.valueof(NDPI_WAVELENGTH)
    return name if name and isinstance(wavelength, int | float) and wavelength > 0 else ""


def _notes(page: tifffile.TiffPage) -> tuple[str, ...]:
    icc = (ICC_NOTE,) if page.tags.valueof(ICC_PROFILE) else ()
    return (*icc, *((ALPHA_NOTE,) if page.shape[2] == 4 else ()))


def _title(value: Any) -> str:
    """Return the name of a numbered value of the TIFF standard; anything else in a damaged file is not quoted."""
    return str(getattr(value, "name", value if isinstance(value, int) else "an unknown colour space"))


def _pages(slide: TiffSlide) -> tuple[list[LevelPage], tuple[int, ...]]:
    """Return the layout of the pages, and the indices of unmarked ones; skip levels with invalid pages."""
    pages, unmarked = [_page(slide.pages[0])], list[int]()
    for position, page in enumerate(slide.pages[1:], 1):
        try:
            layout = _page(page)
        except MALFORMED:
            continue
        if position in slide.unmarked:
            unmarked.append(len(pages))
        pages.append(layout)
    return pages, tuple(unmarked)


def _page(page: tifffile.TiffPage) -> LevelPage:
    height, width = page.shape[:2]
    strip = (min(page.rowsperstrip, height), width)
    tile = (page.tilelength, page.tilewidth) if page.is_tiled else strip
    if min(*tile, height, width) < 1:
        raise ValueError(f"a side of 0 pixels in the image ({height} x {width}) or its tiles ({tile[0]} x {tile[1]})")
    expected = -(-height // tile[0]) * -(-width // tile[1])
    offsets, counts = tuple(map(int, page.dataoffsets)), tuple(map(int, page.databytecounts))
    if len(offsets) != expected or len(counts) != expected:
        raise ValueError(f"{len(offsets)} segments in place of {expected}")
    decode, tables, header = page.decode, page.jpegtables, page.jpegheader
    compression, ycbcr = int(page.compression), _is_ycbcr_2000(page)

    def decode_segment(data: bytes, index: int) -> NDArray[np.uint8] | None:
        if compression in JPEG_2000:  # tifffile would treat YCbCr as subsampled
            return _without_alpha(decode_jpeg2000(data, ycbcr=ycbcr), layout.inside(index))
        pixels = decode(data, index, jpegtables=tables, jpegheader=header)[0]
        return (
            None
            if pixels is None
            else _without_alpha(np.asarray(pixels).reshape(pixels.shape[-3:]), layout.inside(index))
        )

    ends_in_eoi = compression in JPEG_2000 or (compression == JPEG and header is None)
    contiguous = bool(page.is_memmappable) and page.shape[2] == 3
    layout = LevelPage((height, width), tile, offsets, counts, decode_segment, compression, ends_in_eoi, contiguous)
    return layout


def _is_ycbcr_2000(page: Any) -> bool:
    """Return whether JPEG 2000 stores YCbCr, unless its codestream states a transform, which decoders undo."""
    of_aperio = int(page.compression) == APERIO_YCBCR and page.parent.is_svs
    return int(page.compression) in JPEG_2000 and (page.photometric == YCBCR or of_aperio)


def _without_alpha(pixels: NDArray[np.uint8], inside: tuple[int, int]) -> NDArray[np.uint8]:
    """Drop an alpha channel that is opaque in the (height, width) inside the image; padding is not checked."""
    if pixels.shape[-1] < 4 or pixels.ndim != 3:
        return pixels
    if (pixels[: inside[0], : inside[1], 3] != 255).any():
        raise ValueError("it has transparent pixels; export the slide without an alpha channel")
    return np.ascontiguousarray(pixels[..., :3])
