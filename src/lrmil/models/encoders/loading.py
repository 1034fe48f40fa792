"""Load patch encoders by name through timm, or rebuild them from their spec."""

import hashlib
import re
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import nn

from lrmil.errors import EncoderError
from lrmil.models.encoders.build import FAULTS, create_network, describe_sizes, is_buildable, probe, reason_of
from lrmil.models.encoders.hub import cached_weights
from lrmil.models.encoders.network import Encoder as Encoder
from lrmil.models.encoders.network import EncoderOutput as EncoderOutput
from lrmil.models.encoders.patch_encoder import PatchEncoder as PatchEncoder
from lrmil.models.encoders.patch_encoder import as_input as as_input
from lrmil.models.encoders.source import FORMS, MAX_SIZE, EncoderSource, find_source, weight_shapes
from lrmil.models.encoders.spec import EncoderSpec as EncoderSpec
from lrmil.models.encoders.spec import require_spec, stated_arguments
from lrmil.models.encoders.terms import terms_of


def load_encoder(
    name: str,
    *,
    size: int = 0,
    embedding: str = "pooled",
    pretrained: bool = True,
    seed: int = 0,
    projected_dim: int = 0,
    layers: tuple[int, ...] = (),
) -> Encoder:
    """Load a patch encoder through timm, and test it on one patch.

    Parameters
    ----------
    name
        A name of the catalogue, a timm name, ``hf-hub:owner/name``, ``local-dir:folder`` or a folder.
    size
        Side of the patches in pixels, to which position embeddings are resampled; 0 is the encoder's own
        (`default_size`).
    embedding
        cls | mean | cls+mean | pooled. Pooled is the encoder's own: by the catalogue, else by its head. If its head
        pools nothing, it is the class token and the mean of the patch tokens.
    pretrained
        Load its weights; False draws random weights.
    seed
        Seed of random weights and of the projector.
    projected_dim
        Output dimension of a random linear projector after the embedding; 0 for none.
    layers
        Blocks whose tokens will be requested.

    Raises
    ------
    EncoderError
        If there is no such model, its weights are unavailable, it has no feature maps, its input is not RGB, or a spec
        cannot describe it. If it cannot encode patches of this size, the error lists sizes that fit.
    """
    source = find_source(name, pretrained=pretrained)
    size = size or source.native_size
    if not 1 <= size <= MAX_SIZE:
        raise EncoderError(f"Expected patches of 1 to {MAX_SIZE} px. Got {size} px (--patch-size).")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = _load(source, size, pretrained=pretrained)
        spec = _spec_of(source, backbone, size, embedding)
        require_spec(spec)  # a network that cannot be rebuilt must fail before any training
        encoder = Encoder(spec, backbone)
        encoder.require_layers(layers)
        rule = _rule(encoder, source, probe(encoder, layers).embedding.ndim)
        if rule != embedding or projected_dim:
            spec = replace(spec, embedding=rule, projected_dim=projected_dim)
            require_spec(spec)
            encoder = Encoder(spec, backbone)
            probe(encoder)
    encoder.terms = terms_of(source, pretrained=pretrained)
    return encoder


def default_size(name: str, *, pretrained: bool = True) -> int:
    """Return the native patch size of an encoder in pixels; 256 if it takes any size.

    Parameters
    ----------
    name, pretrained
        As in `load_encoder`.

    Raises
    ------
    EncoderError
        If there is no such encoder, or it is unavailable.
    """
    return find_source(name, pretrained=pretrained).native_size


def build_encoder(spec: EncoderSpec) -> Encoder:
    """Build the network of a spec, with weights that are still to be loaded.

    Parameters
    ----------
    spec
        May come from an untrusted file; only architectures that timm knows are built.

    Raises
    ------
    EncoderError
        If the installed timm lacks the architecture, a value of the spec is invalid, or the architecture rejects the
        spec's arguments.
    """
    require_spec(spec)
    try:
        return Encoder(spec, create_network(spec.architecture, spec.size, spec.architecture, spec.model_args))
    except FAULTS as error:
        raise EncoderError(
            f"The encoder {spec.architecture} cannot be built for patches of {spec.size} px: {reason_of(error)}"
        ) from error


