"""What is saved as safetensors is read back, in whatever layout it was in memory."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch import Tensor, nn

from lrmil.errors import FormatError
from lrmil.io.tensors import load_into, load_tensors, save_tensors

LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda value: value,
    "reversed axes": lambda value: value.permute(tuple(reversed(range(value.dim())))),
    "every other": lambda value: value[::2] if value.dim() else value,
    "repeated": lambda value: value.expand(3, *value.shape),
    "parameter": lambda value: nn.Parameter(value) * 2 if value.is_floating_point() else value,
    "channels last": lambda value: value.to(memory_format=torch.channels_last) if value.dim() == 4 else value,
}
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    shape=st.lists(st.integers(0, 4), max_size=4),
    dtype=st.sampled_from(DTYPES),
    layout=st.sampled_from(sorted(LAYOUTS)),
    seed=st.integers(0, 99),
)
def test_any_layout_is_read_back(tmp_path: Path, shape: list[int], dtype: torch.dtype, layout: str, seed: int) -> None:
    values = (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 9).to(dtype)
    value = LAYOUTS[layout](values)
    save_tensors(tmp_path / "a.safetensors", {"one": value, "same memory": value})
    found = load_tensors(tmp_path / "a.safetensors")
    assert set(found) == {"one", "same memory"}
    for again in found.values():
        assert again.dtype == dtype and torch.equal(again, value.detach()) and again.is_contiguous()


@pytest.mark.parametrize("metadata", [None, {"key": "abc", "state": '{"epoch": 3}'}])
def test_metadata_are_in_the_header(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_tensors(tmp_path / "a.safetensors", {"one": torch.ones(2)}, metadata)
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        assert file.metadata() == metadata


def test_tied_weights_of_a_network_are_both_written(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    network[1].weight = network[0].weight
    save_tensors(tmp_path / "a.safetensors", network.state_dict())
    again = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    again.load_state_dict(load_tensors(tmp_path / "a.safetensors"))
    assert torch.equal(again[1].weight, network[0].weight)


def test_weights_of_another_network_are_refused_and_its_folder_named(tmp_path: Path) -> None:
    weights = nn.Linear(2, 3).state_dict()
    loaded = load_into(nn.Linear(2, 3), weights, tmp_path / "teacher/mil.safetensors")
    assert torch.equal(loaded.weight, weights["weight"])
    with pytest.raises(FormatError, match="'teacher'"):
        load_into(nn.Linear(2, 4), weights, tmp_path / "teacher/mil.safetensors")
