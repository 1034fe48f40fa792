"""A slide's patches as one bag, with what the teacher says of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrmil.features.store import positions_in, read_features, read_index
from lrmil.geometry import parent_of
from lrmil.targets import region_targets
from lrmil.tasks.task import Target


class TeacherOutput(NamedTuple):
    """What the teacher MIL says of one slide."""

    logits: NDArray[np.float32]
    """(c,) logits."""
    attention_logits: NDArray[np.float32]
    """(n,) one per HR patch, in the order of the slide's HR features."""


@dataclass(frozen=True, slots=True)
class Bag:
    """One slide as the slide level sees it: the features it is read from, its label, and the teacher's targets.

    Attributes
    ----------
    slide_id
        Which slide.
    features
        lrmil.features/1 folder of the patches in the bag.
    target
        What its label is to the task's loss, such as the position of its class.
    teacher_logits, log_mass
        Targets of stage 2, None where the MIL learns from labels alone: (c,) and (n,), the latter in the order of the
        bag's patches, -inf where no HR child is covered.
    """

    slide_id: str
    features: Path
    target: Target
    teacher_logits: NDArray[np.float32] | None = None
    log_mass: NDArray[np.float32] | None = None


def student_bag(slide_id: str, lr: Path, hr: Path, target: Target, teacher: TeacherOutput, *, children: int) -> Bag:
    """Pair a slide's LR features with the teacher's outputs, log A_r gathered on the LR patches (method.md 7)."""
    lr_index = read_index(lr)
    log_mass = gather_log_mass(lr_index, read_index(hr), teacher.attention_logits, children=children)
    return Bag(slide_id, lr, target, teacher.logits, log_mass)


def gather_log_mass(
    lr_index: NDArray[np.int32], hr_index: NDArray[np.int32], attention_logits: NDArray[np.float32], *, children: int
) -> NDArray[np.float32]:
    """log A_r on the LR patches (n,), -inf where none of the HR patches within was covered and read."""
    parents, _ = parent_of(hr_index, children)
    position = positions_in(lr_index, parents)
    inside = position >= 0
    folded = region_targets(
        torch.from_numpy(attention_logits[inside]).double(),
        torch.zeros(int(inside.sum()), 1, dtype=torch.float64),
        torch.from_numpy(position[inside]),
        len(lr_index),
    )
    return folded.log_mass.float().numpy()


class BagStore:
    """Embeddings by slide, from disk; the first slides that fit into `limit` bytes stay in memory."""

    def __init__(self, device: torch.device, limit: int = 2 << 30) -> None:
        self._device = device
        self._free = limit
        self._kept: dict[Path, Tensor] = {}

    def embeddings(self, bag: Bag) -> Tensor:
        if bag.features in self._kept:
            return self._kept[bag.features]
        values = torch.from_numpy(read_features(bag.features).embeddings).to(self._device)
        if values.nbytes <= self._free:
            self._free -= values.nbytes
            self._kept[bag.features] = values
        return values

    def dim(self, bag: Bag) -> int:
        return int(self.embeddings(bag).shape[1])
