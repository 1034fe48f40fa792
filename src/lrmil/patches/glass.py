"""Find the glass of a brightfield image, whatever its tint, and correct the image to white glass."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

WHITE_GLASS = 243.0  # grey value that glass is corrected to, as most scanners show it
FILL = 251  # no channel below it: areas that were not scanned, or overexposed glass
BLACK_EDGE = 40  # no channel above it, connected to the edge of the image: the frame of a scan
DARKEST_GLASS = 150  # lowest channel of tinted glass; darker smooth colour is stain or pen
MAX_MAGENTA = 9  # grey values by which green may be below red and blue in glass; beyond it, smooth colour is tissue
FLAT = (0.004, 0.009)  # optical density: below this RMS between 5 and 17 px a pixel is flat; noise sets where between
MIN_GLASS = 0.01  # share of the image: with less, no colour of glass is estimated
MIN_GLASS_BY_TINT = 0.003  # share of the image per grey value of tint: pale smooth tissue is tinted too
DENSER = 0.3  # optical density by which tissue exceeds the flat areas, if these are glass
MIN_TISSUE = 0.02  # share of the image that is as dense
MODE_STEP = 8  # grey values: width of the bins in which colours are counted
MODE_SHARE = 0.1  # of the flat pixels: the brightest colour with at least this share is the glass
NEAR = 7  # grey values: a flat pixel this close to the glass around it is glass too, since light falls off slowly
GROWTH = 12  # rounds in which the glass grows along its gradient
BAND = 512  # rows that are corrected at a time
COARSE = 4  # px of the small image: side of the cells of the glass field
SMALL = 400  # px: longer side of the image in which the glass is searched


class Glass(NamedTuple):
    """The glass of an image."""

    field: Floats | None
    """(h', w', 3) coarse colour of the glass, continued under tissue; None if glass cannot be told from tissue."""
    black: Mask
    """(h, w) bool: the black frame of a scan."""
    is_filled: bool
    """True if tissue fills the image, so that nothing in it can be glass."""


def find_glass(smooth: NDArray[np.uint8]) -> Glass:
    """Estimate the colour of the glass at every pixel of an image of about 4 to 16 um/px.

    Glass is bright and flat: it has noise and slow gradients, but no structure. Of several flat colours, the brightest
    common one is the glass. White fill counts only if there is nothing else.

    Parameters
    ----------
    smooth
        (h, w, 3) uint8 RGB, smoothed against noise.
    """
    black = _joined_to_edge(smooth.max(2) < BLACK_EDGE)
    step = max(1, -(-max(smooth.shape[:2]) // SMALL))
    small = smooth[::step, ::step].astype(np.float32)
    fill = small.min(2) >= FILL
    usable = ~ndimage.binary_dilation(fill | black[::step, ::step], iterations=3)
    flat = _flat(small) & usable & (small.min(2) >= DARKEST_GLASS)
    pink = np.minimum(small[..., 0], small[..., 2]) - small[..., 1] > MAX_MAGENTA
    scanned = np.count_nonzero(usable)
    if np.count_nonzero(flat & ~pink) < max(MIN_GLASS * scanned, 32):
        return Glass(None, black, not fill.any() and not _shows_tissue(small[usable], small[flat]))
    flat &= ~pink
    colour = _brightest_mode(small[flat])
    if np.count_nonzero(flat) < MIN_GLASS_BY_TINT * np.ptp(colour) * scanned:
        return Glass(None, black, is_filled=False)
    small, flat = small[::COARSE, ::COARSE], flat[::COARSE, ::COARSE]
    field = np.broadcast_to(colour, small.shape)
    for _ in range(GROWTH):
        known = flat & (np.abs(small - field).max(2) <= NEAR)
        if not known.any():
            return Glass(None, black, is_filled=False)
        field = _spread(small, known, tuple(np.median(small[known], 0)))
    return Glass(np.asarray(field), black, is_filled=False)


def correct_to_white_glass(smooth: NDArray[np.uint8], field: Floats | None) -> NDArray[np.uint8]:
    """Correct an image to the colours that it would have on white glass.

    Parameters
    ----------
    smooth
        (h, w, 3) uint8 RGB.
    field
        (h', w', 3) colour of the glass, as in `Glass`; with None, a copy of the image is returned.

    Returns
    -------
    (h, w, 3) uint8, a new array.
    """
    if field is None:
        return smooth.copy()
    gain = WHITE_GLASS / field
    rows, columns = (
        np.arange(length) * size // length for length, size in zip(smooth.shape[:2], field.shape[:2], strict=True)
    )
    lit = np.empty_like(smooth)
    for y in range(0, len(smooth), BAND):  # in bands, since a whole slide in floats would take gigabytes
        here = slice(y, y + BAND)
        lit[here] = np.clip(np.rint(smooth[here] * gain[rows[here]][:, columns]), 0, 255)
    return lit


def _flat(small: Floats) -> Mask:
    """Mark pixels without structure between 5 and 17 px beyond the noise of the image."""
    density = -np.log((small + 1) / 256)
    fine = _blur(density, 5)
    structure = np.sqrt(_blur(((fine - _blur(density, 17)) ** 2).mean(2), 9))
    noise = float(np.median(np.abs(density - _blur(density, 3)))) * 1.48
    return np.asarray(structure < np.clip(2 * noise, *FLAT))


def _shows_tissue(pixels: Floats, flat: Floats) -> bool:
    """Return True if part of an image is far denser than its flat areas, as tissue is than glass."""
    if not len(flat):
        return False
    return float((pixels.mean(1) < np.median(flat.mean(1)) * np.exp(-DENSER)).mean()) > MIN_TISSUE


def _brightest_mode(colours: Floats) -> Floats:
    _, where, counts = np.unique(
        np.rint(colours / MODE_STEP).astype(np.int64) @ [1 << 16, 1 << 8, 1], return_inverse=True, return_counts=True
    )
    candidates = [colours[where == index] for index in np.flatnonzero(counts >= MODE_SHARE * counts.sum())]
    if not candidates:
        candidates = [colours[where == counts.argmax()]]
    centre = max((np.median(candidate, 0) for candidate in candidates), key=lambda colour: float(colour.sum()))
    near = np.abs(colours - centre).max(1) <= MODE_STEP
    return np.asarray(np.median(colours[near], 0), np.float32)


def _spread(small: Floats, known: Mask, typical: tuple[float, ...]) -> Floats:
    """Extend the colour of the known glass over the image; far from any, it becomes the typical colour."""
    sigma = max(small.shape[:2]) / 12
    weight = ndimage.gaussian_filter(known.astype(np.float32), sigma, truncate=3)[..., None]
    total = ndimage.gaussian_filter(np.where(known[..., None], small, 0), (sigma, sigma, 0), truncate=3)
    faint = 0.002
    return np.asarray((total + faint * np.asarray(typical, np.float32)) / (weight + faint), np.float32)


def _blur(values: Floats, side: int) -> Floats:
    size = (side, side) + (1,) * (values.ndim - 2)
    return np.asarray(ndimage.uniform_filter(values, size, mode="reflect"))


def _joined_to_edge(mask: Mask) -> Mask:
    if not mask.any():
        return mask
    edge = np.zeros_like(mask)
    edge[[0, -1]] = edge[:, [0, -1]] = True
    return np.asarray(ndimage.binary_propagation(mask & edge, mask=mask))
