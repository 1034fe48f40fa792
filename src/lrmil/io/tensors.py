"""Write and read tensors as safetensors files: bounded when read, never pickle."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lrmil.errors import FormatError
from lrmil.io.untrusted import read_header

Module = TypeVar("Module", bound=nn.Module)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors, on the CPU; not atomic, so write into a temporary folder.

    Parameters
    ----------
    path
        The file.
    tensors
        Name and tensor, of any shape and device. Tensors that share memory are written separately.
    metadata
        Texts for the header of the file.
    """
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}, path, metadata)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read tensors that `save_tensors` wrote, on the CPU.

    Raises
    ------
    FormatError
        If the file is absent, damaged or not a safetensors file.
    """
    try:
        read_header(path)  # never waits for a pipe, and checks the stated sizes
        return dict(load_file(path))
    except (OSError, SafetensorError, FormatError) as error:
        raise FormatError(
            f"The tensors in {path} are damaged or missing. Delete the folder '{path.parent.name}' that contains them, "
            "then rerun the same command; only that folder is recomputed."
        ) from error


def load_into(module: Module, tensors: dict[str, Tensor], path: Path) -> Module:
    """Load weights into a network.

    Parameters
    ----------
    module
        The network, which is changed.
    tensors
        Its weights by name.
    path
        The file of the weights, for the message.

    Returns
    -------
    Module
        The same network.

    Raises
    ------
    FormatError
        If the weights belong to another network, for instance after the file was edited.
    """
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise FormatError(
            f"The weights in {path} do not fit the network: {reason} Delete the folder '{path.parent.name}' that "
            "contains them, then rerun the same command; only that folder is recomputed."
        ) from error
    return module
