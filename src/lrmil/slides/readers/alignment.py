"""Which levels of a pyramid lie on the first one, at what factor, and how much of them: one check for every reader.

A level lies on the first one where one factor explains its height and its width to a pixel. Some writers fill the last
tiles up and state a size of whole tiles; such a level is larger than what it covers, and its size alone gives a wrong
factor. There the stated pixel spacing decides; where nothing is stated, the pixels do: those of the level are compared
with the same places of a finer level under each factor that is possible.
"""

import math
from collections.abc import Collection, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import SlideError
from lrmil.slides.readers.protocol import Level, Reader
from lrmil.slides.readers.sampling import sample

ROUNDING = 1e-6  # of a pixel, in the arithmetic here
STATED_WITHIN = 0.01  # spacings are written with few digits: a simple factor this close is the one that is meant
MAX_FACTOR = 16  # times the least that is possible, for a level of a tile or two
MAX_GUESSES = 16
GRID = 4  # blocks along a side that are compared
FINE_GRID = 16  # blocks along a side among which those are chosen, where the even ones show nothing
BLOCK, MIN_BLOCK = 64, 8  # pixels of the level along the side of a block, and
CELLS = 16  # means of them that are compared
MAX_READ = 1024  # pixels of the finer level along the side of a block
FLAT = 2.0  # mean difference in grey values up to which there is nothing to compare
ALIKE = (
    0.35  # share of the contrast that may differ at the right factor: measured 0.01 to 0.03, at wrong ones 0.5 to 1.5
)
CLEAR = 0.6  # the best factor differs by at most this share of the second best


class Alignment(NamedTuple):
    """The levels that lie on the first one, and their places among those that were given."""

    levels: tuple[Level, ...]
    kept: tuple[int, ...]
    notes: tuple[str, ...]


class _Fit(NamedTuple):
    """A factor, the (height, width) of a level that it covers, and whether the level has no more than that."""

    factor: float
    shape: tuple[int, int]
    exact: bool


def align(reader: Reader, *, factors: Sequence[float | None] = (), unmarked: Collection[int] = ()) -> Alignment:
    """Find which levels of an open slide lie on its first one.

    Parameters
    ----------
    reader
        Its levels have the sizes that are stored; their downsamples are not looked at. It is read from only where
        sizes do not decide.
    factors
        For each level the ratio of its pixel spacing to that of the first one, where both are stated; not a number
        where the level is stated to lie elsewhere.
    unmarked
        Levels that nothing but their size tells to be any: their pixels must agree.
    """
    first = reader.levels[0]
    kept, indices = [Level(first.shape, 1.0, first.tile)], [0]
    for index, level in enumerate(reader.levels[1:], 1):
        stated = factors[index] if factors else None
        finer = indices[-1], kept[-1].downsample
        if stated is not None:
            fit = _stated_fit(first, level, stated)
            if fit is not None and not fit.exact and _is_doubtful(first, level):
                fit = _chosen(reader, index, [fit], finer, proof=False)
        else:
            repeated = level.shape in [reader.levels[one].shape for one in indices]
            fits = _fits(first, level, above=kept[-1].downsample, repeated=repeated)
            fit = _chosen(reader, index, fits, finer, proof=index in unmarked)
        if fit is not None and fit.factor > kept[-1].downsample and fit.shape != kept[-1].shape:
            kept.append(Level(fit.shape, fit.factor, level.tile))
            indices.append(index)
    marked = [index for index in range(len(reader.levels)) if index not in unmarked]
    left_out = len(set(marked) - set(indices))
    return Alignment(tuple(kept), tuple(indices), _notes(left_out, len(marked), stated=bool(factors)))


def _notes(left_out: int, count: int, *, stated: bool) -> tuple[str, ...]:
    says = "as their scale says" if stated else "as their sizes and pixels say"
    note = f"{left_out} of {count} levels are left out: they do not lie on the first one, {says}."
    return (note,) if left_out else ()


def _stated_fit(first: Level, level: Level, stated: float) -> _Fit | None:
    near = [factor for factor in (_simple(stated), _common_factor(first, level)) if factor is not None]
    guesses = [*(factor for factor in near if abs(factor / stated - 1) <= STATED_WITHIN), stated]
    return next((fit for factor in guesses if (fit := _fit(first, level, factor)) is not None), None)


