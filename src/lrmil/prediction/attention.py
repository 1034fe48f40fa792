"""Show where a model looked: attention as a Raster over the slide, and the patches with the most attention."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from lrmil.raster import Raster


class Ends(NamedTuple):
    """Positions of the values at both ends of a list."""

    highest: NDArray[np.int64]
    """(h,) positions, the highest value first."""
    lowest: NDArray[np.int64]
    """(l,) positions, the lowest value first."""


def attention_raster(
    attention: ArrayLike, index: NDArray[np.integer], *, step_level0: float, origin_yx: tuple[float, float]
) -> Raster:
    """Arrange one value per patch as a raster over the slide.

    Parameters
    ----------
    attention
        (n,) values on any scale.
    index
        (n, 2) row and column of each patch on its integer lattice, each cell once.
    step_level0
        Distance between neighbouring patches in level-0 pixels.
    origin_yx
        Level-0 (y, x) of the top-left corner of lattice cell (0, 0).

    Returns
    -------
    Raster
        float32, over the bounding box of `index`; NaN where there is no patch.

    Raises
    ------
    ValueError
        If there are no patches, the lengths differ, or a cell occurs twice.
    """
    values, cells = np.asarray(attention, np.float32), np.asarray(index)
    if len(values) == 0 or values.shape != (len(cells),) or cells.shape[1:] != (2,):
        raise ValueError(f"Expected n > 0 values and an (n, 2) index. Got shapes {values.shape} and {cells.shape}.")
    first = cells.min(0)
    rows, cols = (cells - first).T
    array = np.full((rows.max() + 1, cols.max() + 1), np.nan, np.float32)
    array[rows, cols] = values
    if len(np.unique(cells, axis=0)) < len(cells):
        raise ValueError("A cell occurs twice in the index. Keep one patch per cell.")
    top, left = (float(o + f * step_level0) for o, f in zip(origin_yx, first, strict=True))
    return Raster.on_lattice(array, cell_level0=float(step_level0), origin_yx=(top, left))


def top_patches(attention: ArrayLike, k: int) -> NDArray[np.int64]:
    """Return the positions of the highest values, the highest first.

    Parameters
    ----------
    attention
        (n,) values.
    k
        Number of positions, clipped to 0..n.

    Returns
    -------
    ndarray of int64
        (k,) positions; of equal values the earlier comes first.
    """
    return np.asarray(np.argsort(-np.asarray(attention, float), kind="stable")[: max(k, 0)], np.int64)


def ends(values: ArrayLike, k: int) -> Ends:
    """Find the highest and the lowest values; no position is in both, even if values are equal.

    Parameters
    ----------
    values
        (n,) values.
    k
        Number of positions at each end; if n < 2 k, there are fewer of the lowest.
    """
    values = np.asarray(values, float)
    k = min(max(k, 0), len(values))
    highest, ascending = top_patches(values, k), top_patches(-values, len(values))
    return Ends(highest, ascending[~np.isin(ascending, highest)][:k])


def percentile_rank(raster: Raster) -> Raster:
    """Replace each value by its rank within the slide: 0 for the lowest, 1 for the highest.

    Equal values have equal ranks. Every slide has a cell of rank 1, even if its attention is uniform. NaN stays NaN; a
    single value has rank 1.
    """
    ranks = np.full(raster.array.shape, np.nan, np.float32)
    present = ~np.isnan(raster.array.astype(float))
    values = raster.array[present]
    if values.size == 1:
        ranks[present] = 1.0
    elif values.size:
        ranks[present] = (rankdata(values) - 1) / (values.size - 1)
    return Raster(ranks, raster.to_level0)
