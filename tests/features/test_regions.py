"""HR patches by region: means, the bags of each kind of teacher, and those in the most attended regions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrmil.configs import Teacher
from lrmil.features.regions import in_most_attended, mean_of_regions, place_patches, teacher_bag

DIM = 3


def patches(seed: int, children: int) -> tuple[np.ndarray, np.ndarray]:
    """Some HR patches of 4 x 3 regions, in disorder."""
    rng = np.random.default_rng(seed)
    index = rng.permutation(np.argwhere(rng.random((4 * children, 3 * children)) < 0.4)).astype(np.int32)
    return index, rng.normal(size=(len(index), DIM)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), children=st.sampled_from([1, 2, 4]), regions=st.integers(1, 14))
def test_the_most_attended_regions_are_those_of_a_plain_loop(seed: int, children: int, regions: int) -> None:
    index, _ = patches(seed, children)
    rng = np.random.default_rng(seed + 1)
    lr = rng.permutation(np.argwhere(rng.random((4, 3)) < 0.7)).astype(np.int32)
    attention = rng.integers(0, 4, len(lr)) / 10  # with ties
    found = in_most_attended(lr, attention, index, children=children, regions=regions)
    within = [tuple(cell // children for cell in patch) for patch in index.tolist()]
    candidates = [place for place, cell in enumerate(lr.tolist()) if tuple(cell) in within]
    chosen = sorted(candidates, key=lambda place: (-attention[place], place))[:regions]
    cells = {tuple(lr[place].tolist()) for place in chosen}
    assert found.tolist() == [cell in cells for cell in within]


@pytest.mark.parametrize("children", [1, 2, 4])
@pytest.mark.parametrize("teacher", ["region", "region_attention", "patch"])
def test_a_bag_is_what_its_teacher_takes(teacher: Teacher, children: int) -> None:
    index, values = patches(0, children)
    bag = teacher_bag(teacher, index, values, children)
    cells, means = mean_of_regions(index, values, children)
    if teacher == "patch":
        assert torch.equal(bag, torch.from_numpy(values))
    elif teacher == "region":
        expected = [values[(index // children == cell).all(1)].mean(0) for cell in cells]
        np.testing.assert_allclose(bag, expected, rtol=1e-5, atol=1e-6)
    else:
        assert bag.shape == (len(cells), children**2, DIM + 1)
        covered = bag[..., -1] > 0
        assert covered.sum() == len(index)
        np.testing.assert_allclose(bag[..., :-1].sum(1) / covered.sum(1, keepdim=True), means, rtol=1e-5, atol=1e-6)


def test_patches_of_other_regions_are_refused() -> None:
    index, values = patches(0, 2)
    cells, _ = mean_of_regions(index, values, 2)
    for regions in (cells[1:], np.concatenate([cells, [[50, 50]]]).astype(np.int32)):
        with pytest.raises(ValueError, match="the regions of these patches"):
            place_patches(regions, index, values, 2)


def test_attention_that_is_equal_once_stored_gives_the_first_region() -> None:
    index = np.array([[0, 0], [0, 1], [1, 0]], np.int32)
    found = in_most_attended(index, np.array([0.3, 0.3 + 1e-12, 0.4 - 1e-12]), index, children=1, regions=2)
    assert found.tolist() == [True, False, True]
