"""A network on a device leaves the one it was made from as it is, and shares what it can."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lrmil.models.devices import on_device
from lrmil.models.encoders.loading import PatchEncoder
from support.runs import state_of, tiny_encoder

CPU, META = torch.device("cpu"), torch.device("meta")
NETWORKS = ["test_vit", "test_convnext", "test_resnet", "test_efficientnet"]


class Tied(nn.Module):
    """One weight under two names, a frozen one, a convolution of one pixel and a buffer that no file states."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.convolution = nn.Linear(4, 4), nn.Conv2d(3, 5, 1)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.first.bias.requires_grad_(False)
        self.register_buffer("table", torch.arange(3), persistent=False)
        self.dropout = nn.Dropout(0.5)


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    return dict([*network.named_parameters(), *network.named_buffers()])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("device", [CPU, META], ids=str)
def test_the_given_network_stays_as_it_is(name: str, device: torch.device) -> None:
    encoder = tiny_encoder(name)
    before = state_of(encoder)
    placed = on_device(encoder, device)
    assert state_of(encoder) == before
    assert {value.device for value in tensors_of(placed).values()} == {device}
    layouts = [
        value.is_contiguous(memory_format=torch.channels_last)
        for value in tensors_of(placed).values()
        if value.dim() == 4
    ]
    assert layouts and all(layouts)


@pytest.mark.parametrize("name", NETWORKS)
def test_encoding_is_as_with_a_network_that_is_moved_itself(name: str) -> None:
    encoder = tiny_encoder(name)
    moved = copy.deepcopy(encoder).to(memory_format=torch.channels_last)
    before = state_of(encoder)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
    found, layers = PatchEncoder(encoder, CPU, batch_size=2, layers=(0, -1))(pixels)
    assert state_of(encoder) == before
    expected, expected_layers = PatchEncoder(moved, CPU, batch_size=2, layers=(0, -1))(pixels)
    assert PatchEncoder(moved, CPU, batch_size=2).encoder is moved
    for one, other in zip((found, *layers), (expected, *expected_layers), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_that_need_no_other_layout_are_shared(name: str) -> None:
    encoder = tiny_encoder(name)
    placed = on_device(encoder, CPU)
    assert on_device(placed, CPU) is placed
    before, after = tensors_of(encoder), tensors_of(placed)
    shared = {key for key in before if before[key].data_ptr() == after[key].data_ptr()}
    assert {key for key in before if before[key].dim() != 4} <= shared < set(before)


def test_a_network_in_training_is_not_switched() -> None:
    network = Tied().train()
    before = state_of(network)
    placed = on_device(network, CPU)
    assert state_of(network) == before and network.dropout.training
    assert not any(part.training for part in placed.modules())
    assert placed.first.weight is network.first.weight


def test_ties_frozen_weights_and_buffers_survive() -> None:
    network = Tied()
    placed = on_device(network, META)
    assert placed.second.weight is placed.first.weight and isinstance(placed.first.weight, nn.Parameter)
    assert placed.first.weight.requires_grad and not placed.first.bias.requires_grad
    assert placed.get_buffer("table").is_meta and "table" not in placed.state_dict()
    assert network.first.weight.device == CPU