def encoder_hash(encoder: Encoder) -> str:
    """Return the SHA-256 of the spec and all weights, as hexadecimal digits."""
    digest = hashlib.sha256(repr(sorted(asdict(encoder.spec).items())).encode())
    for key, value in sorted(encoder.state_dict().items()):
        digest.update(f"{key}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _load(source: EncoderSource, size: int, *, pretrained: bool) -> nn.Module:
    options: dict[str, Any] = {"pretrained": pretrained}
    if pretrained and source.folder is None and (weights := cached_weights(source.architecture)):
        options["pretrained_cfg_overlay"] = {"file": str(weights)}
    try:
        backbone = create_network(source.timm_name, size, source.architecture, source.arguments, **options)
    except FAULTS as error:
        raise EncoderError(_refusal(source, size, error)) from error
    if pretrained and source.folder:
        _require_all_weights(source, backbone, set(weight_shapes(source.folder)))
    if not hasattr(backbone, "forward_intermediates"):
        raise EncoderError(
            f"Expected a timm model with forward_intermediates. Got {source.name!r} ({source.architecture}), which "
            "lacks it."
        )
    return backbone


def _require_all_weights(source: EncoderSource, backbone: nn.Module, stated: set[str]) -> None:
    """Raise if some layers kept their random weights, which timm only logs.

    If most names differ, timm has renamed the weights of another library, and the names prove nothing.
    """
    names = {name for name, _ in backbone.named_parameters()}
    missing = sorted(names - stated)
    if missing and 2 * len(missing) < len(names):
        raise EncoderError(
            f"Expected weights for every layer of {source.architecture} in {source.name}. Got none for {missing[0]!r} "
            f"({len(missing)} are missing); its config.json and its weights are of different networks."
        )


def _refusal(source: EncoderSource, size: int, error: Exception) -> str:
    """Describe what does not fit: the size, the weights, or the error of timm."""
    if not is_buildable(source.architecture, size, source.arguments):
        sizes = describe_sizes(source.architecture, size, source.arguments)
        return (
            f"Expected an encoder that timm can build. Got {source.name!r} ({source.architecture}) at {size} px: "
            f"{reason_of(error)}{sizes}"
        )
    if "state_dict" not in str(error):
        wanted = "a model folder that timm can load" if source.folder else f"{FORMS}, with weights that can be loaded"
        return f"Expected {wanted}. Got {source.name!r} ({source.architecture}): {reason_of(error)}"
    hint = (
        ". Networks with custom layers (mlp_layer, act_layer, such as SwiGLUPacked and SiLU) need their names in "
        "model_args."
        if re.search(r"size mismatch for \S*mlp\.", str(error))
        else ""
    )
    return (
        f"The weights of {source.name!r} do not fit the network in its config.json ({source.architecture} with its "
        f"model_args): {reason_of(error)}{hint}"
    )


def _spec_of(source: EncoderSource, backbone: nn.Module, size: int, embedding: str) -> EncoderSpec:
    stated: dict[str, Any] = backbone.pretrained_cfg  # type: ignore[assignment]
    known = {**stated, **{key: value for key, value in source.config.items() if value}}
    if source.entry:
        known = {"mean": source.entry.mean, "std": source.entry.std, **source.config}
    try:
        mean, std = tuple(known["mean"]), tuple(known["std"])
    except (KeyError, TypeError) as error:
        raise EncoderError(
            f"Expected a mean and a std of three numbers in config.json of {source.name}. Got none."
        ) from error
    return EncoderSpec(
        architecture=stated["architecture"],
        size=size,
        embedding=embedding,
        mean=mean,
        std=std,
        model_args=stated_arguments(getattr(backbone, "_model_args", {})),
    )


def _rule(encoder: Encoder, source: EncoderSource, pooled_ndim: int) -> str:
    """Return the rule of the embedding; "pooled" only if the network's own head computes it."""
    if encoder.spec.embedding != "pooled":
        return encoder.spec.embedding
    rule = source.entry.embedding if source.entry else ""
    if pooled_ndim == 2:
        is_own = rule in ("", "pooled") or (rule == "cls" and getattr(encoder.backbone, "global_pool", "") == "token")
        return "pooled" if is_own else rule
    return rule or ("cls+mean" if encoder.has_class_token else "mean")
