"""Load LR pixels with their HR targets, mixed across slides and decoded ahead by threads."""

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrmil.slides.threads import reading_threads
from lrmil.training.lr_patches import PatchReader, open_reader, read_patch
from lrmil.training.pair_memory import PairMemory
from lrmil.training.pairs import PairedSlide, RegionSamples, count_regions

SLIDES_TOGETHER = 16  # slides whose targets are in memory and whose patches are mixed
BATCHES_AHEAD = 3
MIN_SHARE = 256  # LR patches of a slide in a pass, if it has that many


class Chosen(NamedTuple):
    """LR patches drawn from one slide: rows of its RegionSamples."""

    slide: PairedSlide
    rows: Tensor


class PairedBatch(NamedTuple):
    """LR patches (b, P, P, 3) uint8 RGB and their targets."""

    pixels: Tensor
    targets: RegionSamples


def draw_patches(
    slides: Sequence[PairedSlide],
    limit: int,
    generator: torch.Generator,
    *,
    count: Callable[[PairedSlide], int] = count_regions,
) -> list[Chosen]:
    """Draw about `limit` LR patches from slides in random order.

    Each slide contributes an equal share of at least `MIN_SHARE` patches, since reading its targets costs the same for
    one patch as for all. A large cohort is therefore covered over several passes.

    Parameters
    ----------
    slides
        The slides to draw from.
    limit
        LR patches in all.
    generator
        Source of the randomness.
    count
        Returns the number of a slide's patches.

    Returns
    -------
    list of Chosen
        The drawn patches of each slide.
    """
    share = max(MIN_SHARE, -(-limit // max(1, len(slides))))
    chosen: list[Chosen] = []
    left = limit
    for i in torch.randperm(len(slides), generator=generator).tolist():
        if left <= 0:
            break
        rows = torch.randperm(count(slides[i]), generator=generator)[: min(share, left)]
        chosen.append(Chosen(slides[i], rows))
        left -= len(rows)
    return chosen


def load_pairs(
    chosen: Sequence[Chosen],
    *,
    batch_size: int,
    threads: int,
    generator: torch.Generator | None,
    memory: PairMemory | None = None,
) -> Generator[PairedBatch, None, None]:
    """Read the drawn patches with their targets.

    Parameters
    ----------
    chosen
        From `draw_patches`.
    batch_size
        Patches in a batch; the last of a group of slides may have fewer.
    threads
        Decoding threads; 0 for as many as cores.
    generator
        Mixes the patches of `SLIDES_TOGETHER` slides at a time; None keeps their order.
    memory
        What was read before, and takes up what is read now. The batches are the same without it.

    Yields
    ------
    PairedBatch
        Patches that can no longer be read are left out with a warning.

    Raises
    ------
    SlideChangedError
        If a slide changed since its features were extracted, or changes while it is read.
    """
    memory = memory or PairMemory(0)
    with ThreadPoolExecutor(reading_threads(threads)) as pool:
        for first in range(0, len(chosen), SLIDES_TOGETHER):
            with ExitStack() as opened:
                group = chosen[first : first + SLIDES_TOGETHER]
                readers = [_open(item, memory, opened) for item in group]
                yield from _load_group(group, readers, batch_size, pool, memory, generator)


def _open(item: Chosen, memory: PairMemory, opened: ExitStack) -> PatchReader | None:
    """Open a slide of which a patch must be read."""
    if all(memory.holds(item.slide, row) for row in item.rows.tolist()):
        return None
    return open_reader(item.slide, opened)


def _load_group(
    group: Sequence[Chosen],
    readers: Sequence[PatchReader | None],
    batch_size: int,
    pool: ThreadPoolExecutor,
    memory: PairMemory,
    generator: torch.Generator | None,
) -> Generator[PairedBatch, None, None]:
    samples = [memory.samples(item.slide).take(item.rows) for item in group]
    pairs = [(i, row) for i, sample in enumerate(samples) for row in range(len(sample))]
    if generator is not None:
        pairs = [pairs[i] for i in torch.randperm(len(pairs), generator=generator).tolist()]
    reading: deque[tuple[Chosen, int, Future[NDArray[np.uint8] | None] | None]] = deque()
    try:
        for start in range(0, len(pairs), batch_size):
            submitted = start + len(reading)
            for i, row in pairs[submitted : start + BATCHES_AHEAD * batch_size]:
                reader, number = readers[i], int(group[i].rows[row])
                task = None
                if reader is not None and not memory.holds(group[i].slide, number):
                    task = pool.submit(read_patch, reader, samples[i].index[row])
                reading.append((group[i], number, task))
            read = [(pair, _result(memory, *reading.popleft())) for pair in pairs[start : start + batch_size]]
            good = [(pair, pixels) for pair, pixels in read if pixels is not None]
            if good:
                targets = RegionSamples.concatenate([samples[i].take(torch.tensor([row])) for (i, row), _ in good])
                yield PairedBatch(torch.from_numpy(np.stack([pixels for _, pixels in good])), targets)
    finally:  # no thread may still read the slides, which are closed next
        running = [(item, number, task) for item, number, task in reading if task is not None and not task.cancel()]
        wait([task for _, _, task in running])
        for item, number, task in running:
            if task.exception() is None:
                memory.keep(item.slide, number, task.result())


def _result(
    memory: PairMemory, item: Chosen, number: int, task: Future[NDArray[np.uint8] | None] | None
) -> NDArray[np.uint8] | None:
    if task is None:
        return memory.pixels(item.slide, number)
    pixels = task.result()
    memory.keep(item.slide, number, pixels)
    return pixels
