"""Batches of pairs: every slide its share, pixels with their own targets, readers that end."""

import logging
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from lrmil.slides.opening import open_slide
from lrmil.slides.slide import Slide
from lrmil.training import pair_loading
from lrmil.training.pair_loading import PairedBatch, draw_patches, load_pairs
from lrmil.training.pairs import PairedSlide, RegionSamples, count_regions, region_samples
from support.slides import torn

pytestmark = pytest.mark.long


@pytest.fixture
def small_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few patches come from many slides."""
    monkeypatch.setattr(pair_loading, "MIN_SHARE", 1)


def test_a_large_cohort_takes_its_turns(pairs: list[PairedSlide], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_loading, "MIN_SHARE", 8)
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(12):
        drawn = draw_patches(pairs[:6], 20, generator)
        assert [len(item.rows) for item in drawn] == [8, 8, 4]
        seen |= {item.slide.source.slide_id for item in drawn}
    assert len(seen) == 6


@pytest.mark.usefixtures("small_shares")
class TestLoading:
    def test_every_slide_gives_an_equal_share(self, pairs: list[PairedSlide]) -> None:
        generator = torch.Generator().manual_seed(0)
        drawn = draw_patches(pairs[:4], 20, generator)
        assert sorted(item.slide.source.slide_id for item in drawn) == [pair.source.slide_id for pair in pairs[:4]]
        assert all(len(item.rows) == 5 == len(item.rows.unique()) for item in drawn)
        everything = draw_patches(pairs[:4], 10**6, generator)
        assert all(sorted(item.rows.tolist()) == list(range(count_regions(item.slide))) for item in everything)
        again = draw_patches(pairs[:4], 20, torch.Generator().manual_seed(0))
        assert all(torch.equal(one.rows, other.rows) for one, other in zip(drawn, again, strict=True))

    @pytest.mark.parametrize("mixed", [True, False])
    @pytest.mark.parametrize("threads", [1, 3])
    def test_pixels_come_with_their_own_targets(self, pairs: list[PairedSlide], mixed: bool, threads: int) -> None:
        drawn = draw_patches(pairs[:3], 21, torch.Generator().manual_seed(0))
        generator = torch.Generator().manual_seed(1) if mixed else None
        batches = list(load_pairs(drawn, batch_size=4, threads=threads, generator=generator))
        assert [len(batch.targets) for batch in batches] == [4, 4, 4, 4, 4, 1]
        assert len(drawn) == 3
        pixels = torch.cat([batch.pixels for batch in batches])
        targets = RegionSamples.concatenate([batch.targets for batch in batches])
        expected = {}
        for item in drawn:
            with open_slide(item.slide.source.path) as slide:
                samples = region_samples(item.slide)
                for row in item.rows.tolist():
                    corner = (int(samples.index[row, 0]) * 256, int(samples.index[row, 1]) * 256)
                    expected[samples.mean[row].numpy().tobytes()] = (
                        slide.read_region(corner, (64, 64), 2.0),
                        samples,
                        row,
                    )
        assert len(expected) == 21
        order = [list(expected).index(mean.numpy().tobytes()) for mean in targets.mean]
        assert (order == sorted(order)) != mixed
        for place, mean in enumerate(targets.mean):
            image, samples, row = expected.pop(mean.numpy().tobytes())
            assert np.array_equal(pixels[place].numpy(), image)
            assert torch.equal(targets.covered[place], samples.covered[row])
            assert all(
                torch.equal(a[place], b[row]) for a, b in zip(targets.class_tokens, samples.class_tokens, strict=True)
            )

    def test_an_unreadable_patch_is_left_out_with_a_warning(
        self, pairs: list[PairedSlide], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        samples = region_samples(pairs[0])
        lost = tuple((samples.index[2].astype(int) * 256).tolist())
        torn(monkeypatch, "demo-000", {lost})
        drawn = draw_patches(pairs[:2], 10**6, torch.Generator().manual_seed(0))
        with caplog.at_level(logging.WARNING):
            batches = list(load_pairs(drawn, batch_size=8, threads=2, generator=None))
        assert sum(len(batch.targets) for batch in batches) == sum(map(count_regions, pairs[:2])) - 1
        assert all(len(batch.pixels) == len(batch.targets) for batch in batches)
        means = torch.cat([batch.targets.mean for batch in batches])
        assert not (means == samples.mean[2]).all(1).any()
        assert len(caplog.records) == 1 and "left out: torn" in caplog.text

    def test_stopping_early_waits_for_the_readers(
        self, pairs: list[PairedSlide], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        events: list[str] = []
        read, close = Slide.read_region, Slide.close

        def slow(self: Slide, *args: object) -> object:
            import time

            time.sleep(0.02)
            found = read(self, *args)  # type: ignore[arg-type]
            events.append("read")
            return found

        def closed(self: Slide) -> None:
            events.append("closed")
            close(self)

        monkeypatch.setattr(Slide, "read_region", slow)
        monkeypatch.setattr(Slide, "close", closed)
        drawn = draw_patches(pairs[:2], 40, torch.Generator().manual_seed(0))
        stream: Iterator[PairedBatch] = load_pairs(drawn, batch_size=4, threads=2, generator=None)
        next(stream)
        stream.close()  # type: ignore[attr-defined]
        assert "read" not in events[events.index("closed") :] and events.count("closed") == 2
        assert not caplog.records
