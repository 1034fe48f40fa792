"""Max pooling with a linear classifier: each channel of a slide is that of its strongest patch.

The maximum of embeddings is MI-Net's max pooling (Wang et al. 2018, arXiv 1610.02501) without its hidden layers.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from lrmil.models.heads.head import MILOutput
from lrmil.models.heads.inputs import Inputs, hide_padding


class MaxPooling(nn.Module):
    """z_c = max_n h_nc, with a linear classifier that dropout and weight decay regularise.

    There is no attention that makes z. Reported is where z comes from: with k_n the number of channels whose maximum
    patch n has (patches with the same value share it), of D channels,

        a_n = (k_n + 1/n) / (D + 1)        e_n = log(k_n + 1/n)

    so that a patch with no maximum has little, and not -inf. It is counted, so it has no gradient: losses between
    attention maps teach this head nothing.

    Parameters
    ----------
    in_dim
        Dimension of a patch embedding.
    outputs
        Number of logits.
    projection_dim
        Dimension of the shared projection; None omits it.
    dropout
        Dropout on the input of the classifier.
    """

    name: ClassVar[str] = "max"

    def __init__(self, in_dim: int, outputs: int, *, projection_dim: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.in_dim, self.outputs = in_dim, outputs
        self.inputs = Inputs(in_dim, projection_dim)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(self.inputs.dim, outputs)

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Set the standardisation of the inputs."""
        self.inputs.standardise(mean, deviation)

    def forward(self, bag: Tensor, mask: Tensor | None = None) -> MILOutput:
        """Classify one bag (n, d), or a batch (b, n, d) with `mask` (b, n) true where a patch is real.

        Raises
        ------
        ValueError
            If a bag has no patches.
        """
        hidden = self.inputs(bag, mask)
        real = torch.ones(hidden.shape[:-1], dtype=torch.bool, device=hidden.device) if mask is None else mask
        hidden = hidden.masked_fill(~real[..., None], -torch.inf)
        embedding = hidden.amax(-2)
        holds = (hidden == embedding[..., None, :]) & real[..., None]
        counts = (holds / holds.sum(-2, keepdim=True)).sum(-1)
        logits = hide_padding((counts + 1.0 / real.sum(-1, keepdim=True)).log(), mask)
        return MILOutput(self.classifier(self.dropout(embedding)), logits, embedding)
