"""Fixtures of the tests of heads: ABMIL in its kinds, and every head that settings can ask for, alone and several."""

from collections.abc import Iterator

import pytest
import torch

from lrmil.configs import MILConfig
from lrmil.models.heads.abmil import ABMIL
from lrmil.models.heads.choice import Head, make_mil
from lrmil.models.heads.kinds import HEADS

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


EVERY = {name: (MILConfig(head=name, hidden_dim=8, projection_dim=16), 1) for name in HEADS}
EVERY |= {f"{name} without projection": (MILConfig(head=name), 1) for name in ("mean", "max", "dsmil")}
EVERY |= {f"3 of {name}": (config, 3) for name, (config, _) in list(EVERY.items())}


ORDERLESS = {name: kind for name, kind in EVERY.items() if "transmil" not in name}


def made(name: str) -> Iterator[Head]:
    config, seeds = EVERY[name]
    torch.manual_seed(0)
    with torch.no_grad():
        yield make_mil(6, 3, config, seeds=seeds).eval()


@pytest.fixture(params=EVERY)
def head(request: pytest.FixtureRequest) -> Iterator[Head]:
    """A network of 6 inputs and 3 outputs."""
    yield from made(request.param)


@pytest.fixture(params=ORDERLESS)
def orderless(request: pytest.FixtureRequest) -> Iterator[Head]:
    """One that does not look at the order of patches."""
    yield from made(request.param)
