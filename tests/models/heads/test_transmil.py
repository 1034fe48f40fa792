"""TransMIL: squares of any side, positions, and the attention that the token really has."""

import math

import pytest
import torch
from torch import Tensor

from lrmil.models.heads.transmil import TransMIL
from support.bags import random_bag


def plain_attention(layer: torch.nn.Module, x: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Attention written out: what is read (n, d), and the weights (heads, n, n)."""
    normed, dim = layer.norm(x), x.shape[1]
    query, key, value = (normed @ part.T for part in layer.qkv.weight.chunk(3))
    size = dim // heads
    read, weights = [], []
    for first in range(0, dim, size):
        q, k, v = (part[:, first : first + size] for part in (query, key, value))
        weights.append((q @ k.T / math.sqrt(size)).softmax(-1))
        read.append(weights[-1] @ v)
    return layer.out(torch.cat(read, 1)), torch.stack(weights)


@torch.no_grad()
@pytest.mark.parametrize(("dim", "heads"), [(16, 8), (12, 4), (5, 1)])
@pytest.mark.parametrize("n", [1, 2, 5, 9, 10])
def test_the_network_written_out(n: int, dim: int, heads: int) -> None:
    torch.manual_seed(0)
    mil, bag = TransMIL(6, 3, projection_dim=dim, dropout=0.5).eval(), random_bag(n, 6)
    side = next(side for side in range(1, 9) if side * side >= n)
    h = mil.inputs.projection(bag)
    x = torch.cat([mil.token[None], h, h])[: side * side + 1]
    x = x + plain_attention(mil.first, x, heads)[0]
    cells = torch.zeros(side, side, dim)
    for i in range(side * side):
        cells[i // side, i % side] = x[1 + i]
    around = sum(convolution(cells.permute(2, 0, 1)[None])[0] for convolution in mil.positions.convolutions)
    x = torch.cat([x[:1], (cells + around.permute(1, 2, 0)).reshape(side * side, dim)])
    read, weights = plain_attention(mil.second, x, heads)
    on_cells = (weights[:, 0, 1:] / weights[:, 0, 1:].sum(1, keepdim=True)).mean(0)
    attention = on_cells[:n].clone()
    attention[: side * side - n] += on_cells[n:]
    output = mil(bag)
    torch.testing.assert_close(output.embedding, mil.norm(x[0] + read[0]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.logits, mil.classifier(output.embedding))
    torch.testing.assert_close(output.attention_logits.exp(), attention, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_place_of_a_patch_matters() -> None:
    torch.manual_seed(0)
    mil, bag = TransMIL(6, 3, projection_dim=16).eval(), 3 * random_bag(16, 6)
    assert float((mil(bag).logits - mil(bag.flip(0)).logits).abs().max()) > 1e-4


def test_without_a_projection_the_layers_have_the_dimension_of_the_paper() -> None:
    with torch.device("meta"):
        assert TransMIL(6, 3).classifier.in_features == 512
