"""One training on several devices: the processes that torchrun starts, with torch.distributed.

Each process draws patches of its own and computes their gradient; all take the same step, with the mean of the
gradients. What the first one finds in validation counts for all, and it alone writes. A process on its own is the first
of one, to which nothing here does anything.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from lrmil.errors import ConfigError
from lrmil.models.devices import pick_device

T = TypeVar("T")
PATIENCE = timedelta(days=7)  # the others wait while the first computes the features of a cohort


@contextmanager
def joined(device: str) -> Iterator[str]:
    """Join the processes that torchrun has started, if it has; give the name of the device of this one.

    Parameters
    ----------
    device
        Name that was asked for. Of GPUs, each process takes the one of its number on its machine.

    Raises
    ------
    ConfigError
        If there is no such device, or torchrun has started more processes on this machine than there are GPUs.
    """
    if not distributed.is_torchelastic_launched() or distributed.is_initialized():
        yield device
        return
    chosen, local = pick_device(device), distributed.get_node_local_rank(fallback_rank=0)
    if chosen.type == "cuda":
        if local >= torch.cuda.device_count():
            raise ConfigError(
                f"Expected at most a process for each GPU of this machine. Got process {local + 1} for "
                f"{torch.cuda.device_count()}; lower torchrun's --nproc-per-node."
            )
        chosen = torch.device("cuda", local)
        torch.cuda.set_device(chosen)
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield str(chosen)
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """Return the number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def from_first(value: T) -> T:
    """Return what the first process has here; all processes must call it. It is plain values.

    Parameters
    ----------
    value
        That of this process; only that of the first counts.
    """
    if not distributed.is_initialized():
        return value
    values = [value]
    distributed.broadcast_object_list(values)
    return values[0]


def average_gradients(parameters: Sequence[Tensor]) -> None:
    """Replace the gradients by their mean over the processes.

    Parameters
    ----------
    parameters
        The same ones, in the same order, in every process.
    """
    if not distributed.is_initialized():
        return
    gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters]
    flat = torch.cat([one.reshape(-1) for one in gradients])
    distributed.all_reduce(flat)
    parts = torch.split(flat / distributed.get_world_size(), [one.numel() for one in gradients])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = torch.empty_like(parameter).copy_(part.view(parameter.shape))


def share_buffers(*modules: nn.Module) -> None:
    """Give every process the buffers of the first, such as the running means of batch normalisation."""
    if distributed.is_initialized():
        for module in modules:
            for buffer in module.buffers():
                distributed.broadcast(buffer, 0)
