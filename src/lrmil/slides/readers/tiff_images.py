"""Find the image of a TIFF that is the slide, and the pages that may be its levels.

The pages are examined one by one. The series of tifffile skip levels with unexpected factors, take a page of an SVS for
a thumbnail because of its position, and follow OME metadata into other files.
"""

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import tifffile

from lrmil.errors import SlideError
from lrmil.slides.readers.ome_xml import OmeImage, ome_images
from lrmil.slides.readers.protocol import ASSOCIATED, is_associated, no_scan, scene_note, several_planes
from lrmil.slides.resolution import Disregarded

RGB, YCBCR = 2, 6  # PhotometricInterpretation
OLD_JPEG, JPEG = 6, 7  # Compression: the two that tifffile converts from YCbCr
JPEG_2000 = (34712, 33003, 33004, 33005)  # and those that are converted in this package
REDUCED, MASK, MACRO = 1, 4, 8  # bits of NewSubfileType; Aperio marks its macro photo by 9
PAGE_NAME, NDPI_LENS = 285, 65421  # tags; Hamamatsu's macro photo has the lens -1, its map -2
MAX_SUBIFDS = 64
MAX_AREA_RATIO = 100  # an image of a plain TIFF with so many times fewer pixels than the main one is not a scan
ASSOCIATED_LINE = re.compile(
    rf"^\W*({ASSOCIATED})(\s*image)?(\s+\d+\s*x\s*\d+)?\s*(\||$)", re.IGNORECASE | re.MULTILINE
)
A_NAME = re.compile(r"[^{<=|\r\n]{1,60}")  # a description that is only a name
NAME_IN_TEXT = re.compile(r"<ImageType>([^<]*)<|\"name\":\s*\"([^\"]*)\"", re.IGNORECASE)
APERIO = "Aperio"  # begins the description of every image in an Aperio file
STACK_IN_TEXT = re.compile(r"^(?:slices|frames)=(\d{1,9})", re.MULTILINE)  # as ImageJ writes it
SHAPE_IN_TEXT = re.compile(r"\{\"shape\": \[([0-9, ]{1,99})\]")  # as tifffile writes it
MIN_FACTOR = 1.2  # of a level that is not marked as a level
SIMILAR = 0.02  # relative difference in aspect ratio between levels
OF_OTHERS = Disregarded("the OME metadata describe no page of this file, perhaps because it was renamed")
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, OSError, ArithmeticError, RuntimeError)


class TiffSlide(NamedTuple):
    """The pages of the image that is read.

    Parameters
    ----------
    pages
        Full resolution first, then the pages that may be its levels, larger first.
    unmarked
        Indices in `pages` of those that may also be levels of another image, or no levels.
    ome
        OME metadata of the image; None if there are none, or why they do not describe it.
    notes
        Sentences that a user must know.
    """

    pages: list[tifffile.TiffPage]
    unmarked: tuple[int, ...]
    ome: OmeImage | Disregarded | None
    notes: tuple[str, ...]


class _Picture(NamedTuple):
    page: tifffile.TiffPage
    planes: int = 1
    kind: str = "focal planes"
    ome: OmeImage | None = None


def find_slide(path: object, tif: tifffile.TiffFile) -> TiffSlide:
    """Find the largest image of a TIFF that is not a label, macro photo or thumbnail, and the pages of its pyramid.

    Parameters
    ----------
    path
        The file, for messages.
    tif
        The open file.

    Raises
    ------
    SlideError
        If there is none, or it has several planes.
    ValueError
        If every page has a side of 0 pixels.
    """
    chain = _chain(tif)
    sized = [page for page in chain if page.imagelength > 0 and page.imagewidth > 0]
    if chain and not sized:
        raise ValueError("a side of 0 pixels")
    if not sized:
        raise SlideError(f"The TIFF {path} has no image. Check that this is the right file.")
    described = ome_images(tif.ome_metadata or "", tif.filename, len(chain)) if tif.is_ome else []
    own = [_Picture(chain[one.pages[0]], len(one.pages), one.planes, one) for one in described if one.pages]
    own = [picture for picture in own if picture.page in sized]
    pictures = _scans_of_ome(own, tif.filename) if own else _scans(sized, is_svs=tif.is_svs)
    if not pictures:
        raise no_scan(path)
    main = max(pictures, key=lambda picture: _area(picture.page))
    volume = main.page.imagedepth > 1 and main.page.photometric == RGB
    if main.planes > 1 and (is_rgb(main.page) or volume):
        raise several_planes(path, main.planes, main.kind)
    others = [page for page in sized if page.index not in [one.page.index for one in (main, *own)]]
    levels, unmarked = _levels(main, others, pictures, is_ome=bool(own), by_size=tif.is_svs or tif.is_ndpi)
    pages = [main.page, *levels, *unmarked]
    order = sorted(range(len(pages)), key=lambda position: (position > 0, -pages[position].imagelength))
    loose = tuple(rank for rank, position in enumerate(order) if position > len(levels))
    ome = main.ome or (OF_OTHERS if tif.is_ome else None)
    notes = _set_notes(main.ome, described) or _scene_notes(main, pictures, levels, is_ome=bool(own))
    return TiffSlide([pages[position] for position in order], loose, ome, notes)


