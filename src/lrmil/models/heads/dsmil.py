"""Dual-stream MIL: the strongest patch, and attention by likeness to it (Li et al. 2021, arXiv 2011.08939)."""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from lrmil.models.heads.head import MILOutput
from lrmil.models.heads.inputs import ProjectedHead, hide_padding


class DSMIL(ProjectedHead):
    """The mean of two streams' logits, for each output c of C.

        s_nc = (W h_n + w)_c       m_c = argmax_n s_nc                          first stream: s_{m_c, c}
        q_n = W_q h_n              A_nc = softmax_n(q_n . q_{m_c} / sqrt(k))
        v_n = W_v h_n              B_c = sum_n A_nc v_n                         second stream: a linear map of all B
        logits = (first + second) / 2

    The attention that is reported, and the embedding, are the means over c of A and of B. The loss is that of the mean
    of the streams, where the published code takes the mean of two losses.

    Parameters
    ----------
    in_dim, outputs, projection_dim
        As in `lrmil.models.heads.inputs.ProjectedHead`; C outputs.
    hidden_dim
        Dimension k of the queries.
    dropout
        Dropout on the inputs of both streams.
    """

    name: ClassVar[str] = "dsmil"

    def __init__(
        self,
        in_dim: int,
        outputs: int,
        hidden_dim: int = 128,
        *,
        projection_dim: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(in_dim, outputs, projection_dim=projection_dim, dropout=dropout)
        dim = self.inputs.dim
        self.instances = nn.Linear(dim, outputs)
        self.queries, self.values = nn.Linear(dim, hidden_dim), nn.Linear(dim, dim)
        self.classifier = nn.Linear(outputs * dim, outputs)

    def forward(self, bag: Tensor, mask: Tensor | None = None) -> MILOutput:
        """Classify bags as `lrmil.models.heads.head.MILHead` says; an empty one is a ValueError."""
        hidden = self.dropout(self.inputs(bag, mask))
        by_output = None if mask is None else mask[..., None]
        strongest = hide_padding(self.instances(hidden), by_output).max(-2)
        queries = self.queries(hidden)
        critical = queries.take_along_dim(strongest.indices[..., None], -2)
        likeness = torch.einsum("...nk,...ck->...nc", queries, critical) / math.sqrt(queries.shape[-1])
        log_attention = hide_padding(likeness, by_output).log_softmax(-2)
        embeddings = torch.einsum("...nc,...nd->...cd", log_attention.exp(), self.values(hidden))
        logits = (strongest.values + self.classifier(embeddings.flatten(-2))) / 2
        if by_output is not None:  # sums of exp(-inf) alone have no gradient
            log_attention = log_attention.masked_fill(~by_output, 0.0)
        attention_logits = hide_padding(log_attention.logsumexp(-1) - math.log(self.outputs), mask)
        return MILOutput(logits, attention_logits, embeddings.mean(-2))
