"""The pixel size and the magnification that a TIFF slide states."""

from typing import Any

import tifffile

from lrmil.slides.readers.ome_xml import OmeImage
from lrmil.slides.readers.pixel_size import (
    Found,
    aperio_mpp,
    aperio_power,
    imagej_mpp,
    ome_mpp,
    ome_power,
    tiff_mpp,
    without_copies,
)
from lrmil.slides.readers.tiff_images import TiffSlide
from lrmil.slides.resolution import Disregarded


def mpp_candidates(tif: tifffile.TiffFile, slide: TiffSlide) -> Found:
    """Find the pixel sizes that a TIFF states, most trusted first; those copied from another picture are not used.

    Parameters
    ----------
    tif
        The open file.
    slide
        Its slide.
    """
    page, found = slide.pages[0], Found()
    if tif.is_svs:
        found += aperio_mpp(page.description, _shape(page))
    if isinstance(slide.ome, OmeImage):
        found += ome_mpp(slide.ome, _shape(page))
    elif slide.ome:
        found.append(slide.ome)
    y, x = page.tags.valueof(283), page.tags.valueof(282)  # YResolution, XResolution
    if tif.is_imagej and tif.imagej_metadata:
        found += imagej_mpp(tif.imagej_metadata.get("unit"), _ratio(y), _ratio(x))
    found += tiff_mpp(_ratio(y), _ratio(x), int(page.tags.valueof(296, 2)))  # ResolutionUnit: inch by default
    return without_copies(found)


def objective_power(tif: tifffile.TiffFile, slide: TiffSlide) -> float | Disregarded | None:
    """Find the magnification of the objective; None if it is not stated, or why it is not used.

    Parameters
    ----------
    tif, slide
        As in `mpp_candidates`.
    """
    page = slide.pages[0]
    if tif.is_svs:
        return aperio_power(page.description, _shape(page))
    if slide.ome:
        return ome_power(slide.ome, _shape(page)) if isinstance(slide.ome, OmeImage) else slide.ome
    lens = page.tags.valueof(65421) if tif.is_ndpi else None  # Hamamatsu's SourceLens
    return float(lens) if isinstance(lens, int | float) and lens > 0 else None


def _shape(page: Any) -> tuple[int, int]:
    """Return the (height, width) of a page by its own tags, not by the metadata of the file."""
    return int(page.imagelength), int(page.imagewidth)


def _ratio(value: Any) -> float | None:
    return value[0] / value[1] if isinstance(value, tuple) and len(value) == 2 and value[1] else None
