"""Attention-based multiple instance learning, plain and gated (Ilse, Tomczak and Welling 2018, arXiv 1802.04712)."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from lrmil.models.heads.head import MILOutput
from lrmil.models.heads.inputs import hide_padding, require_patches, scale_of


class ABMIL(nn.Module):
    """Attention-based MIL pooling with a linear classifier (method.md section 6).

        h_n = ReLU(W_0 x_n)      e_n = v^T (tanh(V h_n) * sigmoid(U h_n))      z = sum_n softmax(e)_n h_n

    Parameters
    ----------
    in_dim
        Dimension of a patch embedding.
    n_classes
        Number of logits: of a classification, its classes.
    hidden_dim
        Dimension of the attention's hidden layer.
    gated
        Multiply by the sigmoid gate.
    projection_dim
        Dimension of the shared projection W_0; None omits it, so that h_n = x_n.
    dropout
        Dropout on the inputs of the attention and of the classifier.
    """

    name: ClassVar[str] = "abmil"
    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        in_dim: int,
        n_classes: int,
        hidden_dim: int = 128,
        gated: bool = True,  # noqa: FBT001, FBT002 - a public signature
        *,
        projection_dim: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_dim, self.outputs = in_dim, n_classes
        dim = projection_dim or in_dim
        self.register_buffer("shift", torch.zeros(in_dim))
        self.register_buffer("scale", torch.ones(in_dim))
        self.projection = nn.Sequential(nn.Linear(in_dim, dim), nn.ReLU()) if projection_dim else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.tanh_branch = nn.Linear(dim, hidden_dim)
        self.gate_branch = nn.Linear(dim, hidden_dim) if gated else None
        self.attention = nn.Linear(hidden_dim, 1, bias=False)
        self.classifier = nn.Linear(dim, n_classes)

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Set the standardisation of the inputs.

        Parameters
        ----------
        mean, deviation
            (d,) of each input channel; a channel with a deviation of 0 is only shifted.
        """
        self.shift.copy_(mean)
        self.scale.copy_(scale_of(deviation))

    def hidden(self, bag: Tensor) -> Tensor:
        """Return h_n (..., n, h) of embeddings (..., n, d), with dropout."""
        hidden: Tensor = self.dropout(self.projection((bag - self.shift) * self.scale))
        return hidden

    def forward(self, bag: Tensor, mask: Tensor | None = None) -> MILOutput:
        """Classify one bag, or a batch of padded bags.

        Parameters
        ----------
        bag
            (n, d) or (b, n, d) embeddings.
        mask
            (b, n) bool, True for patches and False for padding.

        Raises
        ------
        ValueError
            If a bag has no patches.
        """
        require_patches(bag, mask)
        hidden = self.hidden(bag)
        scores = gated_scores(hidden, self.tanh_branch, self.gate_branch, self.attention)
        attention_logits = hide_padding(scores, mask)
        attention = attention_logits.softmax(-1)
        embedding = torch.einsum("...n,...nd->...d", attention, hidden)
        return MILOutput(self.classifier(self.dropout(embedding)), attention_logits, embedding)


def gated_scores(hidden: Tensor, tanh_branch: nn.Module, gate_branch: nn.Module | None, attention: nn.Module) -> Tensor:
    """Return e_n = v^T (tanh(V h_n) * sigmoid(U h_n)).

    Parameters
    ----------
    hidden
        (..., n, h) h_n.
    tanh_branch, gate_branch, attention
        V, U and v; without U, there is no gate.
    """
    scores = torch.tanh(tanh_branch(hidden))
    if gate_branch is not None:
        scores = scores * torch.sigmoid(gate_branch(hidden))
    logits: Tensor = attention(scores).squeeze(-1)
    return logits
