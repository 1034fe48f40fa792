"""Attention within regions: a sum of the patches there are, as a plain loop makes it, whatever head follows."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lrmil.configs import MILConfig
from lrmil.models.heads.choice import kind_of, make_mil, make_stated
from lrmil.models.heads.clam_sb import ClamSB
from lrmil.models.heads.head import HasAuxiliaryLoss, MILHead, MILOutput, predict_bag
from lrmil.models.heads.kinds import HEADS, HeadName, card_in, kind_in
from lrmil.models.heads.region_attention import RegionAttention, covered_patches
from support.bags import random_bag

DIM, OUTPUTS = 6, 3
CONFIG = MILConfig(hidden_dim=8, projection_dim=16)
OFTEN = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SHAPES = st.tuples(st.integers(1, 12), st.sampled_from([1, 4, 16]), st.integers(0, 1000))


def regions_of(n: int, k: int, seed: int = 0, *, batch: tuple[int, ...] = ()) -> Tensor:
    """Regions (..., n, k, d + 1) with one patch or more each; what is not covered holds large numbers."""
    bag = random_bag(*batch, n, k, DIM + 1, seed=seed)
    covered = torch.rand(*batch, n, k, generator=torch.Generator().manual_seed(seed)) < 0.5
    covered[..., seed % k] = True
    bag[..., :-1] += 1e4 * ~covered[..., None]
    bag[..., -1] = covered.float()
    return bag


def made(name: HeadName = "abmil", *, seeds: int = 1, config: MILConfig = CONFIG) -> MILHead:
    """A head after some learning: its attention within regions is far from even."""
    torch.manual_seed(0)
    mil = make_mil(DIM, OUTPUTS, replace(config, head=name), seeds=seeds, within_regions=True).eval()
    for part in mil.modules():
        if isinstance(part, RegionAttention):
            nn.init.normal_(part.attention.weight, std=3.0)
    return mil


def looped(mil: RegionAttention, bag: Tensor) -> list[list[float]]:
    """z_r of one bag, number by number."""
    weights = {name: value.double().tolist() for name, value in mil.state_dict().items()}

    def layer(name: str, x: list[float]) -> list[float]:
        rows = zip(weights[f"{name}.weight"], weights[f"{name}.bias"], strict=True)
        return [sum(w * v for w, v in zip(row, x, strict=True)) + bias for row, bias in rows]

    found = []
    for region in bag.double().tolist():
        patches = [
            [(v - s) * c for v, s, c in zip(patch[:-1], weights["shift"], weights["scale"], strict=True)]
            for patch in region
            if patch[-1] == 1
        ]
        scores = []
        for patch in patches:
            hidden = [math.tanh(v) for v in layer("tanh_branch", patch)]
            if mil.gate_branch is not None:
                gates = [1 / (1 + math.exp(-v)) for v in layer("gate_branch", patch)]
                hidden = [h * g for h, g in zip(hidden, gates, strict=True)]
            scores.append(sum(w * h for w, h in zip(weights["attention.weight"][0], hidden, strict=True)))
        raised = [math.exp(score - max(scores)) for score in scores]
        found.append([sum(a * p[d] for a, p in zip(raised, patches, strict=True)) / sum(raised) for d in range(DIM)])
    return found


def require_same(one: MILOutput, other: MILOutput) -> None:
    for part, expected in zip(one, other, strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gated", [True, False])
@OFTEN
@given(shape=SHAPES)
def test_a_region_is_the_sum_that_a_loop_makes(gated: bool, shape: tuple[int, int, int]) -> None:
    mil = made(config=MILConfig(hidden_dim=8, gated=gated))
    assert isinstance(mil, RegionAttention)
    mil.standardise(torch.arange(6.0) / 6, torch.tensor([2.0, 0.5, 1.0, 3.0, 4.0, 0.0]))
    bag = regions_of(*shape)
    with torch.no_grad():
        found = mil.regions(bag)
        np.testing.assert_allclose(found, looped(mil, bag), rtol=1e-4, atol=1e-4)
        require_same(mil(bag), mil.over_regions(found))


class TestEveryHead:
    """Whatever head is over the regions, alone or in an ensemble."""

    @pytest.fixture(params=[(name, seeds) for name in HEADS for seeds in (1, 3)], ids=str)
    def mil(self, request: pytest.FixtureRequest) -> MILHead:
        name, seeds = request.param
        return made(name, seeds=seeds)

    @OFTEN
    @given(shape=SHAPES)
    def test_shapes_and_attention_over_regions(self, mil: MILHead, shape: tuple[int, int, int]) -> None:
        assert isinstance(mil, MILHead) and (mil.in_dim, mil.outputs) == (DIM, OUTPUTS)
        output = predict_bag(mil, regions_of(*shape))
        assert output.logits.shape == (OUTPUTS,) and output.attention_logits.shape == (shape[0],)
        assert output.attention.sum() == pytest.approx(1)

    def test_what_is_not_covered_never_counts(self, mil: MILHead) -> None:
        bag = regions_of(9, 4)
        other = bag.clone()
        other[..., :-1][bag[..., -1] == 0] = torch.nan
        assert (bag[..., -1] == 0).any()
        one, same = predict_bag(mil, bag), predict_bag(mil, other)
        assert one.logits.tolist() == same.logits.tolist()
        assert one.attention_logits.tolist() == same.attention_logits.tolist()

    def test_the_order_of_patches_in_a_region_changes_nothing(self, mil: MILHead) -> None:
        bag = regions_of(9, 16)
        generator = torch.Generator().manual_seed(1)
        shuffled = torch.stack([region[torch.randperm(16, generator=generator)] for region in bag])
        with torch.no_grad():
            require_same(mil(shuffled), mil(bag))

    def test_padding_changes_nothing_and_gets_no_gradient(self, mil: MILHead) -> None:
        mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], dtype=torch.bool)
        batch = regions_of(5, 4, batch=(2,))
        batch[~mask] = 0.0  # as `pad_sequence` does: no patch is covered
        batch.requires_grad_()
        output = mil(batch, mask)
        for i, kept in enumerate(mask):
            of_batch = MILOutput(output.logits[i], output.attention_logits[i, kept], output.embedding[i])
            require_same(of_batch, mil(batch[i, kept]))
        assert output.attention_logits[~mask].isneginf().all()
        (output.logits.square().sum() + output.attention_logits[mask].square().sum()).backward()
        assert batch.grad is not None and batch.grad.isfinite().all()
        covered = batch.detach()[..., -1] > 0
        assert not batch.grad[~covered].any() and batch.grad[covered][:, :-1].any()
        assert all(p.grad is None or p.grad.isfinite().all() for p in mil.parameters())

    def test_an_empty_bag_is_refused(self, mil: MILHead) -> None:
        with pytest.raises(ValueError, match="at least one patch"):
            mil(torch.zeros(0, 4, DIM + 1))


def test_one_covered_patch_gives_that_patch() -> None:
    mil, bag = made(), regions_of(8, 16)
    assert isinstance(mil, RegionAttention)
    places = torch.arange(8) * 2 % 16
    bag[..., -1] = 0.0
    bag[torch.arange(8), places, -1] = 1.0
    bag[torch.arange(8), places, :-1] = random_bag(8, DIM)
    assert torch.equal(mil.regions(bag), random_bag(8, DIM))


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("name", HEADS)
def test_before_it_learns_it_is_the_head_over_means(name: HeadName, seeds: int) -> None:
    """With one seed, the head's weights are also those of a teacher over means."""
    config, bag = replace(CONFIG, head=name), regions_of(7, 4)
    torch.manual_seed(0)
    nested = make_mil(DIM, OUTPUTS, config, seeds=seeds, within_regions=True).eval()
    means = torch.stack([region[region[:, -1] == 1][:, :-1].mean(0) for region in bag])
    torch.manual_seed(0)
    plain = make_mil(DIM, OUTPUTS, config, seeds=1).eval()
    first = next(part for part in nested.modules() if isinstance(part, RegionAttention))
    with torch.no_grad():
        torch.testing.assert_close(first.regions(bag), means)
        require_same(first(bag), plain(means))


