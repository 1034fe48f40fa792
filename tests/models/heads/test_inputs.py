"""Inputs of heads: a constant channel, the projection."""

import torch

from lrmil.models.heads.inputs import Inputs, hide_padding, scale_of
from support.bags import random_bag


def test_a_constant_channel_keeps_its_scale() -> None:
    assert scale_of(torch.tensor([2.0, 0.0, 0.5])).tolist() == [0.5, 1.0, 2.0]


def test_without_a_projection_patches_are_only_standardised() -> None:
    inputs = Inputs(3, None)
    inputs.standardise(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 0.0, 0.5]))
    bag = random_bag(4, 3)
    by_hand = (bag - torch.tensor([1.0, 2.0, 3.0])) * torch.tensor([0.5, 1.0, 2.0])
    assert inputs.dim == 3 and not list(inputs.parameters())
    torch.testing.assert_close(inputs(bag, None), by_hand)


def test_a_projection_is_linear_and_cut_at_0() -> None:
    inputs = Inputs(3, 5)
    bag, weights = random_bag(4, 3), inputs.state_dict()
    by_hand = (bag @ weights["projection.0.weight"].T + weights["projection.0.bias"]).clamp(min=0)
    assert inputs.dim == 5
    torch.testing.assert_close(inputs(bag, None), by_hand)


def test_padding_is_hidden_where_the_mask_says() -> None:
    assert hide_padding(torch.zeros(3), torch.tensor([True, False, True])).tolist() == [0, -torch.inf, 0]
    assert hide_padding(torch.zeros(2), None).tolist() == [0, 0]
