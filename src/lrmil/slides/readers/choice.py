"""Choose the reader of a file by its first bytes and, if those are not enough, by its name."""

from collections.abc import Callable
from pathlib import Path

from lrmil.slides.readers.image import FlatReader
from lrmil.slides.readers.ome_zarr import OmeZarrReader
from lrmil.slides.readers.openslide import OpenSlideReader
from lrmil.slides.readers.protocol import Reader
from lrmil.slides.readers.tiff import TiffReader
from lrmil.slides.readers.tiff_pages import NeedsOpenSlide
from lrmil.slides.source import MRXS, OPENSLIDE_EXTENSIONS, is_flat, is_tiff


def _is_mrxs(file: Path) -> bool:
    return file.suffix.lower() == MRXS  # the file is only a JPEG preview; the slide is in the folder of the same name


def _is_plain_tiff(file: Path) -> bool:
    return is_tiff(file) and file.suffix.lower() not in OPENSLIDE_EXTENSIONS


READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], Reader]], ...] = (
    (Path.is_dir, OmeZarrReader),
    (_is_mrxs, OpenSlideReader),
    (is_flat, FlatReader),  # an empty file fails here
    (_is_plain_tiff, TiffReader),
)
"""Which files a reader takes; the first that takes a file opens it. OpenSlide gets all others."""


def open_reader(file: Path) -> Reader:
    """Open a slide's file, or an OME-Zarr folder, with the reader for it.

    Raises
    ------
    SlideError
        If it is not a slide, is truncated, or its pixels are not RGB.
    """
    reader = next((reader for accepts, reader in READERS if accepts(file)), OpenSlideReader)
    try:
        return reader(file)
    except NeedsOpenSlide:
        return OpenSlideReader(file)
