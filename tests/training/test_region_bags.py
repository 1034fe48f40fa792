"""Bags of regions with their HR patches side by side: each where it lies, compared with a plain loop."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrmil.configs import FitConfig, MILConfig
from lrmil.errors import FormatError
from lrmil.features.regions import place_patches
from lrmil.features.store import read_features
from lrmil.models.heads.ensemble import Ensemble
from lrmil.models.heads.head import predict_bag
from lrmil.models.heads.region_attention import RegionAttention
from lrmil.steps import last
from lrmil.tasks.classification import Classification
from lrmil.training.bag_batches import keep_some, pad_bags
from lrmil.training.bags import Bag, BagStore
from lrmil.training.loop import Fit, FitRun
from lrmil.training.region_bags import read_bag
from lrmil.training.slide_stage import train_mil
from support.bags import CPU
from support.runs import write_bag

DIM = 5
TASK = Classification(("no", "yes"))
CONFIG = MILConfig(hidden_dim=8, seeds=1, dropout=0.0, patch_dropout=0.25, fit=FitConfig(epochs=40, learning_rate=0.02))


def hr_patches(seed: int, children: int, share: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Some patches of 3 x 4 regions, in disorder: index and embeddings."""
    rng = np.random.default_rng(seed)
    index = rng.permutation(np.argwhere(rng.random((3 * children, 4 * children)) < share))
    return index.astype(np.int32), rng.normal(size=(len(index), DIM)).astype(np.float32)


def write_slide(folder: Path, name: str, index: np.ndarray, values: np.ndarray, children: int) -> Bag:
    """HR features, and the regions that they lie in."""
    hr = write_bag(folder / "hr" / f"{name}.zarr", index, values, mpp=2.0 / children)
    cells = np.unique(index // children, axis=0)
    means = [values[(index // children == cell).all(1)].mean(0) for cell in cells]
    regions = write_bag(folder / "regions" / f"{name}.zarr", cells, np.array(means))
    return Bag(name, regions, 0, nested=hr)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), children=st.sampled_from([1, 2, 4]), share=st.floats(0.05, 1.0))
def test_each_patch_lies_in_its_place(seed: int, children: int, share: float) -> None:
    index, values = hr_patches(seed, children, share)
    cells = np.unique(index // children, axis=0).astype(np.int32)
    cells = np.random.default_rng(seed).permutation(cells)
    found = place_patches(cells, index, values, children)
    expected = np.zeros((len(cells), children**2, DIM + 1), np.float32)
    for (row, col), value in zip(index.tolist(), values, strict=True):
        region = cells.tolist().index([row // children, col // children])
        slot = row % children * children + col % children
        expected[region, slot] = [*value, 1.0]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("children", [1, 2, 4])
def test_a_bag_is_read_from_both_features(tmp_path: Path, children: int) -> None:
    bag = write_slide(tmp_path, "s", *hr_patches(0, children), children)
    hr, regions = read_features(bag.nested or Path()), read_features(bag.features)
    nested = read_bag(bag.features, bag.nested)
    np.testing.assert_array_equal(nested, place_patches(regions.index, hr.index, hr.embeddings, children))
    assert torch.equal(read_bag(bag.features), torch.from_numpy(regions.embeddings))
    store = BagStore(CPU)
    assert torch.equal(store.embeddings(bag), nested) and store.dim(bag) == DIM
    assert sorted(store.patches(bag).tolist()) == sorted(hr.embeddings.tolist())
    plain = replace(bag, nested=None)
    assert torch.equal(BagStore(CPU).patches(plain), torch.from_numpy(regions.embeddings))


@pytest.mark.parametrize("change", [lambda cells: cells[1:], lambda cells: np.concatenate([cells, [[90, 90]]])])
def test_regions_of_other_patches_are_refused(tmp_path: Path, change: object) -> None:
    bag = write_slide(tmp_path, "s", *hr_patches(0, 2), 2)
    cells = change(read_features(bag.features).index)  # type: ignore[operator]
    write_bag(bag.features, cells, np.zeros((len(cells), DIM)))
    with pytest.raises(FormatError, match="regions in"):
        read_bag(bag.features, bag.nested)


def test_a_step_drops_whole_regions_and_pads_with_none(tmp_path: Path) -> None:
    slides = [write_slide(tmp_path, f"s{n}", *hr_patches(n, 2, share), 2) for n, share in enumerate((0.2, 0.9))]
    store = BagStore(CPU)
    (batch,) = pad_bags(slides, store)
    assert not batch.embeddings[~batch.mask].any()
    kept = keep_some(batch, 0.5, torch.Generator().manual_seed(0))
    for bag, values, mask in zip(kept.bags, kept.embeddings, kept.mask, strict=True):
        own = store.embeddings(bag).tolist()
        drawn = values[mask].tolist()
        assert len(drawn) == max(1, round(len(own) / 2)) and all(region in own for region in drawn)


def opposed(folder: Path, count: int = 16) -> list[Bag]:
    """Slides whose regions have a mean of 0 in either class: one patch says the class, another the opposite."""
    made = []
    for number in range(count):
        rng = np.random.default_rng(number)
        index = np.argwhere(np.ones((6, 6), bool)).astype(np.int32)
        values = rng.normal(scale=0.1, size=(len(index), DIM)).astype(np.float32)
        told, sign = (index % 2 == 0).all(1), 2.0 * (number % 2) - 1.0
        values[told, 0], values[told, 1] = sign, 2.0
        values[(index % 2 == 1).all(1), 0] = -sign
        made.append(replace(write_slide(folder, f"s{number}", index, values, 2), target=number % 2))
    return made


def fit(slides: list[Bag], out: Path, config: MILConfig = CONFIG) -> Fit:
    run = FitRun(0, out / "mil.checkpoint.safetensors", "key", CPU)
    out.mkdir(exist_ok=True)
    return last(train_mil(("fold-0", "teacher"), slides, [], run, task=TASK, config=config))


def right(mil: object, slides: list[Bag]) -> float:
    """Share of the slides that a MIL classifies as they are labelled."""
    outputs = [predict_bag(mil, read_bag(bag.features, bag.nested)) for bag in slides]  # type: ignore[arg-type]
    return float(np.mean([output.logits.argmax() == bag.target for output, bag in zip(outputs, slides, strict=True)]))


def test_it_learns_which_patch_of_a_region_tells_where_the_mean_does_not(tmp_path: Path) -> None:
    slides = opposed(tmp_path)
    nested = fit(slides[:10], tmp_path / "nested").module
    assert isinstance(nested, RegionAttention) and right(nested, slides[10:]) == 1.0
    means = [replace(bag, nested=None) for bag in slides]
    assert right(fit(means[:10], tmp_path / "means").module, means[10:]) < 0.9


@pytest.mark.parametrize("seeds", [1, 3])
def test_standardised_inputs_are_those_of_the_patches(tmp_path: Path, seeds: int) -> None:
    slides = opposed(tmp_path, 4)
    config = replace(CONFIG, standardised=True, seeds=seeds, fit=FitConfig(epochs=0))
    mil = fit(slides, tmp_path / "out", config).module
    values = np.concatenate([read_features(bag.nested or Path()).embeddings for bag in slides])
    members = [part for part in mil.modules() if isinstance(part, RegionAttention)]
    assert len(members) == seeds and isinstance(mil, Ensemble) == (seeds > 1)
    for member in members:
        np.testing.assert_allclose(member.shift, values.mean(0), atol=1e-5)
        np.testing.assert_allclose(member.scale, 1 / values.std(0), rtol=1e-4)
        assert not member.over_regions.shift.any()  # type: ignore[attr-defined]
