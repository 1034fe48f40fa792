"""Read patches of a slide as a stream of batches that threads decode ahead of the consumer."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import SlideError
from lrmil.slides.slide import Slide
from lrmil.slides.threads import reading_threads

AHEAD = 2  # batches
LONGEST_RUN = 8  # patches read in one task: neighbours share tiles, and a task costs as much as a cheap patch


class Batch(NamedTuple):
    """Patches that were read, and positions of those that could not be."""

    positions: NDArray[np.int64]
    """(b,) positions in the list of requested patches."""
    pixels: NDArray[np.uint8]
    """(b, P, P, 3) uint8 RGB."""
    failed: NDArray[np.int64]
    """(f,) positions that could not be read; they have no pixels."""


def load_patches(
    slide: Slide, level0_yx: NDArray[np.integer], *, size: int, mpp: float, batch_size: int, threads: int = 2
) -> Iterator[Batch]:
    """Read square patches in order, `batch_size` at a time, at most two batches ahead of the consumer.

    Parameters
    ----------
    slide
        An open slide; reading is thread-safe.
    level0_yx
        (n, 2) top-left corners in level-0 pixels.
    size
        Side of a patch in pixels.
    mpp
        Resolution of a patch in um/px.
    batch_size
        Patches per batch.
    threads
        Decoding threads; 0 for as many as cores.

    Yields
    ------
    Batch
        Every patch once, in order; the last batch may be smaller.
    """

    def read(run: range) -> list[NDArray[np.uint8] | None]:
        return [_read(slide, tuple(level0_yx[position].tolist()), size, mpp) for position in run if not closed.is_set()]

    closed = threading.Event()
    count, workers = len(level0_yx), reading_threads(threads)
    length = max(1, min(LONGEST_RUN, count // (4 * workers)))  # few patches still keep every thread at work
    with ThreadPoolExecutor(workers) as pool:
        batches = iter(range(first, min(first + batch_size, count)) for first in range(0, count, batch_size))
        waiting: deque[tuple[range, list[Future[list[NDArray[np.uint8] | None]]]]] = deque()
        try:
            while True:
                for batch in islice(batches, AHEAD + 1 - len(waiting)):
                    runs = [batch[start : start + length] for start in range(0, len(batch), length)]
                    waiting.append((batch, [pool.submit(read, run) for run in runs]))
                if not waiting:
                    return
                batch, futures = waiting.popleft()
                yield _collect(batch, [pixels for future in futures for pixels in future.result()], size)
        finally:
            closed.set()
            for _, futures in waiting:
                for future in futures:
                    future.cancel()


def _read(slide: Slide, origin_yx: tuple[int, int], size: int, mpp: float) -> NDArray[np.uint8] | None:
    try:
        return slide.read_region(origin_yx, (size, size), mpp)
    except SlideError:
        return None


def _collect(positions: range, pixels: Sequence[NDArray[np.uint8] | None], size: int) -> Batch:
    good = [(position, one) for position, one in zip(positions, pixels, strict=True) if one is not None]
    return Batch(
        np.array([position for position, _ in good], np.int64),
        np.stack([one for _, one in good]) if good else np.zeros((0, size, size, 3), np.uint8),
        np.array([position for position, one in zip(positions, pixels, strict=True) if one is None], np.int64),
    )
