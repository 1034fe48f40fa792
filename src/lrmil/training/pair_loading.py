"""Load LR pixels with their HR targets, mixed across slides and decoded ahead by threads."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrmil.errors import SlideChangedError, SlideError
from lrmil.features.store import read_card
from lrmil.geometry import Grid
from lrmil.slides.identity import unchanged
from lrmil.slides.opening import open_source
from lrmil.slides.slide import Slide
from lrmil.training.pairs import PairedSlide, RegionSamples, count_regions, region_samples

log = logging.getLogger(__name__)
SLIDES_TOGETHER = 16  # slides whose targets are in memory and whose patches are mixed
BATCHES_AHEAD = 3
MIN_SHARE = 256  # LR patches of a slide in an epoch, if it has that many


class Chosen(NamedTuple):
    """LR patches drawn from one slide: rows of its RegionSamples."""

    slide: PairedSlide
    rows: Tensor


class PairedBatch(NamedTuple):
    """LR patches (b, P, P, 3) uint8 RGB and their targets."""

    pixels: Tensor
    targets: RegionSamples


def draw_patches(slides: Sequence[PairedSlide], limit: int, generator: torch.Generator) -> list[Chosen]:
    """Draw about `limit` LR patches from slides in random order.

    Each slide contributes an equal share of at least `MIN_SHARE` patches, since reading its targets costs the same for
    one patch as for all. A large cohort is therefore covered over several epochs.

    Parameters
    ----------
    slides
        The slides to draw from.
    limit
        LR patches in all.
    generator
        Source of the randomness.

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
        rows = torch.randperm(count_regions(slides[i]), generator=generator)[: min(share, left)]
        chosen.append(Chosen(slides[i], rows))
        left -= len(rows)
    return chosen


def count_batches(chosen: Sequence[Chosen], batch_size: int) -> int:
    """Count the batches that `load_pairs` yields: the last of a group of slides may be smaller.

    Parameters
    ----------
    chosen
        From `draw_patches`.
    batch_size
        Patches in a batch.
    """
    groups = [chosen[first : first + SLIDES_TOGETHER] for first in range(0, len(chosen), SLIDES_TOGETHER)]
    return sum(-(-sum(len(item.rows) for item in group) // batch_size) for group in groups)


def load_pairs(
    chosen: Sequence[Chosen], *, batch_size: int, threads: int, generator: torch.Generator | None
) -> Iterator[PairedBatch]:
    """Read the drawn patches with their targets.

    Parameters
    ----------
    chosen
        From `draw_patches`.
    batch_size
        Patches in a batch; the last of a group of slides may have fewer.
    threads
        Decoding threads.
    generator
        Mixes the patches of `SLIDES_TOGETHER` slides at a time; None keeps their order.

    Yields
    ------
    PairedBatch
        Patches that can no longer be read are left out with a warning.

    Raises
    ------
    SlideChangedError
        If a slide changed since its features were extracted, or changes while it is read.
    """
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(chosen), SLIDES_TOGETHER):
            with ExitStack() as opened:
                group = chosen[first : first + SLIDES_TOGETHER]
                yield from _load_group(group, batch_size, pool, opened, generator)


def _load_group(
    group: Sequence[Chosen],
    batch_size: int,
    pool: ThreadPoolExecutor,
    opened: ExitStack,
    generator: torch.Generator | None,
) -> Iterator[PairedBatch]:
    slides = [opened.enter_context(open_source(item.slide.source)) for item in group]
    cards = [read_card(item.slide.lr) for item in group]
    for slide, card in zip(slides, cards, strict=True):
        if slide.fingerprint != card.slide_fingerprint:
            raise SlideChangedError(
                f"{slide.path} changed after its features were extracted. Rerun the same command to extract them again."
            )
        opened.enter_context(unchanged(slide))
    grids = [card.grid for card in cards]
    samples = [region_samples(item.slide).take(item.rows) for item in group]
    pairs = [(i, row) for i, sample in enumerate(samples) for row in range(len(sample))]
    if generator is not None:
        pairs = [pairs[i] for i in torch.randperm(len(pairs), generator=generator).tolist()]
    waiting: deque[Future[NDArray[np.uint8] | None]] = deque()
    try:
        for start in range(0, len(pairs), batch_size):
            submitted = start + len(waiting)
            for i, row in pairs[submitted : start + BATCHES_AHEAD * batch_size]:
                waiting.append(pool.submit(_read, slides[i], grids[i], samples[i].index[row]))
            read = [(pair, waiting.popleft().result()) for pair in pairs[start : start + batch_size]]
            good = [(pair, pixels) for pair, pixels in read if pixels is not None]
            if good:
                targets = RegionSamples.concatenate([samples[i].take(torch.tensor([row])) for (i, row), _ in good])
                yield PairedBatch(torch.from_numpy(np.stack([pixels for _, pixels in good])), targets)
    finally:  # no thread may still read the slides, which are closed next
        for future in waiting:
            future.cancel()
        wait(waiting)


def _read(slide: Slide, grid: Grid, index: NDArray[np.int32]) -> NDArray[np.uint8] | None:
    y, x = grid.level0_yx(index).tolist()
    try:
        return slide.read_region((y, x), (grid.size, grid.size), grid.mpp)
    except SlideError as error:
        log.warning("%s: patch %s is left out: %s", slide.slide_id, index.tolist(), error)
        return None
