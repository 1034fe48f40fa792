"""Learned attention within regions: a head sees each region as a weighted sum of its patches, in place of their mean.

A bag of such a head is regions (n, k, d + 1): the embeddings of k patches side by side, and last 1 where there is one.
"""

from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from lrmil.models.heads.abmil import gated_scores
from lrmil.models.heads.head import HasAuxiliaryLoss, MILHead, MILOutput
from lrmil.models.heads.inputs import scale_of


def covered_patches(bag: Tensor) -> Tensor:
    """Return the embeddings (m, d) of the patches that there are in regions (n, k, d + 1)."""
    return bag[bag[..., -1] > 0][:, :-1]


def attend_within(head: MILHead, hidden_dim: int, *, gated: bool, dropout: float) -> "RegionAttention":
    """Return a head with learned attention within regions in front of it.

    Parameters
    ----------
    head, hidden_dim, gated, dropout
        As in `RegionAttention`.
    """
    kind = _TeachingRegionAttention if isinstance(head, HasAuxiliaryLoss) else RegionAttention
    return kind(head, hidden_dim, gated=gated, dropout=dropout)


class RegionAttention(nn.Module):
    """Gated attention over the patches x_k of each region r, and a head over the sums z_r.

        e_rk = v^T (tanh(V x_k) * sigmoid(U x_k))      w_r = softmax of e_r over the patches there are
        z_r = sum_k w_rk x_k                           logits, attention = head(z)

    v begins at 0, so that the head first sees the mean of each region.

    Parameters
    ----------
    head
        The head over regions.
    hidden_dim
        Dimension of the hidden layer of the attention within regions.
    gated
        Multiply by the sigmoid gate.
    dropout
        Dropout on the inputs of the attention within regions.
    """

    name: ClassVar[str] = "region_attention"
    shift: Tensor
    scale: Tensor

    def __init__(self, head: MILHead, hidden_dim: int, *, gated: bool, dropout: float) -> None:
        super().__init__()
        self.in_dim, self.outputs = head.in_dim, head.outputs
        self.register_buffer("shift", torch.zeros(head.in_dim))
        self.register_buffer("scale", torch.ones(head.in_dim))
        self.dropout = nn.Dropout(dropout)
        self.tanh_branch = nn.Linear(head.in_dim, hidden_dim)
        self.gate_branch = nn.Linear(head.in_dim, hidden_dim) if gated else None
        self.attention = nn.Linear(hidden_dim, 1, bias=False)
        nn.init.zeros_(self.attention.weight)
        self.head = cast(nn.Module, head)

    @property
    def over_regions(self) -> MILHead:
        """The head over regions."""
        return cast(MILHead, self.head)

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Set the standardisation (d,) of the patches, and so of the regions; see `scale_of`."""
        self.shift.copy_(mean)
        self.scale.copy_(scale_of(deviation))

    def regions(self, bag: Tensor) -> Tensor:
        """Return z_r (..., n, d) of regions (..., n, k, d + 1); 0 for a region without a patch, which is padding."""
        covered = bag[..., -1] > 0
        patches = ((bag[..., :-1] - self.shift) * self.scale).masked_fill(~covered[..., None], 0.0)
        scores = gated_scores(self.dropout(patches), self.tanh_branch, self.gate_branch, self.attention)
        lowest = torch.finfo(scores.dtype).min  # in place of -inf, with which padding would be NaN
        weights = scores.masked_fill(~covered, lowest).softmax(-1)
        return torch.einsum("...k,...kd->...d", weights, patches)

    def forward(self, bag: Tensor, mask: Tensor | None = None) -> MILOutput:
        """Classify one bag (n, k, d + 1), or a batch (b, n, k, d + 1) with `mask` (b, n) true where a region is real.

        Raises
        ------
        ValueError
            If a bag has no regions.
        """
        return self.over_regions(self.regions(bag), mask)


class _TeachingRegionAttention(RegionAttention):
    """The same in front of a head that adds a loss of its own."""

    def auxiliary_loss(self, bag: Tensor, output: MILOutput, target: object) -> Tensor:
        """Return the loss () of the head for the regions of a bag, as `lrmil.models.heads.head.HasAuxiliaryLoss`."""
        return cast(HasAuxiliaryLoss, self.head).auxiliary_loss(self.regions(bag), output, target)
