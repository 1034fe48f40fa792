"""Read the weights of a model folder, which may be untrusted, into networks that they are compared with first."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from torch import nn

from lrmil.errors import FormatError
from lrmil.io import untrusted
from lrmil.io.untrusted import TensorSpec

MAX_UNSAVED = 1 << 26  # elements of buffers that a network computes and no file holds, such as position tables
FLOATS = {"F32", "F16", "BF16"}
INTEGERS = {torch.int64: "I64", torch.int32: "I32", torch.bool: "BOOL", torch.uint8: "U8"}
Network = TypeVar("Network", bound=nn.Module)


def require_header(path: Path, build: Callable[[], Network]) -> Network:
    """Raise unless the header of a file fits a network; return that network, built without memory."""
    stated = untrusted.read_header(path)
    with torch.device("meta"):
        empty = build()
    _require_shapes(path, stated, empty)
    return empty


def load_weights(path: Path, build: Callable[[], Network]) -> Network:
    """Build a network and load its weights from a file whose header was checked."""
    module = build()
    tensors = load_file(path)
    module.load_state_dict(tensors)
    if not all(torch.isfinite(value).all() for value in tensors.values() if value.is_floating_point()):
        raise FormatError(f"Expected finite weights in {path}. Got NaN or infinity; train the model again.")
    return module.eval()


def _require_shapes(path: Path, stated: dict[str, TensorSpec], empty: nn.Module) -> None:
    expected = empty.state_dict()
    different = sorted(
        name
        for name in expected.keys() | stated.keys()
        if name not in expected or name not in stated or not _fits(stated[name], expected[name])
    )
    if different:
        raise FormatError(f"The tensors in {path} do not fit the model; the first that differs is {different[0]!r}.")
    unsaved = sum(value.numel() for name, value in empty.named_buffers() if name not in expected)
    if unsaved > MAX_UNSAVED:
        raise FormatError(f"Expected at most {MAX_UNSAVED} computed numbers in the network of {path}. Got {unsaved}.")


def _fits(stated: TensorSpec, expected: torch.Tensor) -> bool:
    kinds = FLOATS if expected.is_floating_point() else {INTEGERS.get(expected.dtype)}
    return stated.kind in kinds and stated.shape == tuple(expected.shape)
