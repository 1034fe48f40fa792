"""Several heads of one kind as one head: the mean of what its members give."""

import math
from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from lrmil.models.heads.head import MILHead, MILOutput
from lrmil.models.heads.inputs import hide_padding
from lrmil.models.heads.kinds import ENSEMBLE


def members_of(mil: MILHead) -> tuple[MILHead, ...]:
    """Return the members of an ensemble, or a head that is none by itself."""
    return tuple(cast(Sequence[MILHead], mil.members)) if isinstance(mil, Ensemble) else (mil,)


class Ensemble(nn.Module):
    """The mean of the logits, of the attention and of the embeddings of heads that differ in their seed.

        logits = 1/m sum_i logits_i      a = 1/m sum_i softmax(e_i)      e = log a      z = 1/m sum_i z_i

    Members are trained each by itself, with its own losses; their mean is what answers.

    Parameters
    ----------
    members
        Heads of one kind and one size.
    """

    name: ClassVar[str] = ENSEMBLE

    def __init__(self, members: Sequence[MILHead]) -> None:
        super().__init__()
        self.in_dim, self.outputs = members[0].in_dim, members[0].outputs
        self.members = nn.ModuleList(cast(Sequence[nn.Module], members))

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Fix the standardisation (d,) of the inputs of every member."""
        for member in self.members:
            cast(MILHead, member).standardise(mean, deviation)

    def forward(self, bag: Tensor, mask: Tensor | None = None) -> MILOutput:
        """Classify one bag (n, d), or a batch (b, n, d) with `mask` (b, n) true where a patch is real.

        Raises
        ------
        ValueError
            If a bag has no patches.
        """
        outputs: list[MILOutput] = [member(bag, mask) for member in self.members]
        log_attention = torch.stack([output.attention_logits.log_softmax(-1) for output in outputs])
        if mask is not None:  # sums of exp(-inf) alone have no gradient
            log_attention = log_attention.masked_fill(~mask, 0.0)
        attention_logits = hide_padding(log_attention.logsumexp(0) - math.log(len(outputs)), mask)
        logits = torch.stack([output.logits for output in outputs]).mean(0)
        embedding = torch.stack([output.embedding for output in outputs]).mean(0)
        return MILOutput(logits, attention_logits, embedding)
