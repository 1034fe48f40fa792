"""Parse the images in OME metadata: their pages in this file, size, pixel size and objective.

A set of files may share one description; only pages of this file count.
"""

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lrmil.slides.resolution import Disregarded
from lrmil.slides.scanner import Scanner, scanner_of

MALFORMED = (ET.ParseError, ValueError, KeyError, TypeError)
AXES = {"Z": "focal planes", "T": "time points", "C": "groups of channels"}
REFERENCES = ("ObjectiveSettings", "ObjectiveRef")  # to the objective of an image; the second until 2012


class OmeImage(NamedTuple):
    """One image of the description.

    Parameters
    ----------
    number, total
        Number of the image, from 1, and number of images.
    name
        Name in the description.
    pages
        Indices of its planes among the pages of this file; () if they are all in other files.
    elsewhere
        Whether some of its planes are in other files.
    planes
        Kind of its planes if there are several, such as "focal planes".
    shape
        (height, width) in pixels; 0 for a side that is not stated.
    size_y, size_x
        Number and unit of the sides of a pixel; None if not stated.
    power
        Magnification of its objective, None if not stated, or why it is unknown.
    scanner
        Make and model of its microscope; None if not stated, or if there are several.
    """

    number: int
    total: int
    name: str
    pages: tuple[int, ...]
    elsewhere: bool
    planes: str
    shape: tuple[int, int]
    size_y: tuple[float, str] | None
    size_x: tuple[float, str] | None
    power: float | Disregarded | None
    scanner: Scanner | None = None


def ome_images(xml: str, file_name: str, pages: int) -> list[OmeImage]:
    """Return the images of a description; [] if it cannot be parsed, since the pixels may still be good.

    Parameters
    ----------
    xml
        The description in the file.
    file_name
        Name of the file without its folder; some descriptions identify files only by it.
    pages
        Number of pages in the file's main chain.
    """
    try:
        root = ET.fromstring(xml)
        images, own, found = list(_children(root, "Image")), _own(root, file_name), list[OmeImage]()
        objectives, taken = _objectives(root), _references(images, *REFERENCES)
        next_page = None if any(_name(element) == "TiffData" for element in root.iter()) else 0
        for number, image in enumerate(images, 1):
            power = _power(image, objectives, taken)
            found.append(_image(image, (number, len(images)), power, own, range(pages), next_page))
            found[-1] = found[-1]._replace(scanner=_scanner(root, image))
            next_page = None if next_page is None else next_page + len(found[-1].pages)
    except MALFORMED:
        return []
    return found


def positive(text: str | None) -> float | None:
    """Parse a finite number above 0; None for anything else."""
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


def _own(root: ET.Element, file_name: str) -> set[tuple[str, str]]:
    """Return the UUIDs and names that mean this file: those with its own UUID or, without one, its name."""
    named = {_file(element) for element in root.iter() if _name(element) == "UUID"}
    own = (root.get("UUID") or "").strip().casefold()
    if own in {uuid for uuid, _ in named}:
        return {one for one in named if one[0] == own}
    same_name = {one for one in named if one[1] == file_name.casefold()}
    renamed = not own and len({uuid for uuid, _ in named}) == 1
    return named if renamed else same_name


def _file(uuid: ET.Element) -> tuple[str, str]:
    """Return UUID and name of a file in lower case, since some writers capitalise only one of two mentions."""
    return str(uuid.text).strip().casefold(), uuid.get("FileName", "").casefold()


def _image(
    element: ET.Element,
    number: tuple[int, int],
    power: float | Disregarded | None,
    own: set[tuple[str, str]],
    pages: range,
    first: int | None,
) -> OmeImage:
    """Parse one image; `first` is its first page if the description does not mention pages."""
    pixels = next(_children(element, "Pixels"), element)
    samples = [int(channel.get("SamplesPerPixel", 1)) for channel in _children(pixels, "Channel")]
    sizes = {axis: max(1, int(pixels.get(f"Size{axis}", 1))) for axis in AXES}
    sizes["C"] = max(1, sizes["C"] // max([1, *samples[:1]]))
    planes, found, elsewhere = math.prod(sizes.values()), list[int](), False
    if first is not None and pixels is not element:
        found += pages[first : first + planes]
    for data in _children(pixels, "TiffData"):
        uuid = next(_children(data, "UUID"), None)
        if uuid is not None and _file(uuid) not in own:
            elsewhere = True
            continue
        begin = max(0, int(data.get("IFD", 0)))
        reason = int(data.get("PlaneCount", data.get("NumPlanes", 1 if "IFD" in data.attrib else planes)))
        found += pages[begin : begin + max(0, reason)]
    return OmeImage(
        *number,
        element.get("Name", ""),
        tuple(dict.fromkeys(found))[:planes],
        elsewhere,
        next((AXES[axis] for axis, size in sizes.items() if size > 1), "planes"),
        (_whole(pixels.get("SizeY")), _whole(pixels.get("SizeX"))),
        _size(pixels, "Y"),
        _size(pixels, "X"),
        power,
    )


def _size(pixels: ET.Element, axis: str) -> tuple[float, str] | None:
    number = positive(pixels.get(f"PhysicalSize{axis}"))
    return None if number is None else (number, pixels.get(f"PhysicalSize{axis}Unit") or "µm")


def _scanner(root: ET.Element, image: ET.Element) -> Scanner | None:
    """Return the microscope of the instrument that an image refers to, or of the file if it refers to none."""
    wanted = _references([image], "InstrumentRef")
    instruments = [one for one in _children(root, "Instrument") if not wanted or one.get("ID") in wanted]
    scopes = [scope for instrument in instruments for scope in _children(instrument, "Microscope")]
    found = {scanner_of(scope.get("Manufacturer"), scope.get("Model")) for scope in scopes}
    return next(iter(found)) if len(found) == 1 else None


def _objectives(root: ET.Element) -> list[tuple[str | None, ET.Element]]:
    """Return all objectives, each with the ID of its instrument."""
    instruments = [one for one in root.iter() if _name(one) == "Instrument"]
    return [
        (instrument.get("ID"), one)
        for instrument in instruments
        for one in instrument.iter()
        if _name(one) == "Objective"
    ]


def _references(images: Sequence[ET.Element], *names: str) -> set[str | None]:
    return {child.get("ID") for image in images for child in _children(image, *names)}


def _power(
    image: ET.Element, objectives: Sequence[tuple[str | None, ET.Element]], taken: set[str | None]
) -> float | Disregarded | None:
    """Return the magnification of the objective of an image, or of its instrument or file if it names none.

    Parameters
    ----------
    image
        The image.
    objectives
        All objectives, each with the ID of its instrument.
    taken
        IDs of the objectives that images refer to; one that only other images name does not count.
    """
    wanted, instruments = _references([image], *REFERENCES), _references([image], "InstrumentRef")
    own = [one for _, one in objectives if one.get("ID") in wanted]
    if not wanted:
        own = [one for instrument, one in objectives if instrument in instruments or not instruments]
    if not own and (wanted or instruments):
        return Disregarded("the metadata name an objective for this image that they do not describe")
    if not wanted and own and all(one.get("ID") in taken for one in own):
        return Disregarded("the metadata name their objective only for another image")
    powers = [positive(one.get("NominalMagnification") or one.get("CalibratedMagnification")) for one in own]
    if len(set(powers)) < 2:
        return next(iter(powers), None)
    named = " and ".join(sorted({f"{power:g}x" if power else "one without a magnification" for power in powers}))
    return Disregarded(f"the metadata have {len(powers)} objectives ({named}) and do not say which one took this image")
