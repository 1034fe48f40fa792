"""Mean pooling with a linear classifier: the baseline that every patch counts the same in.

The mean of embeddings is MI-Net's mean pooling (Wang et al. 2018, arXiv 1610.02501) without its hidden layers.
"""

from typing import ClassVar

from torch import Tensor, nn

from lrmil.models.heads.head import MILOutput
from lrmil.models.heads.inputs import Inputs, hide_padding


class MeanPooling(nn.Module):
    """z = 1/n sum_n h_n, with a linear classifier that dropout and weight decay regularise.

    Attention is the same on every patch: its logits are 0, so losses between attention maps teach this head nothing.

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

    name: ClassVar[str] = "mean"

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
        logits = hide_padding(hidden.new_zeros(hidden.shape[:-1]), mask)
        embedding = (logits.softmax(-1)[..., None] * hidden).sum(-2)
        return MILOutput(self.classifier(self.dropout(embedding)), logits, embedding)
