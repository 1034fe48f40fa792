"""What stage 1 has read is kept up to the limit, and what is kept is what was read."""

import numpy as np
import pytest
import torch

from lrmil.training import pair_memory
from lrmil.training.pair_memory import PairMemory
from lrmil.training.pairs import PairedSlide, RegionSamples, count_regions, region_samples

pytestmark = pytest.mark.long


def equal(one: RegionSamples, other: RegionSamples) -> bool:
    tensors = zip(
        (one.covered, one.mean, *one.class_tokens), (other.covered, other.mean, *other.class_tokens), strict=True
    )
    return np.array_equal(one.index, other.index) and all(torch.equal(a, b) for a, b in tensors)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The slides whose targets, or their number, were read from disk."""
    found: list[str] = []

    def samples(slide: PairedSlide) -> RegionSamples:
        found.append(f"samples {slide.source.slide_id}")
        return region_samples(slide)

    def count(slide: PairedSlide) -> int:
        found.append(f"count {slide.source.slide_id}")
        return count_regions(slide)

    monkeypatch.setattr(pair_memory, "region_samples", samples)
    monkeypatch.setattr(pair_memory, "count_regions", count)
    return found


def test_targets_are_read_once_while_they_fit(pairs: list[PairedSlide], read: list[str]) -> None:
    first, second = region_samples(pairs[0]), region_samples(pairs[1])
    memory = PairMemory(first.nbytes + second.nbytes - 1)
    for _ in range(3):
        assert equal(memory.samples(pairs[0]), first) and equal(memory.samples(pairs[1]), second)
        assert memory.count(pairs[1]) == len(second)
    assert read.count("samples demo-000") == 1 and read.count("samples demo-001") == 3
    assert read.count("count demo-001") == 1


def test_the_size_of_targets_is_that_of_their_arrays(pairs: list[PairedSlide]) -> None:
    samples = region_samples(pairs[0])
    tensors = [samples.covered, samples.mean, *samples.class_tokens]
    assert samples.nbytes == 8 * len(samples) + sum(one.numel() * one.element_size() for one in tensors)


def test_patches_are_kept_while_they_fit_and_lost_ones_always(pairs: list[PairedSlide]) -> None:
    one = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    memory = PairMemory(2 * one.nbytes)
    for row in range(4):
        memory.keep(pairs[0], row, one + row)
    memory.keep(pairs[0], 1, one + 1)  # again: it takes no more room
    memory.keep(pairs[1], 0, None)
    assert [memory.holds(pairs[0], row) for row in range(4)] == [True, True, False, False]
    assert np.array_equal(memory.pixels(pairs[0], 1), one + 1)  # type: ignore[arg-type]
    assert memory.holds(pairs[1], 0) and memory.pixels(pairs[1], 0) is None
