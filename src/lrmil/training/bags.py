"""The patches of a slide as one bag, with the teacher's output for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrmil.features.store import read_index
from lrmil.geometry import parent_of, positions_in
from lrmil.models.heads.region_attention import covered_patches
from lrmil.targets import region_targets
from lrmil.tasks.answers import Target
from lrmil.training.region_bags import read_bag


class TeacherOutput(NamedTuple):
    """Output of the teacher MIL for one slide."""

    logits: NDArray[np.float32]
    """(c,) logits."""
    attention_logits: NDArray[np.float32]
    """(n,) one for each instance, an HR patch or a region, in the order of the slide's features for the teacher."""


@dataclass(frozen=True, slots=True)
class Bag:
    """One slide at the slide level: its features, its label and the teacher's targets.

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
        bag's patches, -inf where no HR child is covered: log A_r.
    stratum
        The group that its label counts to where classes are balanced (`lrmil.tasks.task.Task.stratum`).
    nested
        lrmil.features/1 folder of the HR patches that the head weighs within the regions in `features`; None where it
        sees the embeddings in `features` alone.
    """

    slide_id: str
    features: Path
    target: Target
    teacher_logits: NDArray[np.float32] | None = None
    log_mass: NDArray[np.float32] | None = None
    stratum: str = ""
    nested: Path | None = None


def student_bag(
    slide_id: str, lr: Path, attended: Path, target: Target, teacher: TeacherOutput, *, children: int
) -> Bag:
    """Make the bag of stage 2: LR features with the teacher's targets (method.md section 7).

    Parameters
    ----------
    slide_id, target
        The slide and its label.
    lr, attended
        lrmil.features/1 folders of its LR patches, and of what the teacher attends to: HR patches or regions.
    teacher
        The teacher's output for the slide.
    children
        HR patches along a side of an LR patch; 1 for regions, whose log A_r are the teacher's attention logits.
    """
    lr_index = read_index(lr)
    log_mass = gather_log_mass(lr_index, read_index(attended), teacher.attention_logits, children=children)
    return Bag(slide_id, lr, target, teacher.logits, log_mass)


def gather_log_mass(
    lr_index: NDArray[np.int32], hr_index: NDArray[np.int32], attention_logits: NDArray[np.float32], *, children: int
) -> NDArray[np.float32]:
    """Sum the teacher's attention over the HR patches inside each LR patch.

    Parameters
    ----------
    lr_index
        (n, 2) rows and columns of the LR patches.
    hr_index
        (m, 2) rows and columns of the HR patches.
    attention_logits
        (m,) of the teacher, in the order of `hr_index`.
    children
        HR patches along a side of an LR patch.

    Returns
    -------
    ndarray of float32
        (n,) log A_r, -inf where no HR patch inside was covered and read.
    """
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
    """Read the embeddings of slides from disk, and keep the first ones in memory.

    Parameters
    ----------
    device
        Where the embeddings are returned.
    limit
        Bytes of embeddings to keep in memory.
    """

    def __init__(self, device: torch.device, limit: int = 2 << 30) -> None:
        self._device = device
        self._free = limit
        self._kept: dict[Path, Tensor] = {}

    def embeddings(self, bag: Bag) -> Tensor:
        """Return what a head sees of a bag: (n, d), or (n, k, d + 1) of regions with nested patches (`read_bag`)."""
        if bag.features in self._kept:
            return self._kept[bag.features]
        values = read_bag(bag.features, bag.nested).to(self._device)
        if values.nbytes <= self._free:
            self._free -= values.nbytes
            self._kept[bag.features] = values
        return values

    def dim(self, bag: Bag) -> int:
        """Return the dimension d of the embeddings of a bag."""
        return int(self.patches(bag).shape[1])

    def patches(self, bag: Bag) -> Tensor:
        """Return the (m, d) embeddings of a bag whatever their regions."""
        embeddings = self.embeddings(bag)
        return embeddings if bag.nested is None else covered_patches(embeddings)