@pytest.mark.parametrize("name", HEADS)
def test_the_loss_that_a_head_adds_is_that_of_its_regions(name: HeadName) -> None:
    mil, bag = made(name), regions_of(9, 4)
    assert isinstance(mil, HasAuxiliaryLoss) == (name == "clam_sb")
    if isinstance(mil, HasAuxiliaryLoss):
        assert isinstance(mil, RegionAttention) and isinstance(mil.over_regions, ClamSB)
        output = mil(bag)
        loss = mil.auxiliary_loss(bag, output, 1)
        assert loss > 0 and torch.equal(loss, mil.over_regions.auxiliary_loss(mil.regions(bag), output, 1))
        loss.backward()
        assert mil.attention.weight.grad is not None and mil.attention.weight.grad.any()


def test_covered_patches_are_those_in_reading_order() -> None:
    bag = regions_of(5, 4)
    expected = [patch[:-1].tolist() for region in bag for patch in region if patch[-1] == 1]
    assert covered_patches(bag).tolist() == expected


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("name", HEADS)
def test_files_state_it_and_the_head_over_regions(name: HeadName, seeds: int) -> None:
    mil = made(name, seeds=seeds)
    stated = kind_of(mil)
    alone = {"head": name} if seeds == 1 else {"head": "ensemble", "members": {"head": name, "count": seeds}}
    assert stated == {**alone, "within_regions": "attention"}
    card = card_in({**stated, "in_dim": DIM, "outputs": OUTPUTS})
    again = make_stated(card.in_dim, card.outputs, CONFIG, card)
    again.load_state_dict(mil.state_dict())
    bag = regions_of(9, 4)
    assert predict_bag(again, bag).logits.tolist() == predict_bag(mil, bag).logits.tolist()
    assert kind_in(stated).within_regions is None  # a shipped model has no HR patches
