"""Find nearly equal pictures among many without comparing all pairs."""

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.spatial import KDTree

FREQUENCIES = 8  # lowest frequencies in y and in x: enough to distinguish even pictures of noise
MIN_AXES = 8  # axes of the tree; with fewer, many different pictures are close together
SPREAD = 1.5  # mean squared distance from the mean picture on these axes, in squared search radii
SLACK = 1e-3  # added to the search radius for rounding
PAIRS_AT_ONCE = 1024  # pairs compared at once: 16 MB


def similar_pairs(pictures: NDArray[np.float32], min_correlation: float) -> NDArray[np.int64]:
    """Find all pairs of pictures with at least a given correlation.

    The lowest frequencies of a picture are its projection on orthogonal axes. Two pictures are therefore at least as
    far apart as their projections, so a tree of the projections finds every pair.

    Parameters
    ----------
    pictures
        [n, side, side] square pictures of length 1.
    min_correlation
        Lowest correlation of a pair, 0 to 1.

    Returns
    -------
    ndarray of int64
        [m, 2] indices of pairs, the smaller first, sorted.
    """
    if len(pictures) < 2:
        return np.empty((0, 2), np.int64)
    radius = np.sqrt(2 - 2 * min_correlation)  # of two vectors of length 1
    near = KDTree(_projected(pictures, radius)).query_pairs(radius + SLACK, output_type="ndarray").astype(np.int64)
    near = near[np.lexsort((near[:, 1], near[:, 0]))]
    flat = pictures.reshape(len(pictures), -1)
    chunks = (near[start : start + PAIRS_AT_ONCE] for start in range(0, len(near), PAIRS_AT_ONCE))
    return np.concatenate([near[:0], *(pairs[correlations(flat, pairs) >= min_correlation] for pairs in chunks)])


def correlations(pictures: NDArray[np.float32], pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the correlation (m,) of each pair (m, 2) of pictures (n, d), which have mean 0 and length 1."""
    first, second = (pictures[index].astype(np.float64) for index in pairs.T)
    return np.asarray(np.einsum("ij,ij->i", first, second), np.float32)


def _projected(pictures: NDArray[np.float32], radius: float) -> NDArray[np.float64]:
    """Project pictures on the axes of the lowest frequencies on which they differ most."""
    waves = dctn(pictures.astype(np.float64), axes=(1, 2), norm="ortho")[:, :FREQUENCIES, :FREQUENCIES].reshape(
        len(pictures), -1
    )
    waves -= waves.mean(axis=0)
    variances, axes = np.linalg.eigh(waves.T @ waves / len(waves))  # smallest first
    count = np.searchsorted(np.cumsum(variances[::-1]), SPREAD * radius**2) + 1
    return np.asarray(waves @ axes[:, ::-1][:, : max(MIN_AXES, count)])
