"""Which reader opens a file: told by its first bytes, and by its name where those say too little."""

from pathlib import Path

from lrmil.flat_reader import FlatReader
from lrmil.ome_zarr_reader import OmeZarrReader
from lrmil.openslide_reader import OpenSlideReader
from lrmil.reader import Reader
from lrmil.slide_files import MRXS, OPENSLIDE_EXTENSIONS, is_flat, is_tiff
from lrmil.tiff_pages import NeedsOpenSlide
from lrmil.tiff_reader import TiffReader


def open_reader(file: Path) -> Reader:
    """Open a slide's file, or an OME-Zarr folder, with the reader for it.

    Raises
    ------
    SlideError
        If it is no slide, is truncated, or its pixels are not RGB.
    """
    if file.is_dir():
        return OmeZarrReader(file)
    if file.suffix.lower() == MRXS:  # itself a JPEG, a preview: the slide is in the folder beside it
        return OpenSlideReader(file)
    if is_flat(file):  # an empty file fails here
        return FlatReader(file)
    if not is_tiff(file) or file.suffix.lower() in OPENSLIDE_EXTENSIONS:
        return OpenSlideReader(file)
    try:
        return TiffReader(file)
    except NeedsOpenSlide:
        return OpenSlideReader(file)
