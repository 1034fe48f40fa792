"""Find make and model of the scanner in the metadata of a slide: Aperio, TIFF, OpenSlide's properties."""

import re
from collections.abc import Mapping
from typing import Any

import tifffile

from lrmil.slides.readers.ome_xml import OmeImage
from lrmil.slides.readers.tiff_images import TiffSlide
from lrmil.slides.scanner import Scanner, scanner_of

APERIO = "Aperio"
APERIO_HEAD = re.compile(r"Aperio Leica (?:Biosystems )?(GT ?\d+(?: DX)?)\b")
APERIO_TYPE = re.compile(r"(?:^|\|)\s*ScannerType\s*=\s*([^|;\r\n]*)")  # ScanScope ID names one instrument
PROPERTIES = {  # vendor of OpenSlide -> its properties of make and model
    "dicom": ("dicom.Manufacturer", "dicom.ManufacturerModelName"),
    "philips": ("philips.DICOM_MANUFACTURER", "philips.DICOM_MANUFACTURERS_MODEL_NAME"),
}
WITH_MAKE = {"leica": ("Leica", "leica.device-model"), "ventana": ("Ventana", "ventana.ScannerModel")}
TIFF = ("tiff.Make", "tiff.Model")
MAKE_TAG, MODEL_TAG = 271, 272


def aperio_scanner(description: str) -> Scanner | None:
    """Return the scanner of the description of an Aperio SVS, of which older ones state the make alone."""
    if not description.startswith(APERIO):
        return None
    found = APERIO_TYPE.search(description) or APERIO_HEAD.match(description)
    return scanner_of(APERIO, found[1] if found else "")


def tiff_scanner(tif: tifffile.TiffFile, slide: TiffSlide) -> Scanner | None:
    """Return the scanner that a TIFF states.

    Parameters
    ----------
    tif, slide
        As in `lrmil.slides.readers.tiff_metadata.mpp_candidates`.
    """
    page: Any = slide.pages[0]
    if tif.is_svs:
        return aperio_scanner(page.description)
    if isinstance(slide.ome, OmeImage) and slide.ome.scanner:
        return slide.ome.scanner
    return scanner_of(page.tags.valueof(MAKE_TAG), page.tags.valueof(MODEL_TAG))


def openslide_scanner(properties: Mapping[str, str]) -> Scanner | None:
    """Return the scanner that OpenSlide's properties state, those of its vendors that have such ones."""
    vendor = properties.get("openslide.vendor", "")
    if vendor == "aperio":
        return aperio_scanner(properties.get("tiff.ImageDescription", ""))
    if vendor in WITH_MAKE:
        make, name = WITH_MAKE[vendor]
        model = properties.get(name, "").partition(";")[0]  # an SCN400 states "Leica SCN400;Leica SCN"
        return scanner_of(make, model) if model else None
    return scanner_of(*(properties.get(name) for name in PROPERTIES.get(vendor, TIFF)))
