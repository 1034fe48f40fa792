"""Samples of high-resolution features over the region of a low-resolution patch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lrmil.errors import FormatError
from lrmil.features.store import read_features, read_index
from lrmil.slides.source import SlideSource
from lrmil.training.pairs import PairedSlide, RegionSamples, count_regions, region_samples
from support.runs import write_bag

pytestmark = pytest.mark.long


def paired(folder: Path, *, logits: bool = True, seed: int = 0) -> PairedSlide:
    """Features without a slide: LR cells in odd order, HR children shuffled, some without an LR cell."""
    rng = np.random.default_rng(seed)
    lr_index = rng.permutation(np.argwhere(rng.random((5, 6)) < 0.7))
    hr_index = rng.permutation(np.argwhere(rng.random((10, 12)) < 0.5))
    layers = {layer: rng.normal(size=(len(hr_index), 3)).astype(np.float16) for layer in (-1, 10, 2)}
    lr = write_bag(folder / "lr.zarr", lr_index, rng.normal(size=(len(lr_index), 4)))
    hr = write_bag(folder / "hr.zarr", hr_index, rng.normal(size=(len(hr_index), 4)), layers, mpp=1.0)
    attention = rng.normal(0, 3, len(hr_index)).astype(np.float32) if logits else None
    return PairedSlide(SlideSource("s", folder / "s.tif"), lr, hr, 2, attention)


class TestRegionSamples:
    @pytest.mark.parametrize("logits", [True, False])
    def test_against_a_naive_loop(self, tmp_path: Path, logits: bool) -> None:
        slide = paired(tmp_path, logits=logits)
        hr, lr_index = read_features(slide.hr, layers=True), read_index(slide.lr)
        samples = region_samples(slide)
        where = {tuple(cell): k for k, cell in enumerate(hr.index.tolist())}
        expected = []
        for row, col in lr_index.tolist():
            inside = {2 * i + j: where.get((2 * row + i, 2 * col + j)) for i in range(2) for j in range(2)}
            if any(k is not None for k in inside.values()):
                expected.append(((row, col), inside))
        assert len(samples) == len(expected) == count_regions(slide) < len(lr_index)
        for r, (cell, inside) in enumerate(expected):
            assert tuple(samples.index[r].tolist()) == cell
            present = {slot: k for slot, k in inside.items() if k is not None}
            assert {slot for slot in range(4) if samples.covered[r, slot]} == set(present)
            attention = np.array(
                [0.0 if slide.attention_logits is None else slide.attention_logits[k] for k in present.values()]
            )
            weight = np.exp(attention) / np.exp(attention).sum()
            mean = (weight[:, None] * hr.embeddings[list(present.values())]).sum(0)
            np.testing.assert_allclose(samples.mean[r], mean, rtol=1e-4, atol=1e-5)
            for tokens, layer in zip(samples.class_tokens, (2, 10, -1), strict=True):  # in the order of the network
                for slot in range(4):
                    assert tokens[r, slot].tolist() == (
                        hr.layers[layer][present[slot]].tolist() if slot in present else [0] * 3
                    )

    def test_the_embedding_of_the_start_is_found_by_its_place(self, tmp_path: Path) -> None:
        slide = paired(tmp_path)
        index = np.random.default_rng(1).permutation(read_index(slide.lr))
        values = index @ np.array([[10.0], [1.0]])
        samples = region_samples(replace(slide, start=write_bag(tmp_path / "start.zarr", index, values)))
        assert samples.start.squeeze(1).tolist() == (samples.index @ np.array([10, 1])).tolist()
        rows = torch.tensor([2, 0])
        assert RegionSamples.concatenate([samples.take(rows), samples]).start[:2].equal(samples.start[rows])

    def test_without_a_start_there_is_no_embedding_of_it(self, tmp_path: Path) -> None:
        samples = region_samples(paired(tmp_path))
        assert samples.start.shape == (len(samples), 0)

    def test_a_start_that_lacks_patches_is_an_error(self, tmp_path: Path) -> None:
        slide = paired(tmp_path)
        index = read_index(slide.lr)[1:]
        start = write_bag(tmp_path / "start.zarr", index, np.zeros((len(index), 4)))
        with pytest.raises(FormatError, match="lacks LR patches"):
            region_samples(replace(slide, start=start))

    def test_attention_weighs_the_mean(self, tmp_path: Path) -> None:
        attended = paired(tmp_path)
        uniform = replace(attended, attention_logits=None)
        assert not torch.allclose(region_samples(attended).mean, region_samples(uniform).mean, atol=0.1)

    def test_take_and_concatenate(self, tmp_path: Path) -> None:
        samples = region_samples(paired(tmp_path))
        rows = torch.tensor([3, 0, 2])
        some = samples.take(rows)
        again = RegionSamples.concatenate([samples.take(rows[:1]), samples.take(rows[1:])])
        for taken in (some, again):
            assert np.array_equal(taken.index, samples.index[[3, 0, 2]]) and torch.equal(taken.mean, samples.mean[rows])
            assert torch.equal(taken.covered, samples.covered[rows])
            assert all(torch.equal(a, b[rows]) for a, b in zip(taken.class_tokens, samples.class_tokens, strict=True))