def is_rgb(page: tifffile.TiffPage) -> bool:
    """Return whether a page decodes to interleaved 8-bit RGB pixels, with or without alpha."""
    convertible = int(page.compression) in (OLD_JPEG, JPEG, *JPEG_2000)
    colours = page.photometric == RGB or (page.photometric == YCBCR and convertible)
    samples = (3, 4) if page.photometric == RGB else (3,)  # the fourth is alpha, which must be opaque
    return bool(page.axes == "YXS" and page.shape[2] in samples and page.dtype == np.uint8 and colours)


def _chain(tif: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """Return the pages that can be loaded; tifffile logs an error where their chain ends early."""
    found = list[tifffile.TiffPage]()
    try:
        found.extend(page.aspage() for page in tif.pages)
    except MALFORMED:
        if not found:
            raise
    return found


def _area(page: tifffile.TiffPage) -> int:
    return int(page.imagelength) * int(page.imagewidth)


def _scans_of_ome(own: Sequence[_Picture], file_name: str) -> list[_Picture]:
    """Return the images that are not associated ones by name or mark; of several, the file's own name is ignored."""
    file = re.compile(rf"^{re.escape(file_name.partition('.')[0])}(?![a-z])", re.IGNORECASE)
    found = list[_Picture]()
    for picture in own:
        name = picture.ome.name if picture.ome else ""
        marked = picture.page.subfiletype & (REDUCED | MASK | MACRO)
        if not marked and not is_associated(file.sub("", name) if len(own) > 1 else name):
            found.append(picture)
    # A photo of the slide usually has no pixel size, whatever its name.
    return [picture for picture in found if picture.ome and picture.ome.size_x] or found


def _scans(pages: Sequence[tifffile.TiffPage], *, is_svs: bool) -> list[_Picture]:
    """Return the images of a TIFF without OME metadata that may be the scan, each with its number of planes."""
    named = [page for page in pages if not _is_named_associated(page)]
    # Scans are tiled; a page in strips after a tiled page is a label or a photo, whatever its name.
    tiled = bool(named) and named[0].is_tiled
    fit = [page for page in named if page.is_tiled or not tiled]
    if is_svs and pages[0].is_tiled:
        fit = [page for page in fit if page.is_tiled]
    if is_svs:  # an Aperio scan has a description; a page without one is not a scan, or was saved by other software
        fit = [page for page in fit if str(page.description).startswith(APERIO)] or fit
    whole = [page for page in fit if not page.subfiletype & REDUCED]
    found = list[_Picture]()
    for page in whole or [page for page in fit if page.is_tiled]:
        same = [other for other in whole if other.shape == page.shape and other.photometric == page.photometric]
        if len(same) > 1:
            found.append(_Picture(page, len(same), "focal planes, or other images of the same size"))
        else:
            found.append(_Picture(page, _stacked(page)))
    return found


def _is_named_associated(page: tifffile.TiffPage) -> bool:
    """Return whether the metadata of a page name or mark it as label, macro photo, thumbnail, mask or map."""
    lens = page.tags.valueof(NDPI_LENS)
    if page.subfiletype & (MASK | MACRO) or (isinstance(lens, int | float) and lens < 0):
        return True
    text = str(page.description or "").strip()
    names = [str(page.tags.valueof(PAGE_NAME) or ""), text if A_NAME.fullmatch(text) else ""]
    names += ["".join(groups) for groups in NAME_IN_TEXT.findall(text)]
    return any(map(is_associated, names)) or ASSOCIATED_LINE.search(text) is not None


def _stacked(page: tifffile.TiffPage) -> int:
    """Return the number of planes stored after one page, as tifffile and ImageJ write them."""
    text = str(page.description or "")
    depths = [int(page.imagedepth), *(int(count) for count in STACK_IN_TEXT.findall(text) if page.is_imagej)]
    if shape := SHAPE_IN_TEXT.match(text):
        depths.append(math.prod(map(int, shape[1].split(","))) // math.prod(page.shape))
    return max(depths)


def _levels(
    main: _Picture,
    pages: Sequence[tifffile.TiffPage],
    scans: Sequence[_Picture],
    *,
    is_ome: bool,
    by_size: bool,
) -> tuple[list[tifffile.TiffPage], list[tifffile.TiffPage]]:
    """Return the pages that are certainly levels of the main image, and those that may be.

    Parameters
    ----------
    main
        The main image.
    pages
        The other pages of the file, without those that OME metadata describe.
    scans
        All images that may be scans.
    is_ome
        Whether OME metadata describe the main image.
    by_size
        Whether this format does not mark levels.
    """
    others = [
        page for page in pages if _area(page) < _area(main.page) and is_rgb(page) and not _is_named_associated(page)
    ]
    if is_ome or not by_size:
        marked = [page for page in others if page.subfiletype & REDUCED and _follows(page, main, scans)]
    else:
        marked = [page for page in others if page.is_tiled or not main.page.is_tiled]
    unmarked = [page for page in others if page not in marked and not page.subfiletype & REDUCED]
    unmarked = [] if is_ome else [page for page in unmarked if page.is_tiled or not main.page.is_tiled]
    within = [page for page in _subifds(main.page) if is_rgb(page)]
    shrunken = [page for page in unmarked if _is_shrunken(main.page, page)]
    if len(scans) > 1 and (is_ome or not by_size):  # a marked page may be a level of another scan
        return within, [*marked, *shrunken]
    return [*within, *marked], shrunken


def _follows(page: tifffile.TiffPage, main: _Picture, scans: Sequence[_Picture]) -> bool:
    """Return whether a reduced page belongs to the main image: the levels of each scan follow it."""
    starts = sorted(one.page.index for one in scans if not _is_shrunken(main.page, one.page))
    ends = dict(pairwise([*starts, math.inf]))
    return len(starts) < 2 or bool(main.page.index < page.index < ends.get(main.page.index, math.inf))


def _subifds(page: tifffile.TiffPage) -> list[tifffile.TiffPage]:
    found = list[tifffile.TiffPage]()
    for number, offset in enumerate((page.subifds or ())[:MAX_SUBIFDS]):
        try:
            page.parent.filehandle.seek(offset)
            inner = tifffile.TiffPage(page.parent, (page.index, number))
        except MALFORMED as error:
            tifffile.logger().error("%r cannot be read: %r", page.parent, error)  # as tifffile does before it continues
            continue
        if 0 < _area(inner) < _area(page):
            found.append(inner)
    return found


def _is_shrunken(main: tifffile.TiffPage, page: tifffile.TiffPage) -> bool:
    """Return whether an image may be the main one reduced: it is smaller with the same aspect ratio."""
    height, width = main.imagelength / page.imagelength, main.imagewidth / page.imagewidth
    return bool(min(height, width) > MIN_FACTOR and abs(height - width) < SIMILAR * height)


def _set_notes(image: OmeImage | None, described: Sequence[OmeImage]) -> tuple[str, ...]:
    """Return a note about parts in other files, if a set of files shares the metadata."""
    if image is not None and image.elsewhere:
        return ("Other planes of the image are in other files of its set; only the one in this file is read.",)
    if image is not None and not all(one.pages for one in described):
        count = f"scene {image.number} of {image.total}"
        return (f"The file belongs to a set with {image.total} scenes. Only the one in this file is read: {count}.",)
    return ()


def _scene_notes(
    main: _Picture, scans: Sequence[_Picture], levels: Sequence[tifffile.TiffPage], *, is_ome: bool
) -> tuple[str, ...]:
    """Return a note which of several scans is read: images like the main one that are not its levels."""
    numbers = [page.index for page in levels]
    scenes = [one for one in scans if one is main or (is_rgb(one.page) and one.page.index not in numbers)]
    if not is_ome:
        small = [one for one in scenes if _area(one.page) * MAX_AREA_RATIO <= _area(main.page)]
        small += [one for one in scenes if _is_shrunken(main.page, one.page)]
        scenes = [one for one in scenes if one not in small]
    return scene_note([one is main for one in scenes].index(True) + 1, len(scenes))
