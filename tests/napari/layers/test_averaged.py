"""What is drawn where a slide has no level: means of the stored pixels, read once, kept within a bound."""

import math
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lrmil.slides.opening import open_slide
from lrmil.slides.pyramid import hatched
from napari_lrmil.layers import averaged
from napari_lrmil.layers.averaged import first_look_steps, with_averaged_levels
from support.slides import coordinate_pixels, overwrite, segment_of, write_pyramid

Pixels = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(averaged, "COARSE", 8)


def lazy(*levels: Pixels, chunk: tuple[int, int]) -> list[da.Array]:
    return [
        da.from_array(level, chunks=(*chunk, 3), name=f"level-{index}", fancy=False)
        for index, level in enumerate(levels)
    ]


def means(pixels: Pixels) -> Pixels:
    """Half as large, pixel by pixel; at the edges fewer than four are averaged."""
    height, width = pixels.shape[:2]
    out = np.empty((math.ceil(height / 2), math.ceil(width / 2), 3), np.uint8)
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            four = pixels[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].reshape(-1, 3).astype(int)
            out[y, x] = np.floor(four.mean(0) + 0.5)
    return out


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 33),
    width=st.integers(1, 33),
    chunk=st.tuples(st.integers(2, 11), st.integers(2, 11)),
    gap=st.sampled_from([None, 2, 4, 5, 8, 16]),
    cut=st.tuples(st.integers(0, 10), st.integers(0, 10)),
    seed=st.integers(0, 99),
)
def test_levels_are_the_means_that_a_plain_loop_gives(
    height: int, width: int, chunk: tuple[int, int], gap: int | None, cut: tuple[int, int], seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    stored = [pixels] if gap is None or gap > min(height, width) else [pixels, pixels[::gap, ::gap]]
    drawn = with_averaged_levels(lazy(*stored, chunk=chunk))
    expected: list[Pixels] = []
    for level, coarser in zip(stored, [*stored[1:], None], strict=True):
        expected.append(level)
        while max(expected[-1].shape[:2]) > (8 if coarser is None else 4.4 * max(coarser.shape[:2])):
            expected.append(means(expected[-1]))
    assert [level.shape for level in drawn] == [level.shape for level in expected]
    for level, right in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(level[cut[0] :, cut[1] :]), right[cut[0] :, cut[1] :])
        np.testing.assert_array_equal(np.asarray(level), right)


