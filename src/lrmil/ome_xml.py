"""What the OME-XML in a TIFF says of each of its images: size, pixel size, the objective that took it, its pages."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import NamedTuple

from lrmil.resolution import Disregarded

REFERENCES = ("ObjectiveSettings", "ObjectiveRef")  # of an image to the objective that took it; the second until 2012


class OmeImage(NamedTuple):
    """One image of an OME-XML.

    Parameters
    ----------
    shape
        (height, width) in pixels.
    size_y, size_x
        Number and unit of a pixel's sides; None where one is not stated.
    power
        Magnification of the objective that took it, None where none is stated, or why it cannot be told.
    pages
        First page and the page behind the last of each run of pages of this file; None where nothing is said of pages.
    """

    shape: tuple[int, int]
    size_y: tuple[float, str] | None
    size_x: tuple[float, str] | None
    power: float | Disregarded | None
    pages: tuple[tuple[int, float], ...] | None

    def holds(self, page: int) -> bool:
        """Whether it is said to lie on a page of this file."""
        return self.pages is not None and any(first <= page < end for first, end in self.pages)


def ome_images(xml: str) -> list[OmeImage]:
    """Parse every image; a broken description is a missing one: the pixels may still be good."""
    try:
        root = ET.fromstring(xml)
    except (ET.ParseError, ValueError):  # ValueError: half a character, which XML cannot hold
        return []
    return [
        OmeImage(
            (_whole(pixels.get("SizeY")), _whole(pixels.get("SizeX"))),
            _size(pixels, "Y"),
            _size(pixels, "X"),
            _power(root, image),
            _pages(root, pixels),
        )
        for image in root.iter()
        for pixels in _children(image, "Pixels")
    ]


def images_of(images: list[OmeImage], shape: tuple[int, int], page: int | None) -> list[OmeImage]:
    """Find the images that a page of that (height, width) may be: those said to lie on it, else all of that size."""
    sized = [image for image in images if image.shape == shape]
    return [image for image in sized if page is not None and image.holds(page)] or sized


def positive(text: str | None) -> float | None:
    """Read a finite number above 0; None where there is none."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _children(element: ET.Element, *names: str) -> Iterator[ET.Element]:
    return (child for child in element if _name(child) in names)


def _whole(text: str | None) -> int:
    return int(text) if text and text.strip().isdecimal() and len(text) < 20 else 0


def _size(pixels: ET.Element, axis: str) -> tuple[float, str] | None:
    number = positive(pixels.get(f"PhysicalSize{axis}"))
    return None if number is None else (number, pixels.get(f"PhysicalSize{axis}Unit") or "µm")


def _power(root: ET.Element, image: ET.Element) -> float | Disregarded | None:
    """Follow an image to its objective; without a reference, the one of its instrument or of the file."""
    instruments = {child.get("ID") for child in _children(image, "InstrumentRef")}
    places = [one for one in root.iter() if _name(one) == "Instrument" and one.get("ID") in instruments] or [root]
    objectives = [one for place in places for one in place.iter() if _name(one) == "Objective"]
    if wanted := {child.get("ID") for child in _children(image, *REFERENCES)}:
        objectives = [one for one in root.iter() if _name(one) == "Objective" and one.get("ID") in wanted]
        if not objectives:
            return Disregarded("the metadata do not describe the objective that they name for this image")
    powers = [positive(one.get("NominalMagnification") or one.get("CalibratedMagnification")) for one in objectives]
    if len(set(powers)) < 2:
        return next(iter(powers), None)
    named = " and ".join(sorted({f"{power:g}x" if power else "one without a magnification" for power in powers}))
    return Disregarded(f"the metadata have {len(powers)} objectives ({named}) and do not say which took this image")


def _pages(root: ET.Element, pixels: ET.Element) -> tuple[tuple[int, float], ...] | None:
    """Pages of this file; those of another file of the set (its UUID is not that of the file) are left out."""
    own, found = (root.get("UUID") or "").casefold(), list[tuple[int, float]]()
    parts = list(_children(pixels, "TiffData"))
    for part in parts:
        files = [(one.text or "").strip().casefold() for one in _children(part, "UUID")]
        if files and own and files != [own]:
            continue
        first, count = part.get("IFD"), part.get("PlaneCount")
        planes = float(_whole(count)) if count else 1.0 if first else math.inf
        found.append((_whole(first), _whole(first) + planes))
    return tuple(found) if parts else None