def _is_doubtful(first: Level, level: Level) -> bool:
    """Whether a level that its scale makes a padded one looks as if it were not: then the scale may be wrong."""
    common = _common_factor(first, level)
    return not _whole_tiles(level) or (common is not None and common == _simple(common))


def _fits(first: Level, level: Level, *, above: float, repeated: bool) -> list[_Fit]:
    """Factors that explain a level's size, the likeliest first.

    Parameters
    ----------
    above
        The factor is larger than this.
    repeated
        Whether an earlier level has this size: then at least one of them is padded.
    """
    common = None if repeated else _common_factor(first, level)
    exact = [] if common is None else [_fit(first, level, common)]
    plain = common is not None and not _whole_tiles(level)  # a padded level may agree with a wrong factor
    guesses = [] if plain else [one for one in _padded_factors(first, level) if one > above]
    padded = [_fit(first, level, factor) for factor in guesses if common is None or abs(factor / common - 1) > 0.01]
    return [fit for fit in (*exact, *padded) if fit is not None]


def _fit(first: Level, level: Level, factor: float) -> _Fit | None:
    """How much of a level is covered at a factor; None where it lacks a part, or has a tile too much."""
    shape, exact = [], True
    for full, side, tile in zip(first.shape, level.shape, _larger_tile(first, level), strict=True):
        need = full / factor
        if abs(side - need) <= 1 + ROUNDING:
            shape.append(max(1, min(side, math.ceil(need))))
        elif need < side <= need + tile:
            shape.append(max(1, math.floor(need)))
            exact = False
        else:
            return None
    return _Fit(factor, (shape[0], shape[1]), exact)


def _common_factor(first: Level, level: Level) -> float | None:
    """The factor that explains both sides to a pixel, a simple number where one does.

    Writers round a level's sides to whole pixels, so 46000 / 11500 and 32914 / 8228 differ; the ratio would drift by a
    pixel across the slide.
    """
    sides = list(zip(first.shape, level.shape, strict=True))
    low = max(full / (side + 1) for full, side in sides)
    high = min(full / (side - 1) if side > 1 else math.inf for full, side in sides)
    middle = (low + min(high, 2 * low)) / 2
    if low > high:
        return None
    simple = [2.0 ** round(math.log2(middle)), _multiple(1, low, middle, high), _multiple(0.5, low, middle, high)]
    return next((one for one in simple if one >= 1 and low <= one <= high), middle)


def _multiple(unit: float, low: float, middle: float, high: float) -> float:
    """The multiple of a unit next to the middle of an interval, inside it if one is."""
    nearest = round(middle / unit) * unit
    return nearest if low <= nearest <= high else math.ceil(low / unit) * unit


def _simple(factor: float) -> float | None:
    """The whole or half number next to a factor."""
    if not math.isfinite(factor) or factor < 1:
        return None
    return float(round(factor)) if abs(round(factor) - factor) <= STATED_WITHIN * factor else round(2 * factor) / 2


def _padded_factors(first: Level, level: Level) -> list[float]:
    """Simple factors of which a level is the picture filled up to whole tiles; powers of two first."""
    sides = list(zip(first.shape, level.shape, _larger_tile(first, level), strict=True))
    low = max(full / side for full, side, _ in sides)
    high = min(full / (side - tile) if side > tile else math.inf for full, side, tile in sides)
    high = min(high, low * MAX_FACTOR)
    powers = [2.0**power for power in range(1, 16)]
    guesses = [*powers, *(float(one) for one in range(2, 129)), *(one + 0.5 for one in range(1, 10))]
    return [one for one in dict.fromkeys(guesses) if low <= one < high][:MAX_GUESSES]


def _larger_tile(first: Level, level: Level) -> tuple[int, int]:
    """What a level may have been filled up to: its own tiles, or those of the first one that it was made from."""
    return max(first.tile[0], level.tile[0]), max(first.tile[1], level.tile[1])


def _whole_tiles(level: Level) -> bool:
    return all(side % tile == 0 for side, tile in zip(level.shape, level.tile, strict=True))


