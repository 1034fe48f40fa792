"""The plain values that a network is built from; untrusted ones are checked before timm sees them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import timm
from timm.layers import SwiGLUPacked
from torch import nn

from lrmil.errors import EncoderError

# Arguments that a spec may not have: timm's own, some of which load files, and those that the spec states elsewhere.
RESERVED = {"model_name", "checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"}
RESERVED |= {"pretrained_strict", "features_only", "out_indices", "feature_cfg", "feature_cls", "kwargs_filter"}
RESERVED |= {"scriptable", "exportable", "no_jit", "num_classes", "img_size", "in_chans"}
RESERVED |= {"pretrained_model_args", "device", "dtype"}
MAX_ARGUMENT = 16_384
MAX_COUNT = 256  # upper bound for counts such as depth: each block costs time to build
COUNTED = re.compile(r"depth|layer|block|stage|repeat")
PLAIN_NAME = re.compile(r"[A-Za-z0-9_]{1,100}(\.[A-Za-z0-9_.-]{1,100})?")
RGB = 3  # channels
EMBEDDINGS = ("cls", "mean", "cls+mean", "pooled")
# Layers are Python classes, which config.json cannot hold. Only these names are turned into classes.
LAYERS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "mlp_layer": MappingProxyType({"SwiGLUPacked": SwiGLUPacked}),
        "act_layer": MappingProxyType({"SiLU": nn.SiLU, "GELU": nn.GELU}),
    }
)
Argument = int | float | str | bool


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """All that is needed to rebuild the network of an encoder, without its weights.

    Attributes
    ----------
    architecture
        timm model name.
    size
        Side of the patches in pixels, P.
    embedding
        cls | mean | cls+mean | pooled (the model's own).
    mean, std
        Normalisation of the RGB input scaled to 0..1.
    model_args
        Other arguments of the architecture: numbers, strings and booleans. A layer is a name in `LAYERS`.
    projected_dim
        Output dimension of a linear projector after the embedding; 0 for none.
    """

    architecture: str
    size: int
    embedding: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    model_args: dict[str, Argument]
    projected_dim: int = 0


def require_spec(spec: EncoderSpec) -> None:
    """Raise on an invalid spec, which may be untrusted, before timm sees it.

    Raises
    ------
    EncoderError
        If timm does not know the architecture, or a value has the wrong type or is out of range.
    """
    require_architecture(spec.architecture)
    if spec.embedding not in EMBEDDINGS:
        raise EncoderError(f"Expected an embedding of {', '.join(EMBEDDINGS)}. Got {spec.embedding!r}.")
    for what, number, least in (("size", spec.size, 1), ("projected_dim", spec.projected_dim, 0)):
        if type(number) is not int or not least <= number <= MAX_ARGUMENT:
            raise EncoderError(f"Expected a {what} from {least} to {MAX_ARGUMENT}. Got {number!r}.")
    for what, values, smallest in (("mean", spec.mean, -100.0), ("std", spec.std, 1e-6)):
        if len(values) != 3 or not all(_is_between(value, smallest, 100.0) for value in values):
            raise EncoderError(f"Expected a {what} of three numbers from {smallest:g} to 100. Got {values!r}.")
    if not isinstance(spec.model_args, dict):
        raise EncoderError(f"Expected arguments of the architecture by name. Got {spec.model_args!r}.")
    require_arguments(spec.model_args)


def require_architecture(name: object) -> None:
    """Raise unless timm knows the architecture; names of files and hub repositories are none.

    Raises
    ------
    EncoderError
        With the name.
    """
    if not (isinstance(name, str) and PLAIN_NAME.fullmatch(name) and timm.is_model(name)):
        raise EncoderError(f"Expected an architecture that timm {timm.__version__} knows. Got {str(name)[:100]!r}.")


def require_arguments(arguments: Mapping[str, object]) -> None:
    """Raise on arguments that are not plain values of a usual size, or that name files.

    Raises
    ------
    EncoderError
        With the first such argument.
    """
    for key, value in arguments.items():
        if key == "mlp_layer" and not (isinstance(value, str) and value in LAYERS[key]):
            raise EncoderError(
                f"Expected mlp_layer to be one of {', '.join(LAYERS[key])}. Got {value!r}, which lrmil does not build."
            )
        if not _is_plain_argument(key, value):
            raise EncoderError(
                f"Expected arguments of the architecture with plain values of a usual size. Got {key!r}: "
                f"{str(value)[:100]!r}."
            )


def stated_arguments(arguments: Mapping[str, object]) -> dict[str, Argument]:
    """Convert arguments of timm to those of a spec: layers by name, without those that the spec states elsewhere.

    Raises
    ------
    EncoderError
        If the input is not RGB, or an argument does not fit a spec.
    """
    stated = {key: _layer_name(key, value) for key, value in arguments.items() if value is not None}
    if (channels := stated.pop("in_chans", RGB)) != RGB:
        raise EncoderError(f"Expected an encoder of RGB images. Got {channels} channels.")
    found = {key: value for key, value in stated.items() if key not in ("num_classes", "img_size")}
    require_arguments(found)
    return found


def built_arguments(arguments: Mapping[str, Argument]) -> dict[str, Any]:
    """Convert arguments of a spec to those of timm: layers as classes."""
    return {key: LAYERS[key].get(str(value), value) if key in LAYERS else value for key, value in arguments.items()}


def _layer_name(key: str, value: object) -> Any:
    """Return the name of a layer given as class or full path; return other values unchanged."""
    table = LAYERS.get(key, {})
    for name, layer in table.items():
        if value is layer or (isinstance(value, str) and value.rpartition(".")[2] == name):
            return name
    return value


def _is_plain_argument(key: str, value: object) -> bool:
    if not key.isidentifier() or key in RESERVED:
        return False
    if isinstance(value, str):
        return value == "" or PLAIN_NAME.fullmatch(value) is not None
    largest = MAX_COUNT if COUNTED.search(key) else MAX_ARGUMENT
    return isinstance(value, bool) or _is_between(value, 0, largest)


def _is_between(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
