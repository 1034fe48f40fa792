"""What heads have in common before they pool: standardisation, the shared projection, and the refusal of empty bags."""

import torch
from torch import Tensor, nn


class Inputs(nn.Module):
    """Embeddings (..., n, d) become h_n = ReLU(W_0 x_n) of the standardised x_n; without a projection, h_n = x_n.

    Parameters
    ----------
    in_dim
        Dimension d of a patch embedding.
    projection_dim
        Dimension of the projection W_0; None omits it.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, in_dim: int, projection_dim: int | None) -> None:
        super().__init__()
        self.dim = projection_dim or in_dim
        self.register_buffer("shift", torch.zeros(in_dim))
        self.register_buffer("scale", torch.ones(in_dim))
        self.projection = nn.Sequential(nn.Linear(in_dim, self.dim), nn.ReLU()) if projection_dim else nn.Identity()

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Set the standardisation; see `scale_of`."""
        self.shift.copy_(mean)
        self.scale.copy_(scale_of(deviation))

    def forward(self, bag: Tensor, mask: Tensor | None) -> Tensor:
        """Return (..., n, dim) of a bag or a batch that `require_patches` accepts."""
        require_patches(bag, mask)
        hidden: Tensor = self.projection((bag - self.shift) * self.scale)
        return hidden


class ProjectedHead(nn.Module):
    """The part of a head before it pools: standardised, projected and thinned by dropout.

    Parameters
    ----------
    in_dim
        Dimension of a patch embedding.
    outputs
        Number of logits.
    projection_dim
        Dimension of the shared projection; None omits it.
    dropout
        Probability of `self.dropout`, which each head puts where it is due.
    """

    def __init__(self, in_dim: int, outputs: int, *, projection_dim: int | None, dropout: float) -> None:
        super().__init__()
        self.in_dim, self.outputs = in_dim, outputs
        self.inputs = Inputs(in_dim, projection_dim)
        self.dropout = nn.Dropout(dropout)

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Set the standardisation of the inputs; see `scale_of`."""
        self.inputs.standardise(mean, deviation)


def scale_of(deviation: Tensor) -> Tensor:
    """Return the factors (d,) that give channels a deviation of 1; a channel with a deviation of 0 keeps its scale."""
    return torch.where(deviation > 0, 1.0 / deviation.clamp(min=1e-12), 1.0)


def require_patches(bag: Tensor, mask: Tensor | None) -> None:
    """Raise a ValueError if a bag (n, d), or one of a batch (b, n, d) with its mask (b, n), has no patches."""
    if bag.shape[-2] == 0 or (mask is not None and not mask.any(-1).all()):
        raise ValueError("Expected at least one patch in every bag. Got an empty bag; exclude such slides.")


def hide_padding(logits: Tensor, mask: Tensor | None) -> Tensor:
    """Return attention logits (..., n) that are -inf where `mask` is false."""
    return logits if mask is None else logits.masked_fill(~mask, -torch.inf)
