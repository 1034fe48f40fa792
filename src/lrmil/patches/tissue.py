"""Tell tissue from glass and pen by colour: stained tissue is coloured, glass is not, pen has colours stains lack."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage
from skimage.filters import threshold_otsu

from lrmil.patches.glass import WHITE_GLASS, as_on_white_glass, find_glass
from lrmil.patches.pen import find_pen, pieces_below
from lrmil.raster import Raster

if TYPE_CHECKING:
    from lrmil.slides.slide import Slide

Channel = NDArray[np.int16]

TISSUE_MPP = 8.0  # um/px: a cell is one or two pixels, so a mask of a whole slide has a few million
# Otsu's threshold splits whatever it is given. These guards on chroma (max - min of R, G, B) keep it from cutting
# an image that is all tissue in half, or from finding tissue in the noise of bare glass (JPEG noise stays below 10).
CHROMA_GUARD = (12.0, 26.0)
CHROMA_OF_PALE = 10.0  # above it all is tissue in a picture without anything flat that may be glass: cut out of tissue
GREY_TISSUE = 205  # no channel above it, beside glass of 243: stains that make grey together, as blue and brown do
MIN_STRUCTURE = 2.0  # RMS in grey values within 5 px, of such tissue
SMOOTHING = 1  # radius in pixels, against JPEG noise
WORTH_SAYING = 0.001  # share of the slide that is pen or black
NEARLY_ALL = 0.98
MIN_PIECE = 64  # pixels; 4,096 um2 at 8 um/px, less than any biopsy fragment
MAX_GAP = 64  # pixels; smaller holes are lumens and fat, which belong to the tissue


class Tissue(NamedTuple):
    """Where the tissue of a slide is, and where nobody can tell; no cell is both."""

    mask: Raster
    """bool: tissue."""
    unread: Raster | None
    """bool: could not be read; None where the mask was given by someone who knows."""
    notes: tuple[str, ...] = ()
    """Sentences on what was left out, or on where the mask came from, which a user must know."""
    shares: str = ""
    """What the slide shows beside tissue, in percent; empty where the mask was given."""


class GivenMask(NamedTuple):
    """A tissue mask that was made elsewhere."""

    read: Callable[["Slide"], Raster]
    """Read it for an open slide; a `TissueError` where it is no mask of this slide."""
    note: str
    """Where it came from, in one sentence."""


class Segments(NamedTuple):
    """What an image shows; no pixel is two of these, and the rest is glass."""

    tissue: NDArray[np.bool_]
    pen: NDArray[np.bool_]
    black: NDArray[np.bool_]


def segment_tissue(slide: "Slide", *, mpp: float = TISSUE_MPP) -> Raster:
    """Find the tissue of a slide on a thumbnail of about `mpp` um/px.

    Parts of the thumbnail that cannot be read are not tissue; `find_tissue` tells which they are.

    Returns
    -------
    Raster of bool; its affine is exact.

    Raises
    ------
    ResolutionError
        If the slide's um/px is unknown.
    SlideError
        If nothing of the slide can be read.
    """
    return find_tissue(slide, mpp=mpp).mask


def find_tissue(slide: "Slide", *, mpp: float = TISSUE_MPP) -> Tissue:
    """Find the tissue of a slide as `segment_tissue` does, and what could not be read and may be tissue or not."""
    array, cell_level0, failed = slide.thumbnail(mpp)
    found = segment(array)
    mask = found.tissue & ~failed
    rasters = [Raster.on_lattice(of, cell_level0=cell_level0, origin_yx=(0.0, 0.0)) for of in (mask, failed)]
    shares = {name: float((of & ~failed).mean()) for name, of in found._asdict().items()}
    return Tissue(rasters[0], rasters[1], _notes(shares, float(failed.mean())), _left_out(shares, float(failed.mean())))


def tissue_of(slide: "Slide", given: Raster | GivenMask | None) -> Tissue:
    """Take the mask that was given for a slide, or find its tissue.

    Raises
    ------
    TissueError
        If the mask that was given cannot be used.
    """
    if given is None:
        return find_tissue(slide)
    if isinstance(given, Raster):
        return Tissue(given, None)
    return Tissue(given.read(slide), None, (given.note,))


def tissue_mask(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Mark the tissue in a brightfield image of about 4 to 16 um/px.

    Parameters
    ----------
    rgb
        (h, w, 3) pixels.

    Returns
    -------
    (h, w) bool: True on tissue, False on glass of any tint and on pen marks of any colour.
    """
    return segment(rgb).tissue


def segment(rgb: NDArray[np.uint8]) -> Segments:
    """Divide a brightfield image of about 4 to 16 um/px into tissue, pen, black and, for the rest, glass."""
    smooth = np.asarray(Image.fromarray(rgb).filter(ImageFilter.BoxBlur(SMOOTHING)))
    glass = find_glass(smooth)
    lit = as_on_white_glass(smooth, glass.field)
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
    """Mark what is dark, has structure and joins coloured tissue: shadows are smooth, dust and edges lie alone."""
    grey = ndimage.binary_opening((brightest < GREY_TISSUE) & ~excluded, iterations=2) & ~coloured
    if not grey.any():
        return np.asarray(grey)
    values = brightest.astype(np.float32)
    structure = ndimage.uniform_filter((values - ndimage.uniform_filter(values, 5)) ** 2, 9)
    grey &= structure > MIN_STRUCTURE**2
    return np.asarray(ndimage.binary_propagation(coloured, mask=coloured | grey) & grey)


def _notes(shares: dict[str, float], unread: float) -> tuple[str, ...]:
    """Say what was left out as pen or black, and warn of a slide that is all tissue or has none."""
    notes = []
    if shares["pen"] + shares["black"] >= WORTH_SAYING:
        notes.append(f"Left out of the tissue: {_left_out(shares, unread)} of the slide.")
    if shares["tissue"] > NEARLY_ALL * (1 - unread):
        notes.append("The whole slide counts as tissue: no glass was found. Check it, or give a mask.")
    elif not shares["tissue"]:
        notes.append(f"No tissue was found: {_left_out(shares, unread)}. Check the slide, or give a mask.")
    return tuple(notes)


def _left_out(shares: dict[str, float], unread: float) -> str:
    glass = 1 - unread - sum(shares.values())
    named = {"glass": max(glass, 0.0), "pen": shares["pen"], "black": shares["black"]}
    return ", ".join(f"{name} {100 * share:.1f} %" for name, share in named.items())


def _chroma_threshold(chroma: Channel) -> float:
    low, high = CHROMA_GUARD
    if chroma.size == 0 or float(chroma.max()) <= low:
        return low
    return float(np.clip(threshold_otsu(chroma), low, high))
