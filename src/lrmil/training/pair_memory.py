"""What trainings on LR patches have read, kept in memory: they pass over a small cohort many times."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrmil.training.lr_patches import LRSlide
from lrmil.training.pairs import PairedSlide, RegionSamples, count_regions, region_samples

LIMIT = 2 << 30  # bytes; about 10,000 patches of 224 px with the targets of a MobileNetV2


class PairMemory:
    """Keep the targets of slides and their decoded LR patches, those read first, up to a limit.

    Parameters
    ----------
    limit
        Bytes to keep; 0 keeps nothing but what could not be read.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._free = limit
        self._counts: dict[Path, int] = {}
        self._samples: dict[Path, RegionSamples] = {}
        self._pixels: dict[tuple[Path, int], NDArray[np.uint8] | None] = {}

    def count(self, slide: PairedSlide) -> int:
        """Return the length of the slide's `region_samples`."""
        if slide.lr not in self._counts:
            self._counts[slide.lr] = count_regions(slide)
        return self._counts[slide.lr]

    def samples(self, slide: PairedSlide) -> RegionSamples:
        """Return the slide's `region_samples`."""
        if slide.lr in self._samples:
            return self._samples[slide.lr]
        found = region_samples(slide)
        if self._takes(found.nbytes):
            self._samples[slide.lr] = found
        return found

    def holds(self, slide: LRSlide, row: int) -> bool:
        """Return whether the patch of a row is kept."""
        return (slide.lr, row) in self._pixels

    def pixels(self, slide: LRSlide, row: int) -> NDArray[np.uint8] | None:
        """Return a kept patch (P, P, 3); None if it could not be read."""
        return self._pixels[slide.lr, row]

    def keep(self, slide: LRSlide, row: int, pixels: NDArray[np.uint8] | None) -> None:
        """Keep a patch, if there is room for it.

        Parameters
        ----------
        slide
            The slide.
        row
            Row of `samples`, or of the features where no targets are needed.
        pixels
            (P, P, 3) uint8; None for a patch that cannot be read, which is not tried again.
        """
        if not self.holds(slide, row) and self._takes(0 if pixels is None else pixels.nbytes):
            self._pixels[slide.lr, row] = pixels

    def _takes(self, size: int) -> bool:
        fits = size <= self._free
        self._free -= size if fits else 0
        return fits