def _chosen(reader: Reader, index: int, fits: Sequence[_Fit], finer: tuple[int, float], *, proof: bool) -> _Fit | None:
    """Choose between the factors that a level's size allows by its pixels; None where none of them is right."""
    if not fits or (len(fits) == 1 and fits[0].exact and not proof):
        return fits[0] if fits else None
    try:
        ranked = _ranked_fits(reader, index, fits, finer, ())
        if all(error > ALIKE for error, _ in ranked) and (corners := _busiest(reader, index)):
            ranked = _ranked_fits(reader, index, fits, finer, corners)
    except SlideError:  # damaged
        ranked = []
    if not ranked or ranked[0][0] > ALIKE:
        contradicted = fits[0] in [fit for _, fit in ranked]
        only = len(fits) == 1 and _whole_tiles(reader.levels[index])
        certain = only or (fits[0].exact and fits[0].factor == _simple(fits[0].factor))
        return fits[0] if certain and not contradicted and not proof else None  # nothing to see that tells
    as_good = [fit for error, fit in ranked if error * CLEAR <= ranked[0][0]]
    return as_good[0] if len(as_good) == 1 else next((fit for fit in as_good if fit.exact), None)


def _ranked_fits(
    reader: Reader, index: int, fits: Sequence[_Fit], finer: tuple[int, float], corners: Sequence[tuple[int, int]]
) -> list[tuple[float, _Fit]]:
    """How much a level differs from a finer one at each factor, the least first; without those that show nothing."""
    found = [(_difference(reader, index, fit, finer, corners), fit) for fit in fits]
    return sorted(((error, fit) for error, fit in found if error is not None), key=lambda one: one[0])


def _busiest(reader: Reader, index: int) -> list[tuple[int, int]]:
    """Corners of the blocks of a level in which most is to be seen: of a biopsy, even blocks may show glass alone."""
    height, width = reader.levels[index].shape
    block = max(MIN_BLOCK, min(BLOCK, height // FINE_GRID, width // FINE_GRID))
    if min(height, width) < block:
        return []
    found = list[tuple[float, tuple[int, int]]]()
    for part_y, part_x in product(range(FINE_GRID), repeat=2):
        y, x = (round(part * (side - block) / (FINE_GRID - 1)) for part, side in ((part_y, height), (part_x, width)))
        pixels = sample(reader, index, (y, x), (MIN_BLOCK, MIN_BLOCK), ratio=block / MIN_BLOCK).astype(np.float32)
        if (contrast := float(pixels.std(axis=(0, 1)).max())) > FLAT:
            found.append((contrast, (y, x)))
    return [corner for _, corner in sorted(found, reverse=True)[: GRID * GRID]]


def _difference(
    reader: Reader, index: int, fit: _Fit, finer: tuple[int, float], corners: Sequence[tuple[int, int]]
) -> float | None:
    """How much a level differs from a finer one at a factor, as a share of their contrast; None where there is none.

    Parameters
    ----------
    corners
        Of the blocks that are compared; evenly over the level where there are none.
    """
    finer_index, downsample = finer
    step = fit.factor / downsample
    block = max(1, min(BLOCK, max(MIN_BLOCK, round(MAX_READ / step)), *(side // GRID for side in fit.shape)))
    cells = min(CELLS, block)
    inside = [
        corner for corner in corners if all(at <= side - block for at, side in zip(corner, fit.shape, strict=True))
    ]
    even = product(*([round(part * (side - block) / (GRID - 1)) for part in range(GRID)] for side in fit.shape))
    ours, theirs = list[NDArray[np.float32]](), list[NDArray[np.float32]]()
    for y, x in inside or even:
        size, ratio = (cells, cells), block / cells
        ours.append(sample(reader, index, (y, x), size, ratio=ratio).astype(np.float32))
        theirs.append(sample(reader, finer_index, (y * step, x * step), size, ratio=ratio * step).astype(np.float32))
    level, truth = np.array(ours), np.array(theirs)
    contrast = float(np.abs(truth - truth.mean(axis=(0, 1, 2))).mean())
    if contrast < FLAT:
        return None if float(np.abs(level - truth).mean()) <= FLAT else math.inf
    return float(np.abs(level - truth).mean()) / contrast
