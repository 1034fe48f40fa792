"""Where a level of a pyramid is damaged, the next finer one that is intact stands in for it, and that is remembered."""

import logging
import threading
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import SlideError
from lrmil.slides.readers.protocol import Reader
from lrmil.slides.readers.sampling import sample

MAX_PIXELS = 1 << 26  # of a finer level that are read for one region: 192 MiB

log = logging.getLogger(__name__)


class LevelFallback:
    """Reads regions of one open slide, from any thread, and knows where a finer level had to stand in.

    Parameters
    ----------
    reader
        What gives the pixels.
    name
        What the slide is called in the log.
    """

    def __init__(self, reader: Reader, name: str) -> None:
        self.reader = reader
        self._name = name
        self._lock = threading.Lock()
        self._regions: defaultdict[tuple[int, int], set[tuple[float, ...]]] = defaultdict(set)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for each damaged level and what stood in for it."""
        with self._lock:
            counts = {levels: len(regions) for levels, regions in sorted(self._regions.items())}
        return tuple(
            f"Level {damaged} is damaged: level {finer}, which is finer, stood in for it in "
            f"{'1 region' if count == 1 else f'{count} regions'}."
            for (damaged, finer), count in counts.items()
        )

    def sample(
        self,
        level: int,
        origin_yx: tuple[float, float],
        size_yx: tuple[int, int],
        *,
        step: float,
        max_pixels: int = MAX_PIXELS,
    ) -> NDArray[np.uint8]:
        """Read a region from a level, or as it would be read if the slide had no such level.

        A coarser level never stands in: nothing is upsampled.

        Parameters
        ----------
        level
            The level that fits.
        origin_yx
            Top-left corner in level-0 pixels.
        size_yx
            (height, width) in output pixels.
        step
            Level-0 pixels per output pixel.
        most_pixels
            A finer level of which more would have to be read does not stand in.

        Raises
        ------
        SlideError
            If neither the level nor a finer one can give the region; the error is that of the level.
        """
        try:
            return self._sample(level, origin_yx, size_yx, step)
        except SlideError as error:
            for finer in self._finer(level):
                if size_yx[0] * size_yx[1] * (step / self.reader.levels[finer].downsample) ** 2 > max_pixels:
                    break
                try:
                    pixels = self._sample(finer, origin_yx, size_yx, step)
                except SlideError:
                    continue
                self._remember(level, finer, (*origin_yx, *size_yx, step), error)
                return pixels
            raise

    def _sample(
        self, level: int, origin_yx: tuple[float, float], size_yx: tuple[int, int], step: float
    ) -> NDArray[np.uint8]:
        downsample = self.reader.levels[level].downsample
        corner = origin_yx[0] / downsample, origin_yx[1] / downsample
        return sample(self.reader, level, corner, size_yx, ratio=step / downsample)

    def _finer(self, level: int) -> list[int]:
        """Finer levels, the coarsest of them first."""
        levels = self.reader.levels
        finer = [index for index, one in enumerate(levels) if one.downsample < levels[level].downsample]
        return sorted(finer, key=lambda index: -levels[index].downsample)

    def _remember(self, level: int, finer: int, region: tuple[float, ...], error: SlideError) -> None:
        with self._lock:
            first = (level, finer) not in self._regions
            self._regions[level, finer].add(region)
        if first:
            log.warning("%s: level %d stands in for level %d, which is damaged: %s", self._name, finer, level, error)
