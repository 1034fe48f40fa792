"""What a network is built from, as plain values: checked before timm sees any of them, whoever wrote them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import timm
from timm.layers import SwiGLUPacked
from torch import nn

from lrmil.errors import EncoderError

# What timm takes for itself or the spec states elsewhere: some name files and places to load from, so no spec has them.
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
# Layers that a config.json cannot hold, since they are Python objects. Only these names become classes.
LAYERS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "mlp_layer": MappingProxyType({"SwiGLUPacked": SwiGLUPacked}),
        "act_layer": MappingProxyType({"SiLU": nn.SiLU, "GELU": nn.GELU}),
    }
)
Argument = int | float | str | bool


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """All that is needed to build an encoder's network again; weights come apart from it.

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
        Further arguments of the architecture: numbers, strings and booleans. A layer is the name of one in `LAYERS`.
    projected_dim
        Output dimension of a linear projector behind the embedding; 0 for none.
    """

    architecture: str
    size: int
    embedding: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    model_args: dict[str, Argument]
    projected_dim: int = 0


def require_spec(spec: EncoderSpec) -> None:
    """Refuse a spec, perhaps of a stranger, before timm sees it.

    Raises
    ------
    EncoderError
        If timm does not know the architecture, or a value is of the wrong kind or out of range.
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
    """Refuse an architecture that timm does not know, or that is named by a place to load from."""
    if not (isinstance(name, str) and PLAIN_NAME.fullmatch(name) and timm.is_model(name)):
        raise EncoderError(f"Expected an architecture that timm {timm.__version__} knows. Got {str(name)[:100]!r}.")


def require_arguments(arguments: Mapping[str, object]) -> None:
    """Refuse arguments that are not plain values of a usual size, or that name files."""
    for key, value in arguments.items():
        if key == "mlp_layer" and not (isinstance(value, str) and value in LAYERS[key]):
            raise EncoderError(
                f"Expected mlp_layer to be one of {', '.join(LAYERS[key])}. Got {value!r}, which has no entry in the "
                "table of layers; only layers of that table are built."
            )
        if not _is_plain_argument(key, value):
            raise EncoderError(
                f"Expected arguments of the architecture alone, of a usual size. Got {key!r}: {str(value)[:100]!r}."
            )


def stated_arguments(arguments: Mapping[str, object]) -> dict[str, Argument]:
    """Arguments as a spec holds them: layers by name, without what the spec states elsewhere.

    Raises
    ------
    EncoderError
        If the network takes other pictures than RGB, or an argument is none that a spec can hold.
    """
    stated = {key: _layer_name(key, value) for key, value in arguments.items() if value is not None}
    if (channels := stated.pop("in_chans", RGB)) != RGB:
        raise EncoderError(f"Expected an encoder of RGB pictures. Got one of {channels} channels.")
    found = {key: value for key, value in stated.items() if key not in ("num_classes", "img_size")}
    require_arguments(found)
    return found


def built_arguments(arguments: Mapping[str, Argument]) -> dict[str, Any]:
    """Arguments as timm takes them: layers as classes."""
    return {key: LAYERS[key].get(str(value), value) if key in LAYERS else value for key, value in arguments.items()}


def _layer_name(key: str, value: object) -> Any:
    """Name of a layer that came as a class or by its full path; anything else as it is."""
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
