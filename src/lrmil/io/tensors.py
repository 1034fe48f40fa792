"""Tensors as safetensors files: bounded when read, never pickle."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lrmil.errors import FormatError
from lrmil.io.untrusted import read_header


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors, from whatever device and in whatever layout they are.

    Parameters
    ----------
    path
        A file within something that is being committed.
    tensors
        By name. Some may share memory: each is written whole.
    metadata
        Texts for the header of the file.
    """
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}, path, metadata)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read what `save_tensors` wrote.

    Raises
    ------
    FormatError
        If it is damaged.
    """
    try:
        read_header(path)  # no pipe is waited for, and no size believed that the file does not have
        return dict(load_file(path))
    except (OSError, SafetensorError, FormatError) as error:
        raise FormatError(
            f"Expected whole tensors in {path}. Got: {error}; delete the folder '{path.parent.name}' in which it lies, "
            "then run the same again: only that is made anew."
        ) from error
