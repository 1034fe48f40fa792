"""Where the networks run: the devices that exist, networks on them, and the precision that suits each."""

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import chain
from typing import NamedTuple, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from lrmil.errors import ConfigError


class _Placeable(Protocol):
    """What `on_device` asks of a network."""

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def buffers(self) -> Iterator[Tensor]: ...

    def modules(self) -> Iterator[nn.Module]: ...

    def eval(self) -> Self: ...


Network = TypeVar("Network", bound=_Placeable)


class Device(NamedTuple):
    """A device that torch can use."""

    name: str
    """Value to pass as ``device``: "cpu", "cuda:0", "mps"."""
    description: str
    free_bytes: int | None
    """Free memory; None if torch cannot report it."""


def available_devices() -> list[Device]:
    """List the devices of this machine, the fastest kind first."""
    found = []
    for i in range(torch.cuda.device_count()):
        found.append(Device(f"cuda:{i}", torch.cuda.get_device_name(i), torch.cuda.mem_get_info(i)[0]))
    if torch.backends.mps.is_available():
        found.append(Device("mps", "Apple GPU", None))
    return [*found, Device("cpu", f"CPU, {torch.get_num_threads()} threads", None)]


def device_names() -> list[str]:
    """List the names of the devices, the fastest kind first, without starting a GPU context."""
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return [*gpus, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def pick_device(name: str = "auto") -> torch.device:
    """Resolve the name of a device.

    Parameters
    ----------
    name
        A name of `device_names`, "cuda" for the first GPU, or "auto" for the fastest device.

    Raises
    ------
    ConfigError
        If there is no such device; no other device replaces it.
    """
    names = device_names()
    chosen = names[0] if name == "auto" else "cuda:0" if name == "cuda" else name
    if chosen not in names:
        raise ConfigError(f"Expected one of the devices {', '.join(['auto', *names])}. Got {name!r}.")
    return torch.device(chosen)


def mixed_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return a context that autocasts to bfloat16 on GPUs that support it, and keeps full precision elsewhere."""
    enabled = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def on_device(network: Network, device: torch.device) -> Network:
    """Return a network for inference on a device; the given one stays as it is, so other threads may use it.

    Weights that are already on the device in the right layout are shared, the others are copied. Convolutions are laid
    out channels-last, which is twice as fast on a CPU.

    Parameters
    ----------
    network
        Any network, on any device.
    device
        Where its inputs will be.

    Returns
    -------
    A network in evaluation mode: the given one, if nothing about it needs to change.
    """
    tensors = [*chain(network.parameters(), network.buffers())]
    placed = [_placed(tensor, device) for tensor in tensors]
    is_ready = all(new is old for new, old in zip(placed, tensors, strict=True))
    if is_ready and not any(part.training for part in network.modules()):
        return network
    return copy.deepcopy(network, {id(old): new for old, new in zip(tensors, placed, strict=True)}).eval()


def _placed(tensor: Tensor, device: torch.device) -> Tensor:
    layout = torch.channels_last if tensor.dim() == 4 else torch.preserve_format
    moved = tensor.detach().to(device, memory_format=layout)
    if moved.device == tensor.device and moved.stride() == tensor.stride():
        return tensor
    return nn.Parameter(moved, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else moved
