"""An ensemble is the mean of its members, whatever the bag, and a head like any other."""

import pytest
import torch

from lrmil.configs import MILConfig
from lrmil.models.heads.choice import make_mil
from lrmil.models.heads.ensemble import Ensemble
from lrmil.models.heads.head import MILHead, predict_bag
from support.bags import random_bag

CONFIG = MILConfig(hidden_dim=8)


def ensemble(count: int = 3) -> Ensemble:
    torch.manual_seed(0)
    made = make_mil(6, 4, CONFIG, seeds=count)
    assert isinstance(made, Ensemble) and isinstance(made, MILHead)
    return made.eval()


@pytest.mark.parametrize("n", [1, 2, 17])
@pytest.mark.parametrize("count", [2, 5])
def test_it_gives_the_mean_of_what_its_members_give(count: int, n: int) -> None:
    mil, bag = ensemble(count), 3 * random_bag(n, 6)
    alone = [member(bag) for member in mil.members]
    output = mil(bag)
    torch.testing.assert_close(output.logits, sum(one.logits for one in alone) / count)
    torch.testing.assert_close(output.embedding, sum(one.embedding for one in alone) / count)
    attention = sum(one.attention_logits.softmax(0) for one in alone) / count
    torch.testing.assert_close(output.attention_logits.exp(), attention)
    torch.testing.assert_close(output.attention_logits.softmax(0), attention)


def test_members_differ_and_the_first_is_the_head_alone() -> None:
    mil = ensemble(3)
    torch.manual_seed(0)
    alone = make_mil(6, 4, CONFIG, seeds=1)
    assert not isinstance(alone, Ensemble)
    first, second, third = (member.state_dict() for member in mil.members)
    assert all(torch.equal(value, alone.state_dict()[name]) for name, value in first.items())
    weights = [member["classifier.weight"] for member in (first, second, third)]
    assert not torch.equal(weights[0], weights[1]) and not torch.equal(weights[1], weights[2])


def test_padding_changes_nothing_and_gets_no_gradient() -> None:
    mil = ensemble()
    batch, mask = random_bag(2, 5, 6), torch.tensor([[1, 1, 1, 1, 1], [0, 1, 0, 1, 1]], dtype=torch.bool)
    batch[~mask] = 50.0
    batch.requires_grad_()
    output = mil(batch, mask)
    for i, one in enumerate(mask):
        alone = mil(batch[i, one])
        torch.testing.assert_close(output.logits[i], alone.logits)
        torch.testing.assert_close(output.embedding[i], alone.embedding)
        torch.testing.assert_close(output.attention_logits[i, one], alone.attention_logits)
    assert output.attention_logits[~mask].isneginf().all()
    (output.logits.sum() + output.attention_logits[mask].square().sum()).backward()
    assert batch.grad is not None and batch.grad.isfinite().all()
    assert not batch.grad[~mask].any() and batch.grad[mask].any(1).all()


def test_attention_too_small_for_a_float_stays_a_finite_logit() -> None:
    mil = ensemble()
    for member in mil.members:
        torch.nn.init.constant_(member.attention.weight, 500.0)
    output = predict_bag(mil, 3 * random_bag(20, 6))
    assert output.attention_logits.min() < -100  # whose exponential is 0


def test_standardise_reaches_every_member() -> None:
    mil = ensemble()
    mil.standardise(torch.full((6,), 2.0), torch.full((6,), 4.0))
    assert all((member.shift == 2).all() and (member.scale == 0.25).all() for member in mil.members)
