"""TransMIL: self-attention between all patches, with positions from a convolution (Shao et al. 2021, arXiv 2106.00908).

Two things differ from the paper. Attention is exact (torch's `scaled_dot_product_attention`), where the paper has the
Nystrom approximation and the convolution over values that belongs to it: time grows with the square of the number of
patches, memory does not. Dropout is where the other heads have it, not after the attention.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from lrmil.models.heads.head import MILOutput
from lrmil.models.heads.inputs import ProjectedHead, require_patches

PROJECTION = 512  # of the paper
HEADS = 8
KERNELS = (7, 5, 3)  # of the convolutions that give positions


class TransMIL(ProjectedHead):
    """A class token and the patches go through attention, positions, attention; the token is classified.

        x = [token, h_1 .. h_n, h_1 .. h_r]      r fills the square of side ceil(sqrt(n)), row by row
        x = x + attend(norm(x))     x = positions(x)     token = token + attend(norm(x))_token     z = norm(token)

    The place of a patch is its place in the order of the bag, which is that of rows in the slide: other orders give
    other outputs. The attention that is reported is that of the token on the patches in the second layer, as the mean
    over its heads; that on a repeated patch is added up.

    Parameters
    ----------
    in_dim, outputs
        As in `lrmil.models.heads.inputs.ProjectedHead`.
    projection_dim
        Dimension of the layers; None takes the paper's 512.
    dropout
        Dropout on the projected patches and on the input of the classifier.
    """

    name: ClassVar[str] = "transmil"

    def __init__(self, in_dim: int, outputs: int, *, projection_dim: int | None = None, dropout: float = 0.0) -> None:
        dim = projection_dim or PROJECTION
        super().__init__(in_dim, outputs, projection_dim=dim, dropout=dropout)
        self.token = nn.Parameter(torch.randn(dim))
        self.first, self.second = _Attention(dim), _Attention(dim)
        self.positions = _Positions(dim)
        self.norm = nn.LayerNorm(dim)
        self.classifier = nn.Linear(dim, outputs)

    def forward(self, bag: Tensor, mask: Tensor | None = None) -> MILOutput:
        """Classify one bag (n, d), or a batch (b, n, d) with `mask` (b, n) true where a patch is real.

        A batch is computed bag by bag, since squares of different sides have no common grid.

        Raises
        ------
        ValueError
            If a bag has no patches.
        """
        if bag.ndim == 2:
            return self._classify(bag) if mask is None else self._padded(bag, mask)
        require_patches(bag, mask)
        real = torch.ones(bag.shape[:2], dtype=torch.bool, device=bag.device) if mask is None else mask
        outputs = [self._padded(one, kept) for one, kept in zip(bag, real, strict=True)]
        return MILOutput(*(torch.stack(parts) for parts in zip(*outputs, strict=True)))

    def _padded(self, bag: Tensor, mask: Tensor) -> MILOutput:
        output = self._classify(bag[mask])
        nowhere = output.attention_logits.new_full(mask.shape, -torch.inf)
        return output._replace(attention_logits=nowhere.masked_scatter(mask, output.attention_logits))

    def _classify(self, bag: Tensor) -> MILOutput:
        hidden = self.dropout(self.inputs(bag, None))
        count = len(hidden)
        side = math.isqrt(count - 1) + 1
        repeated = side * side - count
        x = torch.cat([self.token[None], hidden, hidden[:repeated]])
        x = self.positions(x + self.first(x), side)
        read, log_attention = self.second.read(x)
        embedding = self.norm(x[0] + read)
        attention_logits = log_attention[:count]
        if repeated:
            both = torch.logaddexp(attention_logits[:repeated], log_attention[count:])
            attention_logits = torch.cat([both, attention_logits[repeated:]])
        return MILOutput(self.classifier(self.dropout(embedding)), attention_logits, embedding)


class _Attention(nn.Module):
    """Multi-head self-attention of normalised tokens (n, d)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.heads = math.gcd(HEADS, dim)
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return what each token reads (n, d)."""
        query, key, value = self._split(x)
        read = functional.scaled_dot_product_attention(query[None], key[None], value[None])[0]
        return self._join(read)

    def read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the first token reads (d,), and the log (n - 1,) of its attention on the others, a sum of 1."""
        query, key, value = self._split(x)
        scores = (query[:, :1] @ key.transpose(1, 2)) / math.sqrt(query.shape[-1])
        log_attention = scores[:, 0, 1:].log_softmax(-1).logsumexp(0) - math.log(self.heads)
        return self._join(scores.softmax(-1) @ value)[0], log_attention

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values (heads, n, d / heads)."""
        parts = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(1, 2, 0, 3)
        return parts[0], parts[1], parts[2]

    def _join(self, read: Tensor) -> Tensor:
        joined: Tensor = self.out(read.transpose(0, 1).flatten(1))
        return joined


class _Positions(nn.Module):
    """Pyramid position encoding: each patch in its square gets what convolutions of three sizes see around it."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(dim, dim, size, padding=size // 2, groups=dim) for size in KERNELS)

    def forward(self, x: Tensor, side: int) -> Tensor:
        """Return tokens (1 + side * side, d) with positions; the first token stays as it is."""
        square = x[1:].T.reshape(1, -1, side, side)
        square = square + torch.stack([convolution(square) for convolution in self.convolutions]).sum(0)
        return torch.cat([x[:1], square[0].flatten(1).T])
