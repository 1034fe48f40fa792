"""What is sampled is what a plain loop would take: rows without repetition, their pixels, and their targets alone."""

import logging
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from lrmil.errors import SlideChangedError
from lrmil.features.store import read_index
from lrmil.slides.opening import open_slide
from lrmil.slides.slide import Slide
from lrmil.slides.source import SlideSource
from lrmil.training import lr_patches, sampled_patches
from lrmil.training.pair_memory import PairMemory
from lrmil.training.sampled_patches import Sample, SampledBag, SampledPatches, SlideBag
from support.recording import Read, open_recorded
from support.slides import torn

pytestmark = pytest.mark.long
CELL = 256  # px of level 0 under an LR patch of the run


def draw(patches: SampledPatches, slides: list[SlideBag], limit: int, seed: int = 0) -> list[Sample]:
    generator = torch.Generator().manual_seed(seed)
    return [patches.draw(slide, limit, generator) for slide in slides]


def naive(sample: Sample) -> tuple[np.ndarray, list[float]]:
    """Pixels and log A_r of a sample, one patch after the other."""
    index = read_index(sample.slide.lr)
    pixels, masses = [], []
    with open_slide(sample.slide.source.path) as slide:
        for row in sample.rows.tolist():
            y, x = (int(place) * CELL for place in index[row])
            pixels.append(slide.read_region((y, x), (64, 64), 2.0))
            masses.append(float(sample.slide.bag.log_mass[row]))  # type: ignore[index]
    return np.stack(pixels), masses


def assert_equal(read: SampledBag, sample: Sample) -> None:
    pixels, masses = naive(sample)
    assert np.array_equal(read.pixels.numpy(), pixels)
    assert read.bag.log_mass is not None and read.bag.log_mass.tolist() == masses
    assert (read.bag.slide_id, read.bag.target) == (sample.slide.bag.slide_id, sample.slide.bag.target)


def test_rows_are_drawn_without_repetition_in_the_order_of_the_slide(slide_bags: list[SlideBag]) -> None:
    patches, slide = SampledPatches(1), slide_bags[0]
    count, seen = len(read_index(slide.lr)), set()
    for seed in range(40):
        (sample,) = draw(patches, [slide], 5, seed)
        rows = sample.rows.tolist()
        assert len(rows) == 5 == len(set(rows)) and rows == sorted(rows)
        seen |= set(rows)
    assert seen == set(range(count))
    assert torch.equal(*(draw(SampledPatches(1), [slide], 5, 3)[0].rows for _ in range(2)))


@pytest.mark.parametrize("limit", [-1, 0, 1])
def test_a_slide_with_few_patches_gives_all_of_them(slide_bags: list[SlideBag], limit: int) -> None:
    count = len(read_index(slide_bags[0].lr))
    (sample,) = draw(SampledPatches(1), slide_bags[:1], count + limit)
    assert len(sample.rows) == min(count, count + limit)
    (read,) = SampledPatches(1).read([sample])
    assert_equal(read, sample)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_samples_are_those_of_a_plain_loop(
    slide_bags: list[SlideBag], threads: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than are read ahead, some slides twice, with and without memory."""
    monkeypatch.setattr(sampled_patches, "PairMemory", lambda: PairMemory(limit))
    patches = SampledPatches(threads)
    samples = draw(patches, [*slide_bags[:7], *slide_bags[:3]], 4)
    for _ in range(2):
        found = list(patches.read(samples))
        for read, sample in zip(found, samples, strict=True):
            assert_equal(read, sample)


def test_each_patch_is_read_once_while_it_fits(slide_bags: list[SlideBag], monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[Path, list[list[Read]]] = {}

    def recorded(source: SlideSource) -> Slide:
        slide, reads = open_recorded(source.path)
        found.setdefault(source.path, []).append(reads)
        return slide

    monkeypatch.setattr(lr_patches, "open_source", recorded)
    patches = SampledPatches(2)
    for seed in range(4):
        list(patches.read(draw(patches, slide_bags[:2], 5, seed)))
    every = {path: [read for once in times for read in once] for path, times in found.items()}
    assert len(every) == 2 and all(len(reads) == len(set(reads)) > 5 for reads in every.values())


def test_unreadable_patches_are_left_out_with_their_targets(
    slide_bags: list[SlideBag], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = slide_bags[:2]
    index = read_index(first.lr)
    lost = [1, 2]
    torn(monkeypatch, first.source.slide_id, {tuple((index[row].astype(int) * CELL).tolist()) for row in lost})
    torn(
        monkeypatch, second.source.slide_id, {tuple((one.astype(int) * CELL).tolist()) for one in read_index(second.lr)}
    )
    patches = SampledPatches(2)
    samples = draw(patches, [first, second], 10**6)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):  # the second time from memory
            one, other = patches.read(samples)
            kept = [row for row in range(len(index)) if row not in lost]
            assert_equal(one, Sample(first, torch.tensor(kept)))
            assert len(other.pixels) == 0 and other.bag.log_mass is not None and len(other.bag.log_mass) == 0
    assert len(caplog.records) == 2 + len(read_index(second.lr)) and "left out: torn" in caplog.text


def test_a_slide_that_changed_is_refused_and_closed(
    slide_bags: list[SlideBag], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    close = Slide.close

    def recorded(self: Slide) -> None:
        closed.append(self.slide_id)
        close(self)

    monkeypatch.setattr(Slide, "close", recorded)
    one, other = slide_bags[:2]
    changed = SlideBag(one.bag, SlideSource(one.source.slide_id, other.source.path))
    patches = SampledPatches(1)
    with pytest.raises(SlideChangedError, match="changed after its features"):
        list(patches.read(draw(patches, [other, changed], 3)))
    assert len(closed) == 2


def test_stopping_early_waits_for_the_readers(slide_bags: list[SlideBag], monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    read, close = Slide.read_region, Slide.close

    def slow(self: Slide, *args: object) -> object:
        time.sleep(0.02)
        found = read(self, *args)  # type: ignore[arg-type]
        events.append(f"read {self.slide_id}")
        return found

    def recorded(self: Slide) -> None:
        events.append(f"closed {self.slide_id}")
        close(self)

    monkeypatch.setattr(Slide, "read_region", slow)
    monkeypatch.setattr(Slide, "close", recorded)
    patches = SampledPatches(2)
    stream = patches.read(draw(patches, slide_bags[:6], 6))
    next(stream)
    stream.close()
    opened = {event.split()[1] for event in events}
    assert len(opened) >= 2
    for name in opened:
        assert f"read {name}" not in events[events.index(f"closed {name}") :]
