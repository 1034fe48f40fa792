"""Draw polygons into a mask: a cell is inside if its centre is (even-odd rule)."""

import numpy as np
from numpy.typing import NDArray

MAX_CROSSINGS = 50_000_000  # of edges with rows in one ring: outlines of tissue have far fewer


def fill_ring(shape: tuple[int, int], ring_yx: NDArray[np.float64]) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """Fill a ring in a mask, in time proportional to its outline and its area.

    Libraries with the same rule test every cell against every edge, which takes minutes for a slide.

    Parameters
    ----------
    shape
        (rows, cols) of the mask; parts of the ring outside are cut off.
    ring_yx
        (n, 2) corners in cells; cell (0, 0) spans 0 to 1. The last corner is connected to the first.

    Returns
    -------
    Row and column slices of the ring's bounding box in the mask, and its (h, w) cells that are inside.

    Raises
    ------
    ValueError
        If the ring crosses more rows than any outline of tissue.
    """
    low = np.clip(np.floor(ring_yx.min(0)), 0, shape).astype(int)
    high = np.clip(np.ceil(ring_yx.max(0)), low, shape).astype(int)
    window = slice(low[0], high[0]), slice(low[1], high[1])
    rows, cols = high - low
    if rows == 0 or cols == 0:
        return window, np.zeros((rows, cols), bool)
    start, end = ring_yx - low, np.roll(ring_yx, -1, axis=0) - low
    upper, lower = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
    first = np.clip(np.ceil(upper - 0.5), 0, rows).astype(int)  # the first row whose centre is not above the edge
    counts = np.clip(np.ceil(lower - 0.5), 0, rows).astype(int) - first
    total = int(counts.sum())
    if total > MAX_CROSSINGS:
        raise ValueError(f"an outline that crosses {total} rows")
    edge = np.repeat(np.arange(len(ring_yx)), counts)
    row = first[edge] + np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    along = (row + 0.5 - start[edge, 0]) / (end[edge, 0] - start[edge, 0])
    x = start[edge, 1] + along * (end[edge, 1] - start[edge, 1])
    col = np.clip(np.ceil(x - 0.5), 0, cols).astype(int)  # the first cell whose centre is not left of the crossing
    crossings = np.bincount(row * (cols + 1) + col, minlength=rows * (cols + 1)).reshape(rows, cols + 1)
    return window, np.cumsum(crossings, axis=1)[:, :cols] % 2 == 1
