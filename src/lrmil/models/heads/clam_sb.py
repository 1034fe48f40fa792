"""Clustering-constrained attention with a single branch, CLAM-SB (Lu et al. 2021, arXiv 2004.09666).

Gated attention over projected patches, as in `abmil`, and one more loss in training: the patches that the attention
puts first and last are told apart by a classifier of their class. That classifier is not used in prediction.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from lrmil.models.heads.abmil import ABMIL
from lrmil.models.heads.head import MILOutput

PROJECTION = 512  # of the paper
INSTANCES = 8  # at each end of the attention: B of the paper
WEIGHT = 0.3 / 0.7  # of the loss of instances relative to the loss of bags: 0.3 and 0.7 in the paper


class ClamSB(nn.Module):
    """Gated attention that also learns from the patches at both ends of it.

    With B = min(8, n // 2) patches at each end, of a slide of class y of C, and a classifier of two outputs per class:

        L = 3/7 * 1/C * ( CE_y(first B inside, last B outside) + sum over other classes c of CE_c(first B outside) )

    where CE is the mean over its patches. These are the paper's losses for classes that exclude each other, with
    cross-entropy in place of its smooth support-vector loss.

    Parameters
    ----------
    in_dim, outputs
        As in `lrmil.models.heads.inputs.ProjectedHead`.
    hidden_dim
        Dimension of the attention's hidden layer; 256 in the paper.
    gated
        Multiply by the sigmoid gate, as the paper does.
    projection_dim
        Dimension of the projection; None takes the paper's 512.
    dropout
        Dropout on the inputs of the attention and of the classifier.
    """

    name: ClassVar[str] = "clam_sb"

    def __init__(
        self,
        in_dim: int,
        outputs: int,
        hidden_dim: int = 256,
        *,
        gated: bool = True,
        projection_dim: int | None = None,
        dropout: float = 0.25,
    ) -> None:
        super().__init__()
        self.in_dim, self.outputs = in_dim, outputs
        dim = projection_dim or PROJECTION
        self.bags = ABMIL(in_dim, outputs, hidden_dim, gated, projection_dim=dim, dropout=dropout)
        self.instances = nn.Linear(dim, 2 * outputs)

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Set the standardisation of the inputs."""
        self.bags.standardise(mean, deviation)

    def forward(self, bag: Tensor, mask: Tensor | None = None) -> MILOutput:
        """Classify bags as `lrmil.models.heads.head.MILHead` says; an empty one is a ValueError."""
        output: MILOutput = self.bags(bag, mask)
        return output

    def auxiliary_loss(self, bag: Tensor, output: MILOutput, target: object) -> Tensor:
        """Return the weighted loss of the instances, as `lrmil.models.heads.head.HasAuxiliaryLoss`.

        It is 0 for a bag of one patch, and for a target that is not the position of a class.
        """
        count = min(INSTANCES, len(bag) // 2)
        if count == 0 or type(target) is not int or not 0 <= target < self.outputs:
            return output.logits.new_zeros(())
        order = output.attention_logits.argsort(descending=True)
        chosen = torch.cat([order[:count], order[-count:]])
        scores = self.instances(self.bags.hidden(bag[chosen])).unflatten(-1, (self.outputs, 2)).transpose(0, 1)
        inside = torch.tensor([1, 0], device=bag.device).repeat_interleave(count)
        loss = functional.cross_entropy(scores[target], inside)
        for other in range(self.outputs):
            if other != target:
                loss = loss + functional.cross_entropy(scores[other, :count], 0 * inside[:count])
        return WEIGHT / self.outputs * loss
