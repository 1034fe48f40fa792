"""Bags of patches."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lrmil.training.bags import Bag
from support.runs import write_bag

CPU = torch.device("cpu")


def make_bags(folder: Path, count: int = 9, *, targets: bool = True) -> list[Bag]:
    """Slides of two classes that differ in a few of their patches."""
    made = []
    for number in range(count):
        rng = np.random.default_rng(number)
        index = rng.permutation(np.argwhere(np.ones((4, 4), bool)))[: 10 + number % 4]
        values = rng.normal(size=(len(index), 6))
        values[:5, 0] += 6 * (number % 2)
        path = write_bag(folder / f"s{number}.zarr", index, values)
        log_mass = rng.normal(size=len(index)).astype(np.float32)
        log_mass[5] = -np.inf
        logits = rng.normal(size=2).astype(np.float32)
        extra = {"teacher_logits": logits, "log_mass": log_mass} if targets else {}
        made.append(Bag(f"s{number}", path, number % 2, **extra))
    return made


def random_bag(*shape: int, seed: int = 0) -> Tensor:
    """Return normal values, the same for a seed."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
