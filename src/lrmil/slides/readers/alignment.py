"""Find which levels of a pyramid are reductions of the first level, by what factor, and how much of them is image.

A level is aligned if one factor explains its height and its width to a pixel. Some writers pad the last tiles and state
a size of whole tiles. Such a level is larger than the image in it, and its size alone gives a wrong factor. There the
stated pixel spacing decides. If none is stated, the pixels of the level are compared with those of a finer level under
every possible factor.
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

ROUNDING = 1e-6  # of a pixel, by floating-point arithmetic
STATED_WITHIN = 0.01  # relative: spacings have few digits, so a simple factor this close is meant
MAX_FACTOR = 16  # times the smallest possible factor, for a level of one or two tiles
MAX_GUESSES = 16
GRID = 4  # compared blocks along a side
FINE_GRID = 16  # candidate blocks along a side, if the evenly spaced ones show nothing
BLOCK, MIN_BLOCK = 64, 8  # side of a block in pixels of the level
CELLS = 16  # compared means along the side of a block
MAX_READ = 1024  # side of a block in pixels of the finer level
FLAT = 2.0  # contrast in grey values below which there is nothing to compare
# Difference, relative to the contrast, at the right factor: measured 0.01 to 0.03, and 0.5 to 1.5 at wrong factors.
MAX_DIFFERENCE = 0.35
CLEAR = 0.6  # the best factor must differ by at most this share of the second best


class Alignment(NamedTuple):
    """The aligned levels, their indices among all levels, and notes about skipped ones."""

    levels: tuple[Level, ...]
    kept: tuple[int, ...]
    notes: tuple[str, ...]


class _Fit(NamedTuple):
    """A factor, the (height, width) of a level that is image at this factor, and whether the level has no padding."""

    factor: float
    shape: tuple[int, int]
    exact: bool


def align(reader: Reader, *, factors: Sequence[float | None] = (), unmarked: Collection[int] = ()) -> Alignment:
    """Find which levels of an open slide are aligned with the first one.

    Parameters
    ----------
    reader
        Its levels have their stored sizes; their downsamples are ignored. Pixels are read only if the sizes do not
        decide.
    factors
        For each level the ratio of its pixel spacing to that of the first level; None if not stated, NaN if the level
        is stated to show another area. Empty if the format states no spacing.
    unmarked
        Indices of levels that only their size suggests to be levels: their pixels must agree.
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
    by = "their scale" if stated else "their sizes and pixels"
    note = f"{left_out} of {count} levels are skipped: judged by {by}, they do not match the first level."
    return (note,) if left_out else ()


def _stated_fit(first: Level, level: Level, stated: float) -> _Fit | None:
    near = [factor for factor in (_simple(stated), _common_factor(first, level)) if factor is not None]
    guesses = [*(factor for factor in near if abs(factor / stated - 1) <= STATED_WITHIN), stated]
    return next((fit for factor in guesses if (fit := _fit(first, level, factor)) is not None), None)


def _is_doubtful(first: Level, level: Level) -> bool:
    """Return whether a level that is padded by its stated scale looks unpadded: then the scale may be wrong."""
    common = _common_factor(first, level)
    return not _whole_tiles(level) or (common is not None and common == _simple(common))


def _fits(first: Level, level: Level, *, above: float, repeated: bool) -> list[_Fit]:
    """Return the factors that explain the size of a level, the likeliest first.

    Parameters
    ----------
    above
        Lower bound of the factor.
    repeated
        Whether an earlier level has the same size: then at least one of them is padded.
    """
    common = None if repeated else _common_factor(first, level)
    exact = [] if common is None else [_fit(first, level, common)]
    plain = common is not None and not _whole_tiles(level)  # a padded level may fit a wrong factor
    guesses = [] if plain else [one for one in _padded_factors(first, level) if one > above]
    padded = [_fit(first, level, factor) for factor in guesses if common is None or abs(factor / common - 1) > 0.01]
    return [fit for fit in (*exact, *padded) if fit is not None]