@pytest.mark.parametrize(
    ("factors", "between"),
    [((), [1, 2, 4, 8]), ((2, 4, 16), []), ((4, 16), []), ((4,), [4, 8]), ((16,), [1, 2]), ((2, 16), [2])],
)
def test_levels_are_added_only_where_the_step_is_wide(factors: tuple[int, ...], between: list[int]) -> None:
    stored = [np.zeros((128 // factor, 96 // factor, 3), np.uint8) for factor in (1, *factors)]
    drawn = [128 // level.shape[0] for level in with_averaged_levels(lazy(*stored, chunk=(16, 16)))]
    assert drawn == sorted([1, *factors, *(2 * factor for factor in between)])


class CountedLevel:
    """A level that counts how often each part of it is read."""

    ndim, dtype = 3, np.dtype(np.uint8)

    def __init__(self, pixels: Pixels, *, wait: float = 0) -> None:
        self.shape, self.reads, self._pixels, self._wait = pixels.shape, Counter[tuple[int, int]](), pixels, wait

    def __getitem__(self, index: tuple[slice, slice, slice]) -> Pixels:
        self.reads[index[0].start, index[1].start] += 1
        threading.Event().wait(self._wait)
        return self._pixels[index]


def counted(side: int, *, wait: float = 0) -> tuple[CountedLevel, list[da.Array]]:
    level = CountedLevel(coordinate_pixels(side, side), wait=wait)
    chunks = (16, 16, 3)
    stored = da.from_array(level, chunks=chunks, name="counted", meta=np.empty((0, 0, 0), np.uint8), fancy=False)
    return level, with_averaged_levels([stored])


def test_nothing_is_read_until_it_is_looked_at_and_then_once() -> None:
    level, drawn = counted(128)
    assert not level.reads
    np.asarray(drawn[1][:16, :16])
    assert len(level.reads) == 4
    for coarse in reversed(drawn[1:]):
        np.asarray(coarse)
    assert len(level.reads) == 64 and set(level.reads.values()) == {1}


@pytest.mark.parametrize("side", [16, 64, 100, 256])
def test_the_first_look_in_steps_reads_all_of_it_once(side: int) -> None:
    level, drawn = counted(side)
    steps = list(first_look_steps(drawn))
    assert [(step.done, step.total) for step in steps] == [(i + 1, len(steps)) for i in range(len(steps))]
    assert bool(steps) == (side > 32)
    np.asarray(drawn[-1])
    assert len(level.reads) == math.ceil(side / 16) ** 2 and set(level.reads.values()) == {1}


def test_a_slide_with_coarse_levels_is_not_read_for_a_first_look() -> None:
    stored = [np.zeros((side, side, 3), np.uint8) for side in (512, 64, 8)]
    assert not list(first_look_steps(with_averaged_levels(lazy(*stored, chunk=(16, 16)))))


def test_threads_that_look_at_the_same_place_read_it_once() -> None:
    level, drawn = counted(64, wait=0.005)
    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(lambda coarse: np.asarray(coarse), [drawn[-1]] * 4)
    assert set(level.reads.values()) == {1} and all((other == first).all() for other in others)


def test_what_is_kept_is_bounded_and_coarse_levels_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = 16 * 16 * 3
    monkeypatch.setattr(averaged, "KEPT_BYTES", 8 * chunk)
    kept = []
    real = averaged._Kept.__init__
    monkeypatch.setattr(averaged._Kept, "__init__", lambda self, most: kept.append(self) or real(self, most))
    level, drawn = counted(256)  # averaged: 8 x 8 chunks, then 4 x 4, 2 x 2, 1 and 1
    right = np.asarray(drawn[-1])
    assert kept[0].currsize <= 8 * chunk and len(level.reads) == 256
    before = level.reads.total()
    np.testing.assert_array_equal(np.asarray(drawn[-1]), right)
    np.asarray(drawn[3])
    assert level.reads.total() == before, "the coarse levels are kept"
    np.asarray(drawn[1])
    assert level.reads.total() > before and kept[0].currsize <= 8 * chunk
    before = level.reads.total()
    np.asarray(drawn[3])
    assert level.reads.total() == before, "finer chunks do not drive them out"


def test_what_cannot_be_read_is_hatched_at_every_level_and_the_rest_is_right(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(60, 120, (500, 390, 3), np.uint8)
    path = write_pyramid(tmp_path / "a.tif", pixels, factors=(), tile=128)
    offset, count = segment_of(path, 0, 5)  # the tile at (128, 128)
    overwrite(path, offset, b"\0" * count)
    with open_slide(path) as slide:
        drawn = with_averaged_levels(slide.pyramid())
        assert len(drawn) == 7
        expected = pixels
        for step, level in zip([2, 4, 8, 16, 32, 64], drawn[1:], strict=True):
            expected = means(expected)
            seen = np.asarray(level)
            lost = slice(128 // step, 256 // step)
            np.testing.assert_array_equal(seen[lost, lost], hatched(0, 0, *level.shape[:2])[lost, lost])
            intact = np.ones(level.shape[:2], bool)
            intact[lost, lost] = False
            np.testing.assert_array_equal(seen[intact], expected[intact])


def test_flat_grey_is_not_taken_for_hatching() -> None:
    for grey in averaged.HATCHING[:2]:
        pixels = np.full((64, 64, 3), grey, np.uint8)
        for level in with_averaged_levels(lazy(pixels, chunk=(16, 16))):
            assert (np.asarray(level) == grey).all()
