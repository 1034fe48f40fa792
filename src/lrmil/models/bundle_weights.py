"""The networks in a model folder, which may be untrusted: its weights are compared with a network that is built first.

encoder/config.json  encoder/model.safetensors  mil.safetensors
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from safetensors.torch import load_file
from torch import nn

from lrmil.configs import MILConfig
from lrmil.errors import FormatError
from lrmil.io import atomic, hashing, untrusted
from lrmil.io.plain_files import read_bytes
from lrmil.io.tensors import save_tensors
from lrmil.io.untrusted import TensorSpec
from lrmil.models.card import MAX_DOCUMENT, WEIGHTS
from lrmil.models.encoders.golden import resume_contract
from lrmil.models.encoders.loading import Encoder, EncoderSpec, build_encoder
from lrmil.models.heads.choice import make_stated
from lrmil.models.heads.head import MILHead
from lrmil.models.heads.kinds import HeadKind

MAX_UNSAVED = 1 << 26  # elements of buffers that a network computes and no file holds, such as position tables
FLOATS = {"F32", "F16", "BF16"}
INTEGERS = {torch.int64: "I64", torch.int32: "I32", torch.bool: "BOOL", torch.uint8: "U8"}
Network = TypeVar("Network", bound=nn.Module)


class Networks(NamedTuple):
    """An encoder of patches, and the MIL over what it makes of them."""

    encoder: Encoder
    mil: MILHead


class Stated(NamedTuple):
    """What a model folder says of its networks."""

    size: int
    """Side of the patches, px."""
    outputs: int
    """Of the MIL."""
    config: MILConfig
    kind: HeadKind
    contract: Mapping[str, object] | None
    """`EncoderContract`."""
    sha256: Mapping[str, object]
    """File -> hash."""


def save_networks(folder: Path, networks: Networks) -> dict[str, str]:
    """Write networks into a new folder, and return file -> hash."""
    (folder / "encoder").mkdir(parents=True)
    atomic.write_json(folder / WEIGHTS[0], asdict(networks.encoder.spec))
    save_tensors(folder / WEIGHTS[1], networks.encoder.state_dict())
    save_tensors(folder / WEIGHTS[2], networks.mil.state_dict())
    return {name: hashing.sha256_file(folder / name) for name in WEIGHTS}


def load_networks(folder: Path, stated: Stated) -> Networks:
    """Load what `save_networks` wrote. Nothing in it is executed.

    Parameters
    ----------
    folder
        Where the files are; they may be untrusted.
    stated
        What they must fit.

    Raises
    ------
    FormatError
        If a file was changed after it was written, is a link, or does not fit.
    KeyError, TypeError, ValueError, OSError, RuntimeError, SafetensorError
        If they are damaged.
    """
    encoder_file, mil_file = (untrusted.file_in(folder, name) for name in WEIGHTS[1:])
    spec = _read_spec(folder, stated)
    dim = require_header(encoder_file, lambda: build_encoder(spec)).dim
    require_header(mil_file, lambda: make_stated(dim, stated.outputs, stated.config, stated.kind))
    for name in WEIGHTS[1:]:  # their sizes are as expected now, so hashing is bounded
        _require_hash(folder, name, hashing.sha256_file(folder / name), stated)
    encoder = load_weights(encoder_file, lambda: build_encoder(spec))
    if breach := resume_contract(encoder, stated.contract):
        raise FormatError(f"The encoder in {folder} has its original weights, but {breach}, or train again.")
    mil = load_weights(mil_file, lambda: make_stated(dim, stated.outputs, stated.config, stated.kind))
    return Networks(encoder, mil)


def _require_hash(folder: Path, name: str, found: str, stated: Stated) -> None:
    if found != stated.sha256[name]:
        raise FormatError(f"The content of {folder / name} changed after it was written. Copy the model again.")


def _read_spec(folder: Path, stated: Stated) -> EncoderSpec:
    path, size = untrusted.file_in(folder, WEIGHTS[0]), stated.size
    data = read_bytes(path, max_bytes=MAX_DOCUMENT)
    _require_hash(folder, WEIGHTS[0], hashlib.sha256(data).hexdigest(), stated)
    values = untrusted.parse_json(data, path)
    if not isinstance(values, dict):
        raise FormatError(f"Expected the encoder's settings in {folder}. Got {type(values).__name__}.")
    spec = EncoderSpec(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
    if spec.size != size:
        raise FormatError(f"Expected an encoder for patches of {size} px in {folder}. Got one for {spec.size} px.")
    return spec


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
