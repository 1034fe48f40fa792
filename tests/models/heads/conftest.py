"""Fixtures of the tests of heads."""

from collections.abc import Iterator

import pytest
import torch

from lrmil.models.heads.abmil import ABMIL

KINDS = {"gated": (True, None), "plain": (False, None), "projected": (True, 5), "plain and projected": (False, 5)}


@pytest.fixture(params=KINDS)
def mil(request: pytest.FixtureRequest) -> Iterator[ABMIL]:
    """A network of 6 inputs and 3 classes."""
    gated, projection_dim = KINDS[request.param]
    torch.manual_seed(0)
    model = ABMIL(6, 3, 8, gated, projection_dim=projection_dim, dropout=0.5).eval()
    with torch.no_grad():
        model.attention.weight.mul_(5)
        yield model
