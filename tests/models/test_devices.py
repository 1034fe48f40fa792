"""A network on a device leaves the one it was made from as it is, and shares what it can."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lrmil.errors import ConfigError
from lrmil.models.devices import available_devices, device_names, mixed_precision, on_device, pick_device
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


class TestNames:
    """On machines with several kinds of devices, which this one need not have."""

    @pytest.fixture(params=[(0, False), (2, False), (0, True), (1, True)], ids=str)
    def names(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        gpus, mps = request.param
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: f"card {number}")
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (3 + number, 10))
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        return [*(f"cuda:{number}" for number in range(gpus)), *(["mps"] if mps else []), "cpu"]

    def test_the_fastest_kind_is_first(self, names: list[str]) -> None:
        assert device_names() == names == [device.name for device in available_devices()]
        assert pick_device() == pick_device("auto") == torch.device(names[0])
        assert [pick_device(name) for name in names] == [torch.device(name) for name in names]

    def test_free_memory_is_that_of_each_gpu(self, names: list[str]) -> None:
        expected = {"cuda:0": ("card 0", 3), "cuda:1": ("card 1", 4), "mps": ("Apple GPU", None)}
        found = {device.name: (device.description, device.free_bytes) for device in available_devices()}
        assert found.pop("cpu")[1] is None and found == {name: expected[name] for name in names[:-1]}

    def test_no_other_device_replaces_one_that_is_not_there(self, names: list[str]) -> None:
        known = {*names, *(["cuda"] if "cuda:0" in names else [])}
        assert "cuda" not in known or pick_device("cuda") == torch.device("cuda:0")
        for name in {"cuda", "cuda:0", "cuda:9", "mps", "", "CPU"} - known:
            with pytest.raises(ConfigError, match="Expected one of the devices"):
                pick_device(name)


@pytest.mark.parametrize("is_supported", [False, True])
def test_only_a_gpu_that_can_computes_in_bfloat16(monkeypatch: pytest.MonkeyPatch, is_supported: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: is_supported)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    one, other = torch.ones(2, 2), torch.ones(2, 2)
    with mixed_precision(CPU):
        assert (one @ other).dtype == torch.float32
    with mixed_precision(torch.device("cuda")):
        assert torch.is_autocast_enabled("cuda") == is_supported
        assert not is_supported or torch.get_autocast_dtype("cuda") == torch.bfloat16