def _fit(first: Level, level: Level, factor: float) -> _Fit | None:
    """Return the part of a level that is image at a factor; None if the level is too small, or a tile too large."""
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
    """Return the factor that explains both sides to a pixel, a simple number if possible; None if there is none.

    Writers round the sides of a level to whole pixels, so 46000 / 11500 and 32914 / 8228 differ. The plain ratio would
    drift by a pixel across the slide.
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
    """Return the multiple of a unit nearest to the middle of an interval, inside the interval if possible."""
    nearest = round(middle / unit) * unit
    return nearest if low <= nearest <= high else math.ceil(low / unit) * unit


def _simple(factor: float) -> float | None:
    """Return the nearest whole or half number to a factor; None below 1."""
    if not math.isfinite(factor) or factor < 1:
        return None
    return float(round(factor)) if abs(round(factor) - factor) <= STATED_WITHIN * factor else round(2 * factor) / 2


def _padded_factors(first: Level, level: Level) -> list[float]:
    """Return simple factors that explain a level padded to whole tiles; powers of two first."""
    sides = list(zip(first.shape, level.shape, _larger_tile(first, level), strict=True))
    low = max(full / side for full, side, _ in sides)
    high = min(full / (side - tile) if side > tile else math.inf for full, side, tile in sides)
    high = min(high, low * MAX_FACTOR)
    powers = [2.0**power for power in range(1, 16)]
    guesses = [*powers, *(float(one) for one in range(2, 129)), *(one + 0.5 for one in range(1, 10))]
    return [one for one in dict.fromkeys(guesses) if low <= one < high][:MAX_GUESSES]


def _larger_tile(first: Level, level: Level) -> tuple[int, int]:
    """Return the largest possible padding: a tile of the level, or of the first level from which it was made."""
    return max(first.tile[0], level.tile[0]), max(first.tile[1], level.tile[1])


def _whole_tiles(level: Level) -> bool:
    return all(side % tile == 0 for side, tile in zip(level.shape, level.tile, strict=True))


def _chosen(reader: Reader, index: int, fits: Sequence[_Fit], finer: tuple[int, float], *, proof: bool) -> _Fit | None:
    """Choose among the factors that the size of a level allows, by its pixels; None if none is right."""
    if not fits or (len(fits) == 1 and fits[0].exact and not proof):
        return fits[0] if fits else None
    try:
        ranked = _ranked_fits(reader, index, fits, finer, ())
        if all(error > MAX_DIFFERENCE for error, _ in ranked) and (corners := _busiest(reader, index)):
            ranked = _ranked_fits(reader, index, fits, finer, corners)
    except SlideError:  # damaged
        ranked = []
    if not ranked or ranked[0][0] > MAX_DIFFERENCE:
        contradicted = fits[0] in [fit for _, fit in ranked]
        only = len(fits) == 1 and _whole_tiles(reader.levels[index])
        certain = only or (fits[0].exact and fits[0].factor == _simple(fits[0].factor))
        return fits[0] if certain and not contradicted and not proof else None  # the pixels do not decide
    as_good = [fit for error, fit in ranked if error * CLEAR <= ranked[0][0]]
    return as_good[0] if len(as_good) == 1 else next((fit for fit in as_good if fit.exact), None)


def _ranked_fits(
    reader: Reader, index: int, fits: Sequence[_Fit], finer: tuple[int, float], corners: Sequence[tuple[int, int]]
) -> list[tuple[float, _Fit]]:
    """Return the difference between a level and a finer one at each factor, smallest first; skip flat areas."""
    found = [(_difference(reader, index, fit, finer, corners), fit) for fit in fits]
    return sorted(((error, fit) for error, fit in found if error is not None), key=lambda one: one[0])


def _busiest(reader: Reader, index: int) -> list[tuple[int, int]]:
    """Return the corners of the blocks with most contrast; of a biopsy, evenly spaced blocks may show only glass."""
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
    """Return the difference between a level and a finer one at a factor, relative to the contrast; None if flat.

    Parameters
    ----------
    reader
        The open slide.
    index
        The level.
    fit
        The factor.
    finer
        Index and downsample of the finer level.
    corners
        (y, x) of the compared blocks in pixels of the level; if empty, they are evenly spaced.
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
