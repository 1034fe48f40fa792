"""Tell tissue from glass and pen by colour: stained tissue is coloured, glass is not, pen has colours stains lack."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage
from skimage.filters import threshold_otsu

from lrmil.raster import Raster

if TYPE_CHECKING:
    from lrmil.slide import Slide

Channel = NDArray[np.int16]

TISSUE_MPP = 8.0  # um/px: a cell is one or two pixels, so a mask of a whole slide has a few million
# Otsu's threshold splits whatever it is given. These guards on chroma (max - min of R, G, B) keep it from cutting
# an image that is all tissue in half, or from finding tissue in the noise of bare glass (JPEG noise stays below 10).
CHROMA_GUARD = (12.0, 26.0)
SMOOTHING = 1  # radius in pixels, against JPEG noise
BLACK = 75  # no channel above it: felt pen or dust; at 8 um/px not even dense nuclei are as dark
THIN_INK = 8  # chroma down to which ink is followed from where it is full: it runs into the glass
PEN_HALO = 3  # pixels around pen, where its colour runs into that of the glass
SMALLEST_PIECE = 64  # pixels; 4,096 um2 at 8 um/px, less than any biopsy fragment
LARGEST_GAP = 64  # pixels; smaller holes are lumens and fat, which belong to the tissue


class Tissue(NamedTuple):
    """Where the tissue of a slide is, and where nobody can tell; no cell is both."""

    mask: Raster
    """bool: tissue."""
    unread: Raster | None
    """bool: could not be read; None where the mask was given by someone who knows."""


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
    mask = tissue_mask(array) & ~failed
    return Tissue(*(Raster.on_lattice(of, cell_level0=cell_level0, origin_yx=(0.0, 0.0)) for of in (mask, failed)))


def tissue_mask(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Mark the tissue in a brightfield image of about 4 to 16 um/px.

    Parameters
    ----------
    rgb
        (h, w, 3) pixels.

    Returns
    -------
    (h, w) bool: True on tissue, False on glass and on pen marks of any colour.
    """
    smooth = np.asarray(Image.fromarray(rgb).filter(ImageFilter.BoxBlur(SMOOTHING)))
    r, g, b = (np.ascontiguousarray(smooth[..., channel]).astype(np.int16) for channel in range(3))
    brightest = np.maximum(np.maximum(r, g), b)
    chroma = brightest - np.minimum(np.minimum(r, g), b)
    pen = _pen(r, g, b, brightest, chroma)
    coloured = ~pen & (chroma > _chroma_threshold(chroma[~pen]))
    closed = ndimage.binary_closing(np.pad(coloured, 2, mode="edge"), iterations=2)[2:-2, 2:-2] & ~pen
    whole = closed | (_pieces_below(~closed, LARGEST_GAP) & ~pen)
    return np.asarray(whole & ~_pieces_below(whole, SMALLEST_PIECE))


def _pen(r: Channel, g: Channel, b: Channel, brightest: Channel, chroma: Channel) -> NDArray[np.bool_]:
    """Mark ink: what haematoxylin, eosin and DAB do not make alone or mixed, with its halo on the glass."""
    green = _keep_large((g - r > 10) & (g - r > 0.15 * brightest))  # and cyan: stains let red through as well as green
    blue = _keep_large((b > 100) & (b - np.maximum(r, g) > 0.6 * brightest))
    red = _keep_large((r > 100) & (r - np.maximum(g, b) > 0.65 * brightest))  # bright bone and blood reach 0.62
    ink = blue | _keep_large(brightest < BLACK)
    ink |= _followed(green, (g - r > 3) & (chroma > THIN_INK))
    if red.any():
        ink |= _followed(red, _reddish(r, g, b) & (chroma > THIN_INK))
    return np.asarray(ndimage.binary_dilation(ink, iterations=PEN_HALO) if ink.any() else ink)


def _reddish(r: Channel, g: Channel, b: Channel) -> NDArray[np.bool_]:
    """Mark colours that thin red ink shares with some bone and blood: it counts as ink only where it joins full ink.

    In optical density, red ink absorbs blue nearly as much as green, and hardly any red: measured on real thumbnails,
    b/g 0.75 to 0.9 and r/g below 0.3, where haematoxylin and eosin have b/g 0.5 to 0.65.
    """
    density = -np.log(np.arange(1, 257, dtype=np.float32) / 256)
    return np.asarray((density[b] > 0.7 * density[g]) & (density[r] < 0.35 * density[g]))


def _followed(full: NDArray[np.bool_], thin: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(ndimage.binary_propagation(full, mask=full | thin) if full.any() else full)


def _keep_large(ink: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return ink & ~_pieces_below(ink, SMALLEST_PIECE)  # a vessel or a fold is not a pen stroke


def _chroma_threshold(chroma: Channel) -> float:
    low, high = CHROMA_GUARD
    if chroma.size == 0 or float(chroma.max()) <= low:
        return low
    return float(np.clip(threshold_otsu(chroma), low, high))


def _pieces_below(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """Mark the connected pieces of fewer than `pixels` pixels."""
    if not mask.any():
        return mask
    labels, _ = ndimage.label(mask)
    small = np.bincount(labels.ravel()) < pixels
    small[0] = False
    return np.asarray(small[labels])
