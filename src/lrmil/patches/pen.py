"""Distinguish pen from stain: both have any colour, but ink forms a few smooth strokes and stain has structure.

Colours that haematoxylin and eosin do not make are candidates. Each connected region of such a colour is judged by its
structure, its compactness, its surroundings, and the share of the stained area that has this colour.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lrmil.patches.glass import WHITE_GLASS

Channel = NDArray[np.int16]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

BLACK = 75  # no channel above it: felt pen or dust; at 8 um/px nuclei are rarely as dark
THIN_INK = 8  # chroma down to which ink is followed from full ink outwards, since its edge fades into the glass
PEN_HALO = 3  # pixels around pen, where its colour fades into the glass
MIN_MARK = 64  # pixels; smaller regions are vessels or folds
STAINED = 18  # grey values below white glass, in any channel, from which a pixel is not glass

# Limits for a region, measured on real pen marks and on real tissue recoloured with 20 published stain vectors:
RING = (4, 12, 40)  # px around it that are its surroundings: beyond its soft edge; least and greatest width
SMOOTH = 0.03  # RMS of its optical density within 7 px, over the mean: pen on glass 0.01 to 0.02, stain 0.06 to 0.2
NEARLY_SMOOTH = 0.065  # pen over tissue has 0.03 to 0.08
COMPACT = (0.86, 0.2)  # share of its closed outline that it fills; share of it deeper than 3 px
BESIDE = 0.2  # share of the surroundings that is stained; below it, the region is alone on the glass
TURN = 14.0  # degrees between optical densities of the region and its surroundings; more means ink over tissue
DARKER = 2.6  # times as dense as its surroundings: black ink over tissue
GREY = 12.0  # degrees between its optical density and grey: black ink; dense brown and blue stains have 20
EDGES = (4, 3, 2, 1)  # px from the outline at which structure is measured: the deepest that leaves enough pixels
SAME_PEN = 0.7  # share of a colour that is pen, above which its small regions are pen too
SCRAP = 0.1  # of the pen area: a region below it is small
MAX_PEN = 0.35  # of the stained area: one pen's colour rarely covers as much, a stain usually does
SMOOTH_FOR_STAIN = 0.1  # limit of structure for a colour that covers more
LARGE_MARK = 256  # pixels from which smoothness alone identifies pen; smaller pieces of tissue may be as smooth

# Optical density of every grey value; the offset limits the noise of black pixels.
DENSITY = np.maximum(-np.log((np.arange(256, dtype=np.float32) + 8) / (WHITE_GLASS + 8)), 0).astype(np.float32)


class Pen(NamedTuple):
    """Pen marks with their halo, each mask (h, w) bool."""

    ink: Mask
    black: Mask
    """The black part of `ink`, from a pen or from dust."""


def find_pen(rgb: NDArray[np.uint8]) -> Pen:
    """Find ink in a smoothed (h, w, 3) uint8 image on white glass."""
    r, g, b = (np.ascontiguousarray(rgb[..., channel]).astype(np.int16) for channel in range(3))
    brightest = np.maximum(np.maximum(r, g), b)
    darkest = np.minimum(np.minimum(r, g), b)
    faint = brightest - darkest > THIN_INK
    stained = darkest < WHITE_GLASS - STAINED
    ink = np.zeros(r.shape, bool)
    green = (g - r > 10) & (g - r > 0.15 * brightest)  # and cyan: haematoxylin and eosin transmit red as well as green
    blue = (b > 100) & (b - np.maximum(r, g) > 0.6 * brightest)
    red = (r > 100) & (r - np.maximum(g, b) > 0.65 * brightest)  # bright bone and blood reach 0.62
    ink |= _strokes(green, (g - r > 3) & faint, rgb, stained & ~ink)
    ink |= _strokes(blue, (b - np.maximum(r, g) > 0.45 * b) & faint, rgb, stained & ~ink)
    if red.any():
        ink |= _strokes(red, _reddish(r, g, b) & faint, rgb, stained & ~ink)
    black = _strokes(brightest < BLACK, None, rgb, stained & ~ink, black=True)
    ink |= black
    return Pen(np.asarray(ndimage.binary_dilation(ink, iterations=PEN_HALO) if ink.any() else ink), black)


def _strokes(full: Mask, thin: Mask | None, rgb: NDArray[np.uint8], stained: Mask, *, black: bool = False) -> Mask:
    """Mark the pen strokes among regions of a candidate colour, with the thin ink around them."""
    full = full & stained
    full &= ~pieces_below(full, MIN_MARK)
    if not full.any():
        return full
    whole = full if thin is None else np.asarray(ndimage.binary_propagation(full, mask=full | thin))
    labels, count = ndimage.label(whole)
    share = np.count_nonzero(whole) / np.count_nonzero(whole | stained)
    is_pen = np.zeros(count + 1, bool)
    for index, box in enumerate(ndimage.find_objects(labels), 1):
        wide = tuple(slice(max(side.start - RING[2], 0), side.stop + RING[2]) for side in box)
        own = labels[wide] == index
        others = stained[wide] & ~whole[wide]
        is_pen[index] = _is_pen(own, own & full[wide], others, rgb[wide], share, black=black)
    areas = np.bincount(labels.ravel())
    most = areas[is_pen].sum()
    if most > SAME_PEN * areas[1:].sum():  # small regions of the colour are pen too, mixed with other ink
        is_pen[1:] |= areas[1:] < SCRAP * most
    return np.asarray(is_pen[labels])


def _is_pen(whole: Mask, full: Mask, others: Mask, rgb: NDArray[np.uint8], share: float, *, black: bool) -> bool:
    """Return True if a region of a candidate colour is pen; `others` are stained pixels of other colours around it."""
    density = DENSITY[rgb]
    mean = density[full].mean(0)
    structure = _structure(density, _deepest(full)) / float(mean.mean())
    if structure < SMOOTH and np.count_nonzero(full) >= LARGE_MARK:
        return True
    away = ndimage.distance_transform_edt(~whole)
    half_width = float(np.max(ndimage.distance_transform_edt(np.pad(full, 1))))
    ring = (away > RING[0]) & (away <= np.clip(2 * half_width, *RING[1:]))
    beside = ring & others
    if np.count_nonzero(beside) < BESIDE * max(int(np.count_nonzero(ring)), 1):
        is_grey = not black or _angle(mean, np.ones(3, np.float32)) < GREY
        if np.count_nonzero(full) < np.count_nonzero(whole) / 2:  # the densest parts of a stain may be smooth
            structure = _structure(density, _deepest(whole)) / float(density[whole].mean())
        return is_grey and (structure < NEARLY_SMOOTH or share < MAX_PEN)
    around = density[beside].mean(0)
    if black:  # dense stain may have any colour: only darkness identifies ink
        return bool(mean.mean() > DARKER * around.mean())
    if not _is_compact(full):
        return False
    differs = _angle(mean, around) > TURN or mean.mean() > DARKER * around.mean()
    return bool(differs and (share < MAX_PEN or structure < SMOOTH_FOR_STAIN))


def _deepest(full: Mask) -> Mask:
    """Remove the soft edge of a region, as far as the region is wide enough."""
    for depth in EDGES:
        inner = ndimage.binary_erosion(full, iterations=depth, border_value=1)
        if np.count_nonzero(inner) >= MIN_MARK / 2:
            return np.asarray(inner)
    return full


def _angle(one: Floats, other: Floats) -> float:
    cosine = float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-6))
    return math.degrees(math.acos(min(cosine, 1.0)))


def _structure(density: Floats, within: Mask) -> float:
    """RMS of the optical density around its mean over 7 px, counting only the pixels `within`."""
    weight = ndimage.uniform_filter(within.astype(np.float32), 7, mode="constant")
    local = [
        ndimage.uniform_filter(np.where(within, density[..., channel], 0), 7, mode="constant") for channel in range(3)
    ]
    rest = density[within] - np.stack([values[within] / weight[within] for values in local], 1)
    return float(np.sqrt((rest**2).mean()))


def _is_compact(own: Mask) -> bool:
    filled = ndimage.binary_closing(np.pad(own, 6), iterations=5)[6:-6, 6:-6]
    deep = ndimage.binary_erosion(own, iterations=3, border_value=1)
    area = np.count_nonzero(own)
    return bool(area >= COMPACT[0] * np.count_nonzero(filled) and np.count_nonzero(deep) >= COMPACT[1] * area)


def _reddish(r: Channel, g: Channel, b: Channel) -> Mask:
    """Mark colours that thin red ink shares with some bone and blood; only next to full ink are they ink.

    In optical density, red ink absorbs blue nearly as much as green, and hardly any red: measured on real thumbnails,
    b/g 0.75 to 0.9 and r/g below 0.3, where haematoxylin and eosin have b/g 0.5 to 0.65.
    """
    density = -np.log(np.arange(1, 257, dtype=np.float32) / 256)
    return np.asarray((density[b] > 0.7 * density[g]) & (density[r] < 0.35 * density[g]))


def pieces_below(mask: Mask, pixels: int) -> Mask:
    """Mark the connected pieces of an (h, w) mask that have fewer than `pixels` pixels."""
    if not mask.any():
        return mask
    labels, _ = ndimage.label(mask)
    small = np.bincount(labels.ravel()) < pixels
    small[0] = False
    return np.asarray(small[labels])
