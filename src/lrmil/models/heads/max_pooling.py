"""Max pooling with a linear classifier: each channel of a slide is that of its strongest patch.

The maximum of embeddings is MI-Net's max pooling (Wang et al. 2018, arXiv 1610.02501) without its hidden layers.
"""

from typing import ClassVar

import torch
from torch import Tensor

from lrmil.models.heads.inputs import hide_padding
from lrmil.models.heads.pooling import Pooling


class MaxPooling(Pooling):
    """z_c = max_n h_nc.

    There is no attention that makes z. Reported is where z comes from: with k_n the number of channels whose maximum
    patch n has (patches with the same value share it), of D channels,

        a_n = (k_n + 1/n) / (D + 1)        e_n = log(k_n + 1/n)

    so that a patch with no maximum has little, and not -inf. It is counted, so it has no gradient: losses between
    attention maps teach this head nothing.
    """

    name: ClassVar[str] = "max"

    def pool(self, hidden: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the maximum of each channel, and where the maxima are."""
        real = torch.ones(hidden.shape[:-1], dtype=torch.bool, device=hidden.device) if mask is None else mask
        hidden = hidden.masked_fill(~real[..., None], -torch.inf)
        embedding = hidden.amax(-2)
        holds = (hidden == embedding[..., None, :]) & real[..., None]
        counts = (holds / holds.sum(-2, keepdim=True)).sum(-1)
        return embedding, hide_padding((counts + 1.0 / real.sum(-1, keepdim=True)).log(), mask)
