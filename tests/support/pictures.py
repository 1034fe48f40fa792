"""Pictures in which no two places look alike, and the levels that are made of them."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
TILE = 64


def picture(height: int, width: int, seed: int = 0) -> Pixels:
    """Blots of about 24 px: no two places look alike."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 24 + 3, width // 24 + 3, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def reduced(pixels: Pixels, factor: int) -> Pixels:
    return np.asarray(Image.fromarray(pixels).reduce(factor)) if factor > 1 else pixels


def padded(pixels: Pixels, tile: int = TILE, fill: int = 245) -> Pixels:
    """Fill the last tiles up."""
    height, width = (-(-side // tile) * tile for side in pixels.shape[:2])
    out = np.full((height, width, 3), fill, np.uint8)
    out[: pixels.shape[0], : pixels.shape[1]] = pixels
    return out
