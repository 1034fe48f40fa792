"""Mean pooling with a linear classifier: the baseline that every patch counts the same in.

The mean of embeddings is MI-Net's mean pooling (Wang et al. 2018, arXiv 1610.02501) without its hidden layers.
"""

from typing import ClassVar

from torch import Tensor

from lrmil.models.heads.inputs import hide_padding
from lrmil.models.heads.pooling import Pooling


class MeanPooling(Pooling):
    """z = 1/n sum_n h_n.

    Attention is the same on every patch: its logits are 0, so losses between attention maps teach this head nothing.
    """

    name: ClassVar[str] = "mean"

    def pool(self, hidden: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the mean, and zeros."""
        logits = hide_padding(hidden.new_zeros(hidden.shape[:-1]), mask)
        return (logits.softmax(-1)[..., None] * hidden).sum(-2), logits
