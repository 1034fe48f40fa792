"""Build a network with timm, and test it on one image before any slide is read."""

from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import nn

from lrmil.errors import EncoderError
from lrmil.models.encoders.golden import golden_pixels
from lrmil.models.encoders.network import Encoder, EncoderOutput
from lrmil.models.encoders.source import needs_size
from lrmil.models.encoders.spec import Argument, built_arguments

# Errors that timm and torch raise for unfit sizes, arguments and weights.
FAULTS = (RuntimeError, OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError, ArithmeticError)
USUAL_STRIDE = 32  # of hierarchical networks
MAX_SIZES = 4  # listed in an error
MAX_REASON = 300  # characters


def create_network(
    timm_name: str, size: int, architecture: str, arguments: Mapping[str, Argument], **options: Any
) -> nn.Module:
    """Build a network without classification head.

    Parameters
    ----------
    timm_name
        Name that timm loads: an architecture or ``local-dir:folder``.
    size
        Side of the patches in pixels, passed to networks that are built for one size.
    architecture
        timm model name.
    arguments
        Arguments of the architecture; layers by name.
    **options
        Passed to `timm.create_model`.
    """
    if needs_size(architecture):
        options["img_size"] = size
    return timm.create_model(timm_name, num_classes=0, **built_arguments(arguments), **options)  # type: ignore[no-any-return]


def probe(encoder: Encoder, layers: tuple[int, ...] = ()) -> EncoderOutput:
    """Encode one fixed image, and require that every pixel is used and the output is valid.

    Parameters
    ----------
    encoder
        The encoder to test.
    layers
        Blocks whose tokens are requested.

    Raises
    ------
    EncoderError
        If the network cannot encode the image; it lists patch sizes that fit.
    """
    spec = encoder.spec
    side = patch_side(encoder.backbone)
    if side and spec.size % side:
        raise EncoderError(
            f"Expected a patch size that is a multiple of {side} px for {spec.architecture}. Got "
            f"{spec.size} px{describe_sizes(spec.architecture, spec.size, spec.model_args)}."
        )
    try:
        with torch.inference_mode():
            output: EncoderOutput = encoder(golden_pixels(spec.size), layers)
    except EncoderError:
        raise
    except FAULTS as error:
        raise EncoderError(
            f"The encoder {spec.architecture} cannot encode a patch of {spec.size} px: {reason_of(error)}"
            f"{describe_sizes(spec.architecture, spec.size, spec.model_args)}. The slides are not the cause."
        ) from error
    embedding = output.embedding
    if embedding.ndim == 2 and not embedding.isfinite().all():
        raise EncoderError(f"The encoder {spec.architecture} returns NaN or infinity; its weights are damaged.")
    if embedding.ndim == 2 and embedding.shape[1] != encoder.dim:
        raise EncoderError(
            f"Expected {encoder.dim} numbers as the embedding {spec.embedding!r} of {spec.architecture}. Got "
            f"{embedding.shape[1]}; pass another embedding, such as mean."
        )
    return output


def patch_side(network: nn.Module) -> int:
    """Return the side in px of the squares that a network divides its input into; 0 if they overlap or are padded."""
    embed = getattr(network, "patch_embed", None)
    side, proj = getattr(embed, "patch_size", 0), getattr(embed, "proj", None)
    side = side[0] if isinstance(side, tuple | list) and side else side
    overlap = isinstance(proj, nn.Conv2d) and proj.kernel_size != proj.stride
    return side if type(side) is int and not overlap and not getattr(embed, "dynamic_img_pad", False) else 0


def describe_sizes(architecture: str, size: int, arguments: Mapping[str, Argument]) -> str:
    """Describe the result of `sizes_that_fit` for an error message; return "" if it is empty."""
    sizes = sizes_that_fit(architecture, size, arguments)
    return f"; sizes that fit: {', '.join(map(str, sizes))} px (--patch-size)" if sizes else ""


def is_buildable(architecture: str, size: int, arguments: Mapping[str, Argument]) -> bool:
    """Return True if a network can be built, regardless of weights; arguments as in `create_network`."""
    return _empty(architecture, size, arguments) is not None


def sizes_that_fit(architecture: str, size: int, arguments: Mapping[str, Argument]) -> list[int]:
    """Return the patch sizes in pixels near a size, and the native one, that fit a network.

    No weights are allocated.

    Parameters
    ----------
    architecture
        timm model name.
    size
        Side of the patches in pixels.
    arguments
        Arguments of the architecture; layers by name.
    """
    config = timm.get_pretrained_cfg(architecture)
    native = int(config.input_size[-1]) if config and config.input_size else 0
    network = _empty(architecture, native or size, arguments)
    unit = _unit(network) if network else USUAL_STRIDE
    near = sorted({size // unit * unit, -(-size // unit) * unit, native} - {0, size})
    return [side for side in near if _takes(architecture, side, arguments)][:MAX_SIZES]


def reason_of(error: Exception) -> str:
    """Return the first two lines of an error as one: torch's errors about weights have the reason in the second."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    return (" ".join(lines[:2]) or type(error).__name__)[:MAX_REASON]


def _unit(network: Any) -> int:
    """Return the number that fitting sizes are multiples of, if the network states it."""
    stride = network.feature_info[-1].get("reduction", 0) if getattr(network, "feature_info", None) else 0
    return patch_side(network) or (stride if type(stride) is int and stride > 0 else USUAL_STRIDE)


def _takes(architecture: str, size: int, arguments: Mapping[str, Argument]) -> bool:
    network: Any = _empty(architecture, size, arguments)
    if network is None or size % (patch_side(network) or 1):
        return False
    try:
        network.forward_features(torch.zeros(1, 3, size, size, device="meta"))
    except FAULTS:
        return False
    return True


def _empty(architecture: str, size: int, arguments: Mapping[str, Argument]) -> nn.Module | None:
    try:
        with torch.device("meta"):
            return create_network(architecture, size, architecture, arguments).eval()
    except FAULTS:
        return None
