"""Where the networks run: the devices that exist, and the precision that suits each."""

from contextlib import AbstractContextManager
from typing import NamedTuple

import torch

from lrmil.errors import ConfigError


class Device(NamedTuple):
    """One device torch can use."""

    name: str
    """What to pass as ``device``: "cpu", "cuda:0", "mps"."""
    description: str
    free_bytes: int | None
    """Free memory, None where torch cannot tell."""


def available_devices() -> list[Device]:
    """Every device that exists here, the fastest kind first."""
    found = []
    for i in range(torch.cuda.device_count()):
        found.append(Device(f"cuda:{i}", torch.cuda.get_device_name(i), torch.cuda.mem_get_info(i)[0]))
    if torch.backends.mps.is_available():
        found.append(Device("mps", "Apple GPU", None))
    return [*found, Device("cpu", f"CPU, {torch.get_num_threads()} threads", None)]


def device_names() -> list[str]:
    """Name what exists, the fastest kind first, without waking a GPU."""
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return [*gpus, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def pick_device(name: str = "auto") -> torch.device:
    """Resolve "auto" to the fastest device, and check that a named one exists.

    Raises
    ------
    ConfigError
        If there is no such device here; never a silent fall-back.
    """
    names = device_names()
    chosen = names[0] if name == "auto" else "cuda:0" if name == "cuda" else name
    if chosen not in names:
        raise ConfigError(f"Expected one of the devices {', '.join(['auto', *names])}. Got {name!r}.")
    return torch.device(chosen)


def mixed_precision(device: torch.device) -> AbstractContextManager[object]:
    """Autocast to bfloat16 where the GPU computes in it; full precision elsewhere."""
    enabled = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
