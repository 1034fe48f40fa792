"""Choose the reader of a file by its first bytes and, if those are not enough, by its name."""

from pathlib import Path

from lrmil.slides.readers.image import FlatReader
from lrmil.slides.readers.ome_zarr import OmeZarrReader
from lrmil.slides.readers.openslide import OpenSlideReader
from lrmil.slides.readers.protocol import Reader
from lrmil.slides.readers.tiff import TiffReader
from lrmil.slides.readers.tiff_pages import NeedsOpenSlide
from lrmil.slides.source import MRXS, OPENSLIDE_EXTENSIONS, is_flat, is_tiff


def open_reader(file: Path) -> Reader:
    """Open a slide's file, or an OME-Zarr folder, with the reader for it.

    Raises
    ------
    SlideError
        If it is not a slide, is truncated, or its pixels are not RGB.
    """
    if file.is_dir():
        return OmeZarrReader(file)
    if file.suffix.lower() == MRXS:  # the file is only a JPEG preview; the slide is in the folder of the same name
        return OpenSlideReader(file)
    if is_flat(file):  # an empty file fails here
        return FlatReader(file)
    if not is_tiff(file) or file.suffix.lower() in OPENSLIDE_EXTENSIONS:
        return OpenSlideReader(file)
    try:
        return TiffReader(file)
    except NeedsOpenSlide:
        return OpenSlideReader(file)
