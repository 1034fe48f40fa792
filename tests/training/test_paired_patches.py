"""Stage 1 reads each patch of a small cohort once, in as many passes as it needs, with the batches of no memory."""

import time
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
import torch

from lrmil.configs import Stage1Config
from lrmil.errors import SlideError
from lrmil.slides.slide import Slide
from lrmil.slides.source import SlideSource
from lrmil.training import lr_patches, pair_memory, paired_patches
from lrmil.training.pair_loading import PairedBatch
from lrmil.training.pair_memory import PairMemory
from lrmil.training.paired_patches import PairedPatches
from lrmil.training.pairs import PairedSlide, count_regions, region_samples
from support.recording import Read, open_recorded

pytestmark = pytest.mark.long

CONFIG = Stage1Config(batch_size=8, validation_patches=24)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> dict[Path, list[list[Read]]]:
    """What is read of each slide, by the times that it is opened."""
    found: dict[Path, list[list[Read]]] = {}

    def recorded(source: SlideSource) -> Slide:
        slide, of_slide = open_recorded(source.path)
        found.setdefault(source.path, []).append(of_slide)
        return slide

    monkeypatch.setattr(lr_patches, "open_source", recorded)
    return found


def some(data: PairedPatches, intervals: int, batches: int) -> list[PairedBatch]:
    """The batches of several intervals, each of which starts anew and ends in the middle of a pass."""
    found = []
    for interval in range(intervals):
        stream = data.training(torch.Generator().manual_seed(interval))
        found += list(islice(stream, batches))
        stream.close()
        found += list(data.held_out())
    return found


def test_each_patch_is_read_once(pairs: list[PairedSlide], reads: dict[Path, list[list[Read]]]) -> None:
    data = PairedPatches(pairs[:3], pairs[3:5], CONFIG, 0, threads=2)
    total = sum(map(count_regions, pairs[:3]))
    stream = data.training(torch.Generator().manual_seed(9))
    next(stream)
    while sum(len(once) for times in reads.values() for once in times) < 3 * CONFIG.batch_size:
        time.sleep(0.01)  # until patches are read ahead
    stream.close()
    batches = some(data, intervals=3, batches=-(-total // CONFIG.batch_size) + 2)
    assert sum(len(batch.pixels) for batch in batches) > 3 * total
    for path, times in reads.items():
        counted = Counter(read for once in times for read in once)
        assert counted and set(counted.values()) == {1}, path
    assert len(reads) == 5


def test_without_memory_patches_are_read_again_and_are_the_same(
    pairs: list[PairedSlide], reads: dict[Path, list[list[Read]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered = some(PairedPatches(pairs[:3], pairs[3:5], CONFIG, 0, threads=2), 2, 7)
    reads.clear()
    monkeypatch.setattr(paired_patches, "PairMemory", lambda: PairMemory(0))
    again = some(PairedPatches(pairs[:3], pairs[3:5], CONFIG, 0, threads=1), 2, 7)
    assert max(Counter(read for once in next(iter(reads.values())) for read in once).values()) > 1
    assert len(remembered) == len(again)
    for one, other in zip(remembered, again, strict=True):
        assert torch.equal(one.pixels, other.pixels) and torch.equal(one.targets.mean, other.targets.mean)
        assert all(map(torch.equal, one.targets.class_tokens, other.targets.class_tokens))


def test_a_pass_covers_every_patch_before_the_next_begins(pairs: list[PairedSlide]) -> None:
    data = PairedPatches(pairs[:2], pairs[3:5], CONFIG, 0, threads=1)
    total = sum(map(count_regions, pairs[:2]))
    stream = data.training(torch.Generator().manual_seed(0))
    for _ in range(2):
        means: set[bytes] = set()
        while len(means) < total:
            batch = {mean.numpy().tobytes() for mean in next(stream).targets.mean}
            assert not batch & means
            means |= batch


def test_the_mean_is_that_of_all_training_targets(pairs: list[PairedSlide]) -> None:
    data = PairedPatches(pairs[:3], pairs[3:5], CONFIG, 0, threads=1)
    expected = torch.cat([region_samples(slide).mean for slide in pairs[:3]]).double().mean(0)
    torch.testing.assert_close(data.mean_target(), expected)


def test_slides_that_cannot_be_read_any_more_end_the_training(
    pairs: list[PairedSlide], monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(*_: object) -> object:
        raise SlideError("torn")

    monkeypatch.setattr(Slide, "read_region", torn)
    data = PairedPatches(pairs[:2], pairs[3:5], CONFIG, 0, threads=1)
    with pytest.raises(SlideError, match="training slides can be read"):
        next(data.training(torch.Generator().manual_seed(0)))


def test_the_limit_is_a_stated_one() -> None:
    assert pair_memory.LIMIT == 2 << 30
