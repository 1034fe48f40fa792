"""Segment tissue by colour: stained tissue is coloured, glass is not, and pen has colours that stains lack."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage
from skimage.filters import threshold_otsu

from lrmil.errors import TissueError
from lrmil.patches.drawn_regions import Regions, RegionsUsed
from lrmil.patches.glass import WHITE_GLASS, correct_to_white_glass, find_glass
from lrmil.patches.pen import find_pen, pieces_below
from lrmil.raster import Raster
from lrmil.slides.failures import OWN_MASK

if TYPE_CHECKING:
    from lrmil.slides.slide import Slide

Channel = NDArray[np.int16]

TISSUE_MPP = 8.0  # um/px: the mask of a whole slide has a few million pixels
# Otsu's threshold splits any image. These limits on chroma (max - min of R, G, B) keep it from splitting an image that
# is all tissue, and from finding tissue in the noise of bare glass (JPEG noise stays below 10).
CHROMA_GUARD = (12.0, 26.0)
CHROMA_OF_PALE = 10.0  # threshold for an image without flat areas that may be glass: a crop of tissue
GREY_TISSUE = 205  # no channel above it (glass has 243): stains that mix to grey, such as blue and brown
MIN_STRUCTURE = 2.0  # RMS in grey values within 5 px of grey tissue
SMOOTHING = 1  # radius in pixels, against JPEG noise
WORTH_SAYING = 0.001  # share of the slide that is pen or black, from which a note says so
NEARLY_ALL = 0.98
MIN_PIECE = 64  # pixels; 4,096 um2 at 8 um/px, less than any biopsy fragment
MAX_GAP = 64  # pixels; smaller holes are lumens and fat, which are part of the tissue


class Tissue(NamedTuple):
    """Tissue mask, and mask of areas that could not be read. The two do not overlap."""

    mask: Raster
    """bool: tissue."""
    unread: Raster | None
    """bool: could not be read; None if the mask was given."""
    notes: tuple[str, ...] = ()
    """Sentences for the user: what was excluded, or where the mask came from."""
    shares: str = ""
    """Percentages of glass, pen and black; empty if the mask was given."""
    regions: RegionsUsed | None = None
    """The regions that limit the mask; None for the whole slide."""


class GivenMask(NamedTuple):
    """A tissue mask that was made elsewhere."""

    read: Callable[["Slide"], Raster]
    """Reads it for an open slide; raises `TissueError` if it is not a mask of this slide."""
    note: str
    """One sentence that names its origin."""


class Within(NamedTuple):
    """The tissue in regions that a person drew."""

    tissue: Raster | GivenMask | None
    """The mask of the whole slide; None finds it."""
    regions: Regions | Callable[["Slide"], Regions]
    """The regions, or what reads them for an open slide and raises `TissueError` if there are none of this slide."""


Given: TypeAlias = Raster | GivenMask | Within  # what may be given in place of finding all tissue


class Segments(NamedTuple):
    """Classes of pixels, each (h, w) bool; they do not overlap, and the rest is glass."""

    tissue: NDArray[np.bool_]
    pen: NDArray[np.bool_]
    black: NDArray[np.bool_]


def segment_tissue(slide: "Slide", *, mpp: float = TISSUE_MPP) -> Raster:
    """Find the tissue of a slide on a thumbnail.

    Unreadable areas are not tissue; `find_tissue` returns them too.

    Parameters
    ----------
    slide
        An open slide with a known resolution.
    mpp
        Approximate resolution of the thumbnail in um/px.

    Returns
    -------
    Raster
        bool; its affine is exact.

    Raises
    ------
    ResolutionError
        If the slide's um/px is unknown.
    SlideError
        If nothing of the slide can be read.
    """
    return find_tissue(slide, mpp=mpp).mask


def find_tissue(slide: "Slide", *, mpp: float = TISSUE_MPP) -> Tissue:
    """Find the tissue of a slide, and the areas that could not be read; arguments as in `segment_tissue`."""
    array, cell_level0, failed = slide.thumbnail(mpp)
    found = segment(array)
    mask = found.tissue & ~failed
    rasters = [Raster.on_lattice(of, cell_level0=cell_level0, origin_yx=(0.0, 0.0)) for of in (mask, failed)]
    shares = {name: float((of & ~failed).mean()) for name, of in found._asdict().items()}
    return Tissue(
        rasters[0], rasters[1], _notes(shares, float(failed.mean())), _not_tissue(shares, float(failed.mean()))
    )


def regions_of(slide: "Slide", given: Given | None) -> tuple[Raster | GivenMask | None, Regions | None]:
    """Return the mask and the regions that were given for an open slide, each None if it was not.

    Raises
    ------
    TissueError
        If the regions cannot be used.
    """
    if not isinstance(given, Within):
        return given, None
    regions = given.regions
    return given.tissue, regions if isinstance(regions, Regions) else regions(slide)


def tissue_of(slide: "Slide", given: Given | None) -> Tissue:
    """Return the tissue that was given for a slide, or find it.

    Parameters
    ----------
    slide
        An open slide with a known resolution.
    given
        A mask or where to read it, or regions that limit it; None finds the tissue.

    Raises
    ------
    TissueError
        If the mask or the regions cannot be used, or there is no tissue in these.
    """
    if isinstance(given, Within):
        mask, regions = regions_of(slide, given)
        return tissue_of(slide, mask) if regions is None else _within(tissue_of(slide, mask), regions)
    if given is None:
        return find_tissue(slide)
    if isinstance(given, Raster):
        return Tissue(given, None)
    return Tissue(given.read(slide), None, (given.note,))


def _within(found: Tissue, regions: Regions) -> Tissue:
    used, mask = regions.used, regions.inside(found.mask)
    if found.mask.array.any() and not mask.array.any():
        raise TissueError(f"There is no tissue {used.words}. Draw them on the tissue, or classify the whole slide.")
    unread = None if found.unread is None else regions.inside(found.unread)
    return found._replace(mask=mask, unread=unread, notes=(*found.notes, used.sentence), regions=used)


def tissue_mask(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Mark the tissue in a brightfield image of about 4 to 16 um/px.

    Parameters
    ----------
    rgb
        (h, w, 3) uint8 pixels.

    Returns
    -------
    NDArray
        (h, w) bool: True on tissue, False on glass of any tint and on pen marks of any colour.
    """
    return segment(rgb).tissue


