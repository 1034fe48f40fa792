"""What mean and max pooling share: a linear classifier of one pooled vector, regularised by dropout."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from lrmil.models.heads.head import MILOutput
from lrmil.models.heads.inputs import ProjectedHead


class Pooling(ProjectedHead, ABC):
    """Pool the patches of a bag without weights that are learned, then classify.

    Parameters
    ----------
    in_dim, outputs, projection_dim
        As in `lrmil.models.heads.inputs.ProjectedHead`.
    dropout
        Dropout on the input of the classifier.
    """

    def __init__(self, in_dim: int, outputs: int, *, projection_dim: int | None = None, dropout: float = 0.0) -> None:
        super().__init__(in_dim, outputs, projection_dim=projection_dim, dropout=dropout)
        self.classifier = nn.Linear(self.inputs.dim, outputs)

    def forward(self, bag: Tensor, mask: Tensor | None = None) -> MILOutput:
        """Classify one bag (n, d), or a batch (b, n, d) with `mask` (b, n) true where a patch is real."""
        embedding, attention_logits = self.pool(self.inputs(bag, mask), mask)
        return MILOutput(self.classifier(self.dropout(embedding)), attention_logits, embedding)

    @abstractmethod
    def pool(self, hidden: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the bag embedding (..., dim) and the attention logits (..., n) of the inputs (..., n, dim)."""
