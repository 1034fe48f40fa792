"""Find the glass of a brightfield picture, whatever its tint, and bring the picture to what white glass would give."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

WHITE_GLASS = 243.0  # grey value that glass is brought to: what most scanners give for it
FILL = 251  # no channel below it: what a scanner fills with where it did not scan, or overexposed glass
BLACK_EDGE = 40  # no channel above it, joined to the edge of the picture: the frame of a scan
DARKEST_GLASS = 150  # the darkest channel of a tinted glass; below it, smooth colour is stain or pen
MAX_MAGENTA = 9  # grey values that green is below red and blue in glass: above it, smooth colour is pale tissue
FLAT = (0.004, 0.009)  # optical density: RMS between 5 and 17 px below which a place is flat, by the picture's noise
MIN_GLASS = 0.01  # share of the picture: from less, no colour of glass is concluded
MIN_GLASS_BY_TINT = 0.003  # of the picture, for each grey value of tint: pale smooth tissue is tinted too
DENSER = 0.3  # optical density above pink flat places from which they may be glass after all
MIN_TISSUE = 0.02  # share of the picture that is as dense
MODE_STEP = 8  # grey values: side of the bins in which colours are counted
MODE_SHARE = 0.1  # of the flat pixels: the brightest colour that has as many is the glass
NEAR = 7  # grey values from the glass around it at which a flat pixel counts as glass too: light falls off slowly
GROWTH = 12  # rounds in which glass grows along its own gradient
BAND = 512  # rows that are worked on at a time
COARSE = 4  # px of that picture, side of the cells in which its light is followed
SMALL = 400  # px: longer side of the picture that the glass is sought in


class Glass(NamedTuple):
    """The glass of a picture."""

    field: Floats | None
    """(h', w', 3) colour that the glass has or would have, coarsely; None where no glass can be told from tissue."""
    black: Mask
    """(h, w): the black frame of a scan."""
    is_filled: bool
    """Whether nothing in the picture can be glass: tissue fills it."""


def find_glass(smooth: NDArray[np.uint8]) -> Glass:
    """Estimate the colour of the glass at every pixel of a picture of about 4 to 16 um/px.

    Glass is bright and flat: it has noise and slow gradients, no structure. Of several flat colours the brightest one
    that is common is the glass; white fill counts only where there is nothing else.

    Parameters
    ----------
    smooth
        (h, w, 3) pixels, without their finest noise.
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
        return Glass(None, black, not fill.any() and not _lies_on(small[usable], small[flat]))
    flat &= ~pink
    colour = _brightest_mode(small[flat])
    if np.count_nonzero(flat) < MIN_GLASS_BY_TINT * np.ptp(colour) * scanned:
        return Glass(None, black, False)
    small, flat = small[::COARSE, ::COARSE], flat[::COARSE, ::COARSE]
    field = np.broadcast_to(colour, small.shape)
    for _ in range(GROWTH):
        known = flat & (np.abs(small - field).max(2) <= NEAR)
        if not known.any():
            return Glass(None, black, False)
        field = _spread(small, known, tuple(np.median(small[known], 0)))
    return Glass(np.asarray(field), black, False)


def as_on_white_glass(smooth: NDArray[np.uint8], field: Floats | None) -> NDArray[np.uint8]:
    """Bring a picture to the colours that it would have on white glass; as it is where the glass is not known."""
    if field is None:
        return smooth.copy()
    gain = WHITE_GLASS / field
    rows, columns = (
        np.arange(length) * size // length for length, size in zip(smooth.shape[:2], field.shape[:2], strict=True)
    )
    lit = np.empty_like(smooth)
    for y in range(0, len(smooth), BAND):  # in bands: in floats, a whole slide would take gigabytes
        here = slice(y, y + BAND)
        lit[here] = np.clip(np.rint(smooth[here] * gain[rows[here]][:, columns]), 0, 255)
    return lit


def _flat(small: Floats) -> Mask:
    """Mark where there is no structure between 5 and 17 px above the picture's noise."""
    density = -np.log((small + 1) / 256)
    fine = _blur(density, 5)
    structure = np.sqrt(_blur(((fine - _blur(density, 17)) ** 2).mean(2), 9))
    noise = float(np.median(np.abs(density - _blur(density, 3)))) * 1.48
    return np.asarray(structure < np.clip(2 * noise, *FLAT))


def _lies_on(pixels: Floats, flat: Floats) -> bool:
    """Whether part of a picture is far denser than its flat places, as tissue is than glass."""
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
    """Carry the colour of the known glass over the picture; where none is near, it is the typical one."""
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
