"""The embeddings of a slide on its LR patches from which stage 1 learns: HR, and of its start (method.md section 5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrmil.errors import FormatError
from lrmil.features.store import read_features, read_index
from lrmil.geometry import parent_of, positions_in
from lrmil.slides.source import SlideSource
from lrmil.targets import region_targets


@dataclass(frozen=True, slots=True)
class PairedSlide:
    """One slide of stage 1.

    Attributes
    ----------
    source
        The slide, whose LR patches are read.
    lr
        lrmil.features/1 of its LR patches. Only the index is used: it lists the readable patches.
    hr
        lrmil.features/1 of its HR patches with the class tokens of the distilled blocks.
    children
        s, HR patches along a side of an LR patch.
    attention_logits
        (n,) of the teacher MIL for each HR patch; None weighs all patches equally.
    start
        lrmil.features/1 of the same LR patches by the frozen encoder that the student starts from; None if the student
        need not stay near it.
    """

    source: SlideSource
    lr: Path
    hr: Path
    children: int
    attention_logits: NDArray[np.float32] | None = None
    start: Path | None = None


@dataclass(frozen=True, slots=True)
class RegionSamples:
    """Targets of r LR patches that each have a covered child.

    Attributes
    ----------
    index
        (r, 2) on the LR lattice.
    covered
        (r, s*s) bool.
    mean
        (r, d) mu_r.
    class_tokens
        (r, s*s, d_l) float16 c_{k,l} per distilled block, the final map last; 0 where not covered.
    start
        (r, d_s) x_r, the embedding of the LR patch by the frozen encoder that the student starts from; d_s is 0 if it
        is not needed.
    """

    index: NDArray[np.int32]
    covered: Tensor
    mean: Tensor
    class_tokens: tuple[Tensor, ...]
    start: Tensor

    def __len__(self) -> int:
        return len(self.index)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.index.nbytes + sum(one.nbytes for one in (self.covered, self.mean, self.start, *self.class_tokens))

    def take(self, rows: Tensor) -> "RegionSamples":
        """Return the given rows, in that order."""
        tokens = tuple(values[rows] for values in self.class_tokens)
        return RegionSamples(self.index[rows.numpy()], self.covered[rows], self.mean[rows], tokens, self.start[rows])

    @classmethod
    def concatenate(cls, parts: Sequence["RegionSamples"]) -> "RegionSamples":
        """Concatenate the samples of several slides."""
        tokens = zip(*(part.class_tokens for part in parts), strict=True)
        return cls(
            np.concatenate([part.index for part in parts]),
            torch.cat([part.covered for part in parts]),
            torch.cat([part.mean for part in parts]),
            tuple(torch.cat(values) for values in tokens),
            torch.cat([part.start for part in parts]),
        )


def region_samples(slide: PairedSlide) -> RegionSamples:
    """Collect a slide's HR features by LR patch: covered children, mu_r and c_{k,l} in slot order.

    Raises
    ------
    FormatError
        If the features cannot be read.
    """
    hr = read_features(slide.hr, layers=True)
    lr_index = read_index(slide.lr)
    parents, slots = parent_of(hr.index, slide.children)
    position = positions_in(lr_index, parents)
    inside = position >= 0
    position, slots = position[inside], slots[inside]
    logits = np.zeros(len(hr.index), np.float32) if slide.attention_logits is None else slide.attention_logits
    folded = region_targets(
        torch.from_numpy(logits[inside]),
        torch.from_numpy(hr.embeddings[inside]),
        torch.from_numpy(position),
        len(lr_index),
    )
    covered = torch.zeros(len(lr_index), slide.children**2, dtype=torch.bool)
    covered[position, slots] = True
    tokens = []
    for _, values in sorted(hr.layers.items(), key=lambda item: block_order(item[0])):
        placed = torch.zeros(len(lr_index), slide.children**2, values.shape[1], dtype=torch.float16)
        placed[position, slots] = torch.from_numpy(values[inside])
        tokens.append(placed)
    every = RegionSamples(lr_index, covered, folded.mean, tuple(tokens), _start_of(slide, lr_index))
    return every.take(covered.any(1).nonzero().squeeze(1))


def _start_of(slide: PairedSlide, lr_index: NDArray[np.int32]) -> Tensor:
    if slide.start is None:
        return torch.zeros(len(lr_index), 0)
    features = read_features(slide.start)
    position = positions_in(features.index, lr_index)
    if (position < 0).any():
        raise FormatError(f"{slide.start} lacks LR patches of {slide.lr}. Delete it, then rerun the same command.")
    return torch.from_numpy(features.embeddings[position])


def count_regions(slide: PairedSlide) -> int:
    """Return the length of `region_samples`, from the indices alone."""
    parents, _ = parent_of(read_index(slide.hr), slide.children)
    position = positions_in(read_index(slide.lr), parents)
    return len(np.unique(position[position >= 0]))


def block_order(layer: int) -> tuple[bool, int]:
    """Return the sort key of a block in the order of the network: the final map (-1) comes last."""
    return layer < 0, layer
