"""Bags: the mass of a patch, and embeddings that are kept or read again."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lrmil.training import bags
from lrmil.training.bags import BagStore, gather_log_mass
from support.bags import CPU, make_bags


def naive_log_mass(lr_index: np.ndarray, hr_index: np.ndarray, logits: np.ndarray, children: int) -> np.ndarray:
    found = []
    for row, col in lr_index.tolist():
        mass = sum(
            np.exp(float(logit))
            for (i, j), logit in zip(hr_index.tolist(), logits, strict=True)
            if (i // children, j // children) == (row, col)
        )
        found.append(np.log(mass) if mass else -np.inf)
    return np.array(found)


@pytest.mark.parametrize("children", [2, 4, 8])
def test_log_mass_is_a_sum_over_the_children(children: int) -> None:
    rng = np.random.default_rng(children)
    lr_index = rng.permutation(np.argwhere(rng.random((4, 5)) < 0.7)).astype(np.int32)
    hr_index = rng.permutation(np.argwhere(rng.random((4 * children, 5 * children)) < 0.2)).astype(np.int32)
    logits = rng.normal(0, 4, len(hr_index)).astype(np.float32)
    found = gather_log_mass(lr_index, hr_index, logits, children=children)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, naive_log_mass(lr_index, hr_index, logits, children), rtol=1e-5, atol=1e-5)


def test_log_mass_of_large_logits_does_not_overflow() -> None:
    hr_index = np.array([[0, 0], [0, 1], [2, 2]], np.int32)
    logits = np.array([500.0, 500.0, -500.0], np.float32)
    found = gather_log_mass(np.array([[1, 1], [0, 0], [3, 3]], np.int32), hr_index, logits, children=2)
    np.testing.assert_allclose(found, [-500, 500 + np.log(2), -np.inf])


def test_embeddings_beyond_the_memory_limit_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slides = make_bags(tmp_path, 3)
    reads: list[Path] = []
    real = bags.read_bag
    monkeypatch.setattr(bags, "read_bag", lambda path, nested: reads.append(path) or real(path, nested))
    store = BagStore(CPU, limit=500)  # two slides of 10 and 11 patches of 6 floats
    for _ in range(2):
        for bag in slides:
            assert torch.equal(store.embeddings(bag), real(bag.features))
    assert [reads.count(bag.features) for bag in slides] == [1, 2, 2]
