"""Which images OME metadata describe, and which pages of this file hold them: a set of files shares one description."""

import copy
import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import NamedTuple

MALFORMED = (ET.ParseError, ValueError, KeyError, TypeError)
AXES = {"Z": "focal planes", "T": "time points", "C": "groups of channels"}


class OmeImage(NamedTuple):
    """One image of the description.

    Parameters
    ----------
    number, total
        Which of how many images it is, from 1.
    name
        As the description has it.
    pages
        Pages of this file that are its planes; () where other files hold it.
    elsewhere
        Whether planes of it are in other files.
    planes
        What its planes are where there are several, such as "focal planes".
    """

    number: int
    total: int
    name: str
    pages: tuple[int, ...]
    elsewhere: bool
    planes: str


def ome_images(xml: str, file_name: str, pages: int) -> list[OmeImage]:
    """List the images of a description; [] where it cannot be understood.

    Parameters
    ----------
    xml
        The description in the file.
    file_name
        The file's name without its folder: some descriptions name files by it alone.
    pages
        Number of pages in the file's main chain.
    """
    try:
        root = ET.fromstring(xml)
        elements, own = _images(root), _own(root, file_name)
        return [_image(element, n, len(elements), own, pages) for n, element in enumerate(elements, 1)]
    except MALFORMED:
        return []


def description_of(xml: str, image: OmeImage) -> str:
    """Return the description with that one image alone, so that no other's pixel size or objective can be taken."""
    root = copy.deepcopy(ET.fromstring(xml))
    for number, element in enumerate(_images(root), 1):
        if number != image.number:
            root.remove(element)
    return ET.tostring(root, encoding="unicode")


def _images(root: ET.Element) -> list[ET.Element]:
    return list(_children(root, "Image"))


def _children(element: ET.Element, name: str) -> Iterator[ET.Element]:
    return (child for child in element if child.tag.rpartition("}")[2] == name)


def _own(root: ET.Element, file_name: str) -> set[tuple[str, str]]:
    """UUID and file name by which the description means this file: its UUID counts, and its name where it has none."""
    named = {
        (str(element.text).strip(), element.get("FileName", ""))
        for element in root.iter()
        if element.tag.rpartition("}")[2] == "UUID"
    }
    own = root.get("UUID")
    if own in {uuid for uuid, _ in named}:
        return {one for one in named if one[0] == own}
    same_name = {one for one in named if one[1].casefold() == file_name.casefold()}
    renamed = own is None and len({uuid for uuid, _ in named}) == 1
    return named if renamed else same_name


def _image(element: ET.Element, number: int, count: int, own: set[tuple[str, str]], pages: int) -> OmeImage:
    pixels = next(_children(element, "Pixels"), element)
    samples = [int(channel.get("SamplesPerPixel", 1)) for channel in _children(pixels, "Channel")]
    sizes = {axis: max(1, int(pixels.get(f"Size{axis}", 1))) for axis in AXES}
    sizes["C"] = max(1, sizes["C"] // max([1, *samples[:1]]))
    planes, found, elsewhere = math.prod(sizes.values()), list[int](), False
    for data in _children(pixels, "TiffData"):
        uuid = next(_children(data, "UUID"), None)
        if uuid is not None and (str(uuid.text).strip(), uuid.get("FileName", "")) not in own:
            elsewhere = True
            continue
        first = max(0, int(data.get("IFD", 0)))
        said = int(data.get("PlaneCount", data.get("NumPlanes", 1 if "IFD" in data.attrib else planes)))
        found += range(first, min(first + said, pages))
    kind = next((AXES[axis] for axis, size in sizes.items() if size > 1), "planes")
    return OmeImage(number, count, element.get("Name", ""), tuple(dict.fromkeys(found))[:planes], elsewhere, kind)
