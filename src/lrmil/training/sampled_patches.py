"""LR patches sampled from slides, with what the slide level learns from: drawn first, then read ahead by threads."""

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrmil.features.store import read_index
from lrmil.slides.source import SlideSource
from lrmil.slides.threads import reading_threads
from lrmil.training.bags import Bag
from lrmil.training.lr_patches import open_reader, read_patch
from lrmil.training.pair_memory import PairMemory

SLIDES_AHEAD = 4  # whose samples are read while the network computes

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SlideBag:
    """A slide whose patches are sampled.

    Attributes
    ----------
    bag
        Its label and the teacher's targets; its features list the patches that can be sampled.
    source
        The slide.
    """

    bag: Bag
    source: SlideSource

    @property
    def lr(self) -> Path:
        """lrmil.features/1 of its LR patches."""
        return self.bag.features


class Sample(NamedTuple):
    """Patches drawn from a slide: n rows of its features, ascending."""

    slide: SlideBag
    rows: Tensor


class SampledBag(NamedTuple):
    """A sample that was read."""

    bag: Bag
    """The slide's, with the targets of these patches alone."""
    pixels: Tensor
    """(n, P, P, 3) uint8 RGB."""


class SampledPatches:
    """Draw and read LR patches, and keep in memory what was read.

    Parameters
    ----------
    threads
        Decoding threads; 0 for as many as cores.
    """

    def __init__(self, threads: int) -> None:
        self._threads = reading_threads(threads)
        self._memory = PairMemory()
        self._index: dict[Path, NDArray[np.int32]] = {}

    def draw(self, slide: SlideBag, limit: int, generator: torch.Generator) -> Sample:
        """Draw patches of a slide without replacement.

        Parameters
        ----------
        slide
            The slide.
        limit
            How many; all of them if it has fewer.
        generator
            Source of the randomness.
        """
        count = len(self._index_of(slide))
        return Sample(slide, torch.randperm(count, generator=generator)[:limit].sort().values)

    def read(self, samples: Iterable[Sample]) -> Generator[SampledBag, None, None]:
        """Read samples in their order, `SLIDES_AHEAD` of them ahead.

        Parameters
        ----------
        samples
            From `draw`.

        Yields
        ------
        SampledBag
            One per sample; a patch that can no longer be read is left out with a warning, so there may be none in it.

        Raises
        ------
        SlideChangedError
            If a slide changed since its features were extracted, or changes while it is read.
        """
        reading: deque[_Reading] = deque()
        with ThreadPoolExecutor(self._threads) as pool:
            try:
                for sample in samples:
                    reading.append(self._start(sample, pool))
                    if len(reading) > SLIDES_AHEAD:
                        yield self._finish(reading.popleft())
                while reading:
                    yield self._finish(reading.popleft())
            finally:
                with ExitStack() as left:
                    for one in reading:
                        left.callback(_stop, one)

    def _start(self, sample: Sample, pool: ThreadPoolExecutor) -> "_Reading":
        slide, index = sample.slide, self._index_of(sample.slide)
        missing = [row for row in sample.rows.tolist() if not self._memory.holds(slide, row)]
        with ExitStack() as opened:
            tasks: dict[int, Future[Pixels | None]] = {}
            if missing:
                reader = open_reader(slide, opened)
                tasks = {row: pool.submit(read_patch, reader, index[row]) for row in missing}
            return _Reading(sample, tasks, opened.pop_all())

    def _finish(self, reading: "_Reading") -> SampledBag:
        slide, rows = reading.sample
        with reading.opened:
            wait(reading.tasks.values())
            found = {row: task.result() for row, task in reading.tasks.items()}
        for row, pixels in found.items():
            self._memory.keep(slide, row, pixels)
        pixels_of = {row: found[row] if row in found else self._memory.pixels(slide, row) for row in rows.tolist()}
        good = {row: pixels for row, pixels in pixels_of.items() if pixels is not None}
        stacked = np.stack(list(good.values())) if good else np.zeros((0, 1, 1, 3), np.uint8)
        return SampledBag(_part_of(slide.bag, list(good)), torch.from_numpy(stacked))

    def _index_of(self, slide: SlideBag) -> NDArray[np.int32]:
        if slide.lr not in self._index:
            self._index[slide.lr] = read_index(slide.lr)
        return self._index[slide.lr]


class _Reading(NamedTuple):
    """A sample whose missing patches are being read."""

    sample: Sample
    tasks: dict[int, "Future[Pixels | None]"]
    """Row -> its patch."""
    opened: ExitStack
    """Closes the slide."""


def _stop(reading: _Reading) -> None:
    """Close a slide after the last thread that reads it."""
    with reading.opened:
        wait([task for task in reading.tasks.values() if not task.cancel()])


def _part_of(bag: Bag, rows: list[int]) -> Bag:
    return bag if bag.log_mass is None else replace(bag, log_mass=bag.log_mass[rows])