def segment(rgb: NDArray[np.uint8]) -> Segments:
    """Segment a (h, w, 3) uint8 brightfield image of about 4 to 16 um/px into tissue, pen and black."""
    smooth = np.asarray(Image.fromarray(rgb).filter(ImageFilter.BoxBlur(SMOOTHING)))
    glass = find_glass(smooth)
    lit = correct_to_white_glass(smooth, glass.field)
    if glass.black.any():
        lit[glass.black] = round(WHITE_GLASS)
    pen = find_pen(lit)
    chroma = np.ptp(lit, axis=2).astype(np.int16)
    excluded = pen.ink | glass.black
    threshold = CHROMA_OF_PALE if glass.is_filled else _chroma_threshold(chroma[~excluded])
    coloured = ~excluded & (chroma > threshold)
    if glass.field is not None:
        coloured |= _grey_tissue(lit.max(2), coloured, excluded)
    closed = ndimage.binary_closing(np.pad(coloured, 2, mode="edge"), iterations=2)[2:-2, 2:-2] & ~excluded
    whole = closed | (pieces_below(~closed, MAX_GAP) & ~excluded)
    tissue = np.asarray(whole & ~pieces_below(whole, MIN_PIECE))
    black = glass.black | pen.black
    return Segments(tissue, pen.ink & ~black, black)


def _grey_tissue(
    brightest: NDArray[np.uint8], coloured: NDArray[np.bool_], excluded: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Mark dark pixels with structure next to coloured tissue; shadows are smooth, dust and edges are isolated."""
    grey = ndimage.binary_opening((brightest < GREY_TISSUE) & ~excluded, iterations=2) & ~coloured
    if not grey.any():
        return np.asarray(grey)
    values = brightest.astype(np.float32)
    structure = ndimage.uniform_filter((values - ndimage.uniform_filter(values, 5)) ** 2, 9)
    grey &= structure > MIN_STRUCTURE**2
    return np.asarray(ndimage.binary_propagation(coloured, mask=coloured | grey) & grey)


def _notes(shares: dict[str, float], unread: float) -> tuple[str, ...]:
    """Describe what was excluded as pen or black, and warn of a slide that is all tissue or has none."""
    notes = []
    if shares["pen"] + shares["black"] >= WORTH_SAYING:
        notes.append(f"Excluded from the tissue: {_not_tissue(shares, unread)} of the slide.")
    if shares["tissue"] > NEARLY_ALL * (1 - unread):
        notes.append(f"The whole slide is segmented as tissue: no glass was found. Check it, or {OWN_MASK}.")
    elif not shares["tissue"]:
        notes.append(f"No tissue was found: {_not_tissue(shares, unread)}. Check the slide, or {OWN_MASK}.")
    return tuple(notes)


def _not_tissue(shares: dict[str, float], unread: float) -> str:
    glass = 1 - unread - sum(shares.values())
    named = {"glass": max(glass, 0.0), "pen": shares["pen"], "black": shares["black"]}
    return ", ".join(f"{name} {100 * share:.1f} %" for name, share in named.items())


def _chroma_threshold(chroma: Channel) -> float:
    low, high = CHROMA_GUARD
    if chroma.size == 0 or float(chroma.max()) <= low:
        return low
    return float(np.clip(threshold_otsu(chroma), low, high))
