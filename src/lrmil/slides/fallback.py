"""Read a finer level where a level of a pyramid is damaged, and remember it."""

import logging
import threading
from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import SlideError
from lrmil.slides.readers.protocol import Reader
from lrmil.slides.readers.sampling import sample

MAX_PIXELS = 1 << 26  # of a finer level read for one region: 192 MiB

log = logging.getLogger(__name__)


class LevelFallback:
    """Reads regions of one open slide, and uses a finer level where a level is damaged; safe in several threads.

    Parameters
    ----------
    reader
        Reads the pixels.
    name
        Name of the slide in the log.
    """

    def __init__(self, reader: Reader, name: str) -> None:
        self.reader = reader
        self._name = name
        self._closed = False
        self._lock = threading.Lock()
        self._regions: defaultdict[tuple[int, int], set[tuple[float, ...]]] = defaultdict(set)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for each damaged level and the level read in its place."""
        with self._lock:
            counts = {levels: len(regions) for levels, regions in sorted(self._regions.items())}
        return tuple(
            f"Level {damaged} is damaged. The finer level {finer} was read instead in "
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
        """Read a region from a level or, if that is damaged there, from the next finer intact level.

        A coarser level is never used: nothing is upsampled.

        Parameters
        ----------
        level
            Index of the preferred level.
        origin_yx
            Top-left corner in level-0 pixels.
        size_yx
            (height, width) in output pixels.
        step
            Level-0 pixels per output pixel.
        max_pixels
            A finer level is not used if more of its pixels would have to be read.

        Returns
        -------
        NDArray
            (height, width, 3) pixels.

        Raises
        ------
        SlideError
            If neither the level nor a finer one can be read there; the error is that of the level. Or if it is closed.
        """
        if self._closed:
            raise SlideError(f"The slide {self._name} is closed. Read it before it is closed, or open it again.")
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

    def close(self) -> None:
        """Close the reader; what is read later is an error of the caller, and no damage of the file."""
        self._closed = True
        self.reader.close()

    def _sample(
        self, level: int, origin_yx: tuple[float, float], size_yx: tuple[int, int], step: float
    ) -> NDArray[np.uint8]:
        downsample = self.reader.levels[level].downsample
        corner = origin_yx[0] / downsample, origin_yx[1] / downsample
        return sample(self.reader, level, corner, size_yx, ratio=step / downsample)

    def _finer(self, level: int) -> list[int]:
        """Return the finer levels, the coarsest of them first."""
        levels = self.reader.levels
        finer = [index for index, one in enumerate(levels) if one.downsample < levels[level].downsample]
        return sorted(finer, key=lambda index: -levels[index].downsample)

    def _remember(self, level: int, finer: int, region: tuple[float, ...], error: SlideError) -> None:
        with self._lock:
            first = (level, finer) not in self._regions
            self._regions[level, finer].add(region)
        if first:
            log.warning("%s: reading level %d in place of damaged level %d: %s", self._name, finer, level, error)
