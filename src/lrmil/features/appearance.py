"""What a slide looks like in a few numbers: its colours, and a sketch of its embeddings."""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lrmil.models.familiarity import LENGTHS

COLOURS, SKETCH = LENGTHS
LENGTH = COLOURS + SKETCH
STEP = 4  # every fourth pixel of every fourth line tells the colours of a patch
DIGITS = 6  # significant ones; more would differ between processors
DENSITIES = -np.log(np.maximum(np.arange(256), 1) / 255)  # optical density of each intensity


def patch_colours(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return mean and mean square (b, 6) of the optical density of red, green and blue in patches (b, h, w, 3)."""
    density = DENSITIES[pixels[:, ::STEP, ::STEP]]
    return np.concatenate([density.mean(axis=(1, 2)), np.square(density).mean(axis=(1, 2))], axis=1)


def appearance(colours: NDArray[np.float64], embeddings: NDArray[np.float32]) -> tuple[float, ...]:
    """Return the appearance of a slide: `COLOURS` numbers, then `SKETCH`.

    Parameters
    ----------
    colours
        (n, 6) of its patches, from `patch_colours`.
    embeddings
        (n, d) of the same patches.

    Returns
    -------
    tuple of float
        Mean and standard deviation of the optical density of each channel over all pixels, and a random projection of
        the mean embedding, which keeps distances nearly (Johnson and Lindenstrauss, 1984).
    """
    mean, square = np.split(colours.mean(axis=0), 2)
    spread = np.sqrt(np.maximum(square - np.square(mean), 0))
    sketch = embeddings.mean(axis=0, dtype=np.float64) @ _projection(embeddings.shape[1])
    return tuple(_rounded([*mean, *spread, *sketch]))


@cache
def _projection(dim: int) -> NDArray[np.float64]:
    """Return the projection (d, `SKETCH`); numpy keeps the stream of this generator as it is."""
    return np.asarray(np.random.RandomState(0).standard_normal((dim, SKETCH)) / np.sqrt(SKETCH))


def _rounded(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]
