"""The stream of patches keeps order and bounds, tells what failed, and stops when the consumer does."""

import threading
import time
from collections.abc import Callable, Generator, Set
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

from lrmil.errors import SlideError
from lrmil.patches.loading import Batch, load_patches
from lrmil.slides.opening import open_slide
from lrmil.slides.slide import Slide
from support.slides import coordinate_pixels, overwrite, segment_of, write_pyramid

SIZE, MPP = 4, 2.0


class SlideStub:
    """Patches whose every pixel is (y, x, 7); those in `broken` cannot be read; `before` runs first, in the thread."""

    def __init__(self, broken: Set[int] = frozenset(), before: Callable[[int], object] = lambda number: None) -> None:
        self.broken = broken
        self.before = before
        self.reads: list[int] = []

    def read_region(self, origin_yx: tuple[int, int], size_yx: tuple[int, int], mpp: float) -> NDArray[np.uint8]:
        number = origin_yx[0]
        self.reads.append(number)
        assert type(number) is int and size_yx == (SIZE, SIZE) and mpp == MPP
        self.before(number)
        if number in self.broken:
            raise SlideError("this block is torn")
        return np.full((*size_yx, 3), (*origin_yx, 7), np.uint8)


def corners(count: int) -> NDArray[np.int64]:
    """Patch n lies at (n, 2 n)."""
    return np.stack([np.arange(count), 2 * np.arange(count)], 1)


def load(stub: SlideStub, count: int, *, batch_size: int, threads: int = 2) -> list[Batch]:
    return list(stream(stub, count, batch_size=batch_size, threads=threads))


def stream(stub: SlideStub, count: int, *, batch_size: int, threads: int = 2) -> Generator[Batch, None, None]:
    batches = load_patches(
        cast(Slide, stub), corners(count), size=SIZE, mpp=MPP, batch_size=batch_size, threads=threads
    )
    return cast("Generator[Batch, None, None]", batches)


def until(condition: Callable[[], bool]) -> None:
    """Wait for other threads, at most 10 s."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


class TestBatches:
    @pytest.mark.parametrize(
        ("count", "batch_size", "sizes"), [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (3, 4, [3]), (5, 1, [1] * 5), (0, 4, [])]
    )
    def test_sizes(self, count: int, batch_size: int, sizes: list[int]) -> None:
        assert [len(batch.positions) for batch in load(SlideStub(), count, batch_size=batch_size)] == sizes

    def test_order_and_content_though_threads_finish_out_of_order(self) -> None:
        delays = np.random.default_rng(0).random(24) * 0.004
        batches = load(SlideStub(before=lambda n: time.sleep(delays[n])), 24, batch_size=5, threads=4)
        positions = np.concatenate([batch.positions for batch in batches])
        pixels = np.concatenate([batch.pixels for batch in batches])
        assert positions.dtype == np.int64 and positions.tolist() == list(range(24))
        assert pixels.dtype == np.uint8 and pixels.shape == (24, SIZE, SIZE, 3)
        assert np.array_equal(pixels[:, 2, 1], np.column_stack([corners(24), np.full(24, 7)]))
        assert not any(len(batch.failed) for batch in batches)


class TestFailures:
    def test_failed_patches_are_named_and_not_painted(self) -> None:
        batches = load(SlideStub(broken={1, 6, 7}), 9, batch_size=4)
        assert [batch.positions.tolist() for batch in batches] == [[0, 2, 3], [4, 5], [8]]
        assert [batch.failed.tolist() for batch in batches] == [[1], [6, 7], []]
        for batch in batches:
            assert batch.pixels[:, 0, 0, 0].tolist() == batch.positions.tolist()

    def test_a_batch_that_failed_wholly_still_comes(self) -> None:
        (batch,) = load(SlideStub(broken={0, 1}), 2, batch_size=4)
        assert batch.positions.shape == (0,) and batch.failed.tolist() == [0, 1]
        assert batch.pixels.shape == (0, SIZE, SIZE, 3) and batch.pixels.dtype == np.uint8

    def test_a_torn_tile_of_a_real_slide(self, tmp_path: Path) -> None:
        path = write_pyramid(tmp_path / "slide.tif", coordinate_pixels(512, 512), mpp=0.5, factors=(), tile=128)
        offset, length = segment_of(path, 0, 5)
        overwrite(path, offset, b"\xff" * length)
        index = np.stack(np.meshgrid(np.arange(4), np.arange(4), indexing="ij"), -1).reshape(-1, 2)
        with open_slide(path) as slide:
            batches = list(load_patches(slide, index * 128, size=32, mpp=2.0, batch_size=6))
        assert np.concatenate([batch.failed for batch in batches]).tolist() == [5]
        positions = np.concatenate([batch.positions for batch in batches])
        assert positions.tolist() == [n for n in range(16) if n != 5]
        corner = np.concatenate([batch.pixels[:, 0, 0, :2] for batch in batches])
        assert np.array_equal(corner, 32 * index[positions])

    def test_other_errors_are_not_taken_for_torn_blocks(self) -> None:
        def stumble(number: int) -> None:
            if number == 2:
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            load(SlideStub(before=stumble), 5, batch_size=4)


class TestLookAhead:
    def test_reads_two_batches_ahead_and_no_more(self) -> None:
        stub = SlideStub()
        batches = stream(stub, 100, batch_size=4)
        for taken in range(1, 6):
            next(batches)
            until(lambda: len(stub.reads) >= 4 * taken + 8)  # noqa: B023
            time.sleep(0.01)
            assert len(stub.reads) == 4 * taken + 8
        batches.close()

    def test_closing_cancels_what_was_not_begun(self) -> None:
        gate = threading.Event()
        stub = SlideStub(before=lambda number: number < 4 or gate.wait(10))
        batches = stream(stub, 100, batch_size=4, threads=1)
        next(batches)
        until(lambda: len(stub.reads) == 5)  # the fifth read waits at the gate, seven more are asked for
        threading.Timer(0.05, gate.set).start()
        batches.close()
        assert len(stub.reads) == 5

    def test_no_thread_outlives_the_stream(self) -> None:
        before = threading.active_count()
        batches = stream(SlideStub(), 50, batch_size=4, threads=3)
        next(batches)
        assert threading.active_count() > before
        batches.close()
        assert threading.active_count() == before
