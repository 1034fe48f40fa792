"""Read patches of a slide as a stream of batches that threads decode ahead of the consumer."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import SlideError
from lrmil.slides.slide import Slide
from lrmil.slides.threads import reading_threads


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

    def read(position: int) -> NDArray[np.uint8] | None:
        try:
            return slide.read_region(tuple(level0_yx[position].tolist()), (size, size), mpp)
        except SlideError:
            return None

    with ThreadPoolExecutor(reading_threads(threads)) as pool:
        positions = iter(range(len(level0_yx)))
        waiting: deque[tuple[int, Future[NDArray[np.uint8] | None]]] = deque()
        try:
            while True:
                for position in islice(positions, 3 * batch_size - len(waiting)):
                    waiting.append((position, pool.submit(read, position)))
                if not waiting:
                    return
                yield _collect([waiting.popleft() for _ in range(min(batch_size, len(waiting)))], size)
        finally:
            for _, future in waiting:
                future.cancel()


def _collect(items: list[tuple[int, "Future[NDArray[np.uint8] | None]"]], size: int) -> Batch:
    read = [(position, future.result()) for position, future in items]
    good = [(position, pixels) for position, pixels in read if pixels is not None]
    return Batch(
        np.array([position for position, _ in good], np.int64),
        np.stack([pixels for _, pixels in good]) if good else np.zeros((0, size, size, 3), np.uint8),
        np.array([position for position, pixels in read if pixels is None], np.int64),
    )
