"""What mean and max pooling share: a linear classifier of one pooled vector, regularised by dropout."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from lrmil.models.heads.head import MILOutput
from lrmil.models.heads.inputs import Inputs


class Pooling(nn.Module, ABC):
    """Pool the patches of a bag without weights that are learned, then classify.

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
        """Classify one bag (n, d), or a batch (b, n, d) with `mask` (b, n) true where a patch is real."""
        embedding, attention_logits = self.pool(self.inputs(bag, mask), mask)
        return MILOutput(self.classifier(self.dropout(embedding)), attention_logits, embedding)

    @abstractmethod
    def pool(self, hidden: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the bag embedding (..., dim) and the attention logits (..., n) of the inputs (..., n, dim)."""
