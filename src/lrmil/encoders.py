"""Patch encoders: any timm backbone that gives its intermediate feature maps, seen as tokens on a grid.

A ViT's forward is never written by hand: `forward_intermediates` gives patch tokens as maps and the prefix tokens. A
convolutional or hierarchical model works alike: a token is a cell of its map, the pooled map stands for the class
token.
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from timm.models import load_model_config_from_hf
from torch import Tensor, nn

from lrmil.devices import mixed_precision
from lrmil.errors import ConfigError, EncoderError
from lrmil.finite import require_finite

log = logging.getLogger(__name__)
# What timm takes for itself or the spec states elsewhere: some name files and places to load from, so no spec has them.
RESERVED = {"model_name", "checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"}
RESERVED |= {"pretrained_strict", "features_only", "out_indices", "feature_cfg", "feature_cls", "kwargs_filter"}
RESERVED |= {"scriptable", "exportable", "no_jit", "num_classes", "img_size", "in_chans"}
LARGEST_ARGUMENT = 16_384
LARGEST_COUNT = 256  # of what a network is built of one by one, such as blocks: building takes time for each
COUNTED = re.compile(r"depth|layer|block|stage|repeat")
PLAIN_NAME = re.compile(r"[A-Za-z0-9_]{1,100}(\.[A-Za-z0-9_.-]{1,100})?")
RGB = 3  # channels
EMBEDDINGS = ("cls", "mean", "cls+mean", "pooled")
FINAL = -1  # the layer number of the final feature map, after the last norm or head convolution


class EncoderOutput(NamedTuple):
    """What an encoder says of a batch of b patches; the two tuples hold one entry per layer that was asked for."""

    embedding: Tensor
    """(b, d)"""
    class_tokens: tuple[Tensor, ...]
    """(b, d_l) each"""
    patch_tokens: tuple[Tensor, ...]
    """(b, d_l, g, g) each"""


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
        Further arguments of the architecture, numbers, strings and booleans only.
    projected_dim
        Output dimension of a linear projector behind the embedding; 0 for none.
    """

    architecture: str
    size: int
    embedding: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    model_args: dict[str, int | float | str | bool]
    projected_dim: int = 0


class Encoder(nn.Module):
    """A backbone with its normalisation and pooling; uint8 patches in, `EncoderOutput` out.

    It stays in evaluation mode also while it is trained: batch statistics of a few LR patches would replace those of
    the pretraining, and folded BatchNorms (running mean 0, variance 1) would be destroyed.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: EncoderSpec, backbone: nn.Module) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = backbone
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)
        tokens = int(self._backbone.num_features)
        pooled = int(getattr(backbone, "head_hidden_size", 0) or tokens)
        self.raw_dim = {"pooled": pooled, "cls": tokens, "mean": tokens, "cls+mean": 2 * tokens}[spec.embedding]
        self.projector = nn.Linear(self.raw_dim, spec.projected_dim) if spec.projected_dim else nn.Identity()
        self.eval()

    @property
    def _backbone(self) -> Any:  # timm's models have no common type
        return self.backbone

    @property
    def dim(self) -> int:
        """Dimension of the embedding."""
        return self.spec.projected_dim or self.raw_dim

    def train(self, mode: bool = True) -> "Encoder":
        """Stay in evaluation mode, whatever is asked; gradients are not affected."""
        return super().train(False)

    def forward(self, pixels: Tensor, layers: tuple[int, ...] = ()) -> EncoderOutput:
        """Encode patches (b, 3, P, P) of RGB in 0..255 and give the tokens of `layers` along with the embedding."""
        inputs = (pixels.float() / 255.0 - self.mean) / self.std
        blocks = {layer: self._block(layer) for layer in layers if layer != FINAL}
        prefixes = int(getattr(self.backbone, "num_prefix_tokens", 0))
        options = {"return_prefix_tokens": True} if prefixes else {}
        final, found = self._backbone.forward_intermediates(
            inputs, indices=sorted(set(blocks.values())) or 1, norm=False, output_fmt="NCHW", **options
        )
        by_block = dict(zip(sorted(set(blocks.values())), found, strict=True)) if blocks else {}
        tokens = {layer: self._split(by_block[block]) for layer, block in blocks.items()}
        tokens[FINAL] = self._final_tokens(final, prefixes)
        chosen = [tokens[layer] for layer in layers]
        return EncoderOutput(
            self.projector(self._embed(final, *tokens[FINAL])),
            tuple(class_token for class_token, _ in chosen),
            tuple(maps for _, maps in chosen),
        )

    def check_layers(self, layers: tuple[int, ...]) -> None:
        """Refuse blocks that the backbone does not have.

        Raises
        ------
        EncoderError
            Naming the blocks there are.
        """
        for layer in layers:
            self._block(layer)

    def _block(self, layer: int) -> int:
        """Position of a block counted from the front; negative numbers count from the end."""
        count = len(self._backbone.feature_info)
        if not -count <= layer < count:
            raise EncoderError(
                f"Expected blocks of {self.spec.architecture} from 0 to {count - 1}, or -1. Got {layer}."
            )
        return layer % count

    def _final_tokens(self, final: Tensor, prefixes: int) -> tuple[Tensor, Tensor]:
        if final.ndim == 3:
            side = int((final.shape[1] - prefixes) ** 0.5)
            maps = final[:, prefixes:].transpose(1, 2).reshape(len(final), -1, side, side)
            return self._class_token(final[:, :prefixes], maps), maps
        if final.shape[1] != self._backbone.num_features:
            final = final.permute(0, 3, 1, 2)
        return final.mean((2, 3)), final

    def _split(self, entry: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Class token and token map of an intermediate."""
        if isinstance(entry, tuple):
            return self._class_token(entry[1], entry[0]), entry[0]
        return entry.mean((2, 3)), entry

    def _class_token(self, prefixes: Tensor, maps: Tensor) -> Tensor:
        """First prefix token where that is a class token; the pooled map where there is none, or registers alone."""
        if prefixes.shape[1] and getattr(self.backbone, "cls_token", None) is not None:
            return prefixes[:, 0]
        return maps.mean((2, 3))

    def _embed(self, final: Tensor, class_token: Tensor, maps: Tensor) -> Tensor:
        if self.spec.embedding == "pooled":
            return self._backbone.forward_head(final, pre_logits=True)  # type: ignore[no-any-return]
        if self.spec.embedding == "cls":
            return class_token
        mean = maps.mean((2, 3))
        return mean if self.spec.embedding == "mean" else torch.cat([class_token, mean], 1)


def load_encoder(
    name: str, *, size: int, embedding: str = "pooled", pretrained: bool = True, seed: int = 0, projected_dim: int = 0
) -> Encoder:
    """Load a patch encoder through timm.

    Parameters
    ----------
    name
        A timm name, ``hf-hub:owner/name`` or ``local-dir:folder``.
    size
        Side of the patches in pixels; position embeddings are resampled to it where the model has any.
    embedding
        cls | mean | cls+mean | pooled.
    pretrained
        False gives random weights drawn with `seed`.
    projected_dim
        Put a linear projector (drawn with `seed`) to this dimension behind the embedding; 0 for none.

    Raises
    ------
    EncoderError
        If timm has no such model, its weights cannot be had, it gives no feature maps, it takes other pictures than
        RGB, or a spec cannot describe it.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = _create(name, size, pretrained)
        config: dict[str, Any] = backbone.pretrained_cfg  # type: ignore[assignment]
        spec = EncoderSpec(
            architecture=config["architecture"],
            size=size,
            embedding=embedding,
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            model_args=_arguments(backbone),
            projected_dim=projected_dim,
        )
        _check_spec(spec)  # what could not be built again later is refused before anything is trained
        return Encoder(spec, backbone)


def build_encoder(spec: EncoderSpec) -> Encoder:
    """Build the network of a spec with unset weights; only names that timm knows are built.

    Raises
    ------
    EncoderError
        If the architecture is unknown to the installed timm or is named by a place to load from, if a value of the
        spec is of the wrong kind or out of range, or if the architecture refuses the spec's arguments.
    """
    _check_spec(spec)
    return Encoder(spec, _create(spec.architecture, spec.size, pretrained=False, **spec.model_args))


def _check_spec(spec: EncoderSpec) -> None:
    """Refuse a spec, perhaps of a stranger, before timm sees it."""
    name = spec.architecture
    if not (isinstance(name, str) and PLAIN_NAME.fullmatch(name) and timm.is_model(name)):
        raise EncoderError(f"Expected an architecture that timm {timm.__version__} knows. Got {name!r}.")
    if spec.embedding not in EMBEDDINGS:
        raise EncoderError(f"Expected an embedding of {', '.join(EMBEDDINGS)}. Got {spec.embedding!r}.")
    for what, number, least in (("size", spec.size, 1), ("projected_dim", spec.projected_dim, 0)):
        if type(number) is not int or not least <= number <= LARGEST_ARGUMENT:
            raise EncoderError(f"Expected a {what} from {least} to {LARGEST_ARGUMENT}. Got {number!r}.")
    for what, values, smallest in (("mean", spec.mean, -100.0), ("std", spec.std, 1e-6)):
        if len(values) != 3 or not all(_is_between(value, smallest, 100.0) for value in values):
            raise EncoderError(f"Expected a {what} of three numbers from {smallest:g} to 100. Got {values!r}.")
    if not isinstance(spec.model_args, dict):
        raise EncoderError(f"Expected arguments of the architecture by name. Got {spec.model_args!r}.")
    for key, value in spec.model_args.items():
        if not _is_plain_argument(key, value):
            raise EncoderError(
                f"Expected arguments of the architecture alone, of a usual size. Got {key!r}: {value!r}."
            )


def _is_plain_argument(key: str, value: object) -> bool:
    if not key.isidentifier() or key in RESERVED:
        return False
    if isinstance(value, str):
        return value == "" or PLAIN_NAME.fullmatch(value) is not None
    largest = LARGEST_COUNT if COUNTED.search(key) else LARGEST_ARGUMENT
    return isinstance(value, bool) or _is_between(value, 0, largest)


def _is_between(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def encoder_hash(encoder: Encoder) -> str:
    """SHA-256 over the spec and every weight."""
    digest = hashlib.sha256(repr(sorted(asdict(encoder.spec).items())).encode())
    for key, value in sorted(encoder.state_dict().items()):
        digest.update(f"{key}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class PatchEncoder:
    """An encoder on a device that halves its batch when the device's memory does not suffice, and says so once.

    The embedding of a patch does not depend on the patches beside it, so neither do results on the batch size.
    """

    def __init__(
        self, encoder: Encoder, device: torch.device, *, batch_size: int, layers: tuple[int, ...] = ()
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"Expected a batch of at least 1 patch. Got {batch_size}.")
        self.encoder = encoder.to(device)
        self.encoder.to(memory_format=torch.channels_last)
        self.device = device
        self.batch_size = batch_size
        self.layers = layers

    def __call__(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], tuple[NDArray[np.float32], ...]]:
        """Encode (b, P, P, 3) uint8 patches: embeddings (b, d) and the class tokens (b, d_l) of each layer.

        Raises
        ------
        ModelError
            If they are no finite numbers.
        """
        outputs = list(self._encode(torch.from_numpy(pixels)))
        embeddings = np.concatenate([embedding for embedding, _ in outputs])
        layers = tuple(np.concatenate(parts) for parts in zip(*(tokens for _, tokens in outputs), strict=True))
        require_finite(f"the encoder {self.encoder.spec.architecture}", embeddings, *layers)
        return embeddings, layers

    @torch.inference_mode()
    def _encode(self, pixels: Tensor) -> Iterator[tuple[NDArray[np.float32], tuple[NDArray[np.float32], ...]]]:
        start = 0
        while start < len(pixels):
            part = pixels[start : start + self.batch_size]
            try:
                with mixed_precision(self.device):
                    output = self.encoder(as_input(part, self.device), self.layers)
            except torch.OutOfMemoryError:
                if self.batch_size == 1:
                    raise ConfigError(
                        f"Expected memory for one patch of {self.encoder.spec.size} px on {self.device}. Got none "
                        "left; close other programs that use it, or pass another device."
                    ) from None
                self.batch_size //= 2
                torch.cuda.empty_cache()
                log.warning("Not enough memory on %s: the batch is now %d patches.", self.device, self.batch_size)
                continue
            yield _to_numpy(output.embedding), tuple(map(_to_numpy, output.class_tokens))
            start += len(part)


def as_input(pixels: Tensor, device: torch.device) -> Tensor:
    """Turn (b, P, P, 3) uint8 into (b, 3, P, P) on the device, laid out channels-last (twice as fast on a CPU)."""
    return pixels.to(device, non_blocking=True).permute(0, 3, 1, 2)


def _create(name: str, size: int, pretrained: bool, **arguments: int | float | str | bool) -> nn.Module:
    try:
        if _config(name).get("fixed_input_size"):
            arguments = {"img_size": size, **arguments}
        backbone = timm.create_model(name, pretrained=pretrained, num_classes=0, **arguments)
    except (RuntimeError, OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        reason = str(error).strip().splitlines()
        raise EncoderError(
            f"Expected a timm model name, hf-hub:owner/name or local-dir:folder with weights that can be loaded. "
            f"Got {name!r} at {size} px: {reason[0] if reason else type(error).__name__}"
        ) from error
    if not hasattr(backbone, "forward_intermediates"):
        raise EncoderError(f"Expected a timm model with forward_intermediates. Got {name!r}, which has none.")
    return backbone  # type: ignore[no-any-return]


def _config(name: str) -> dict[str, object]:
    source, _, location = name.partition(":")
    if source == "local-dir":
        return dict(json.loads((Path(location) / "config.json").read_text(encoding="utf-8")).get("pretrained_cfg", {}))
    if source == "hf-hub":
        return load_model_config_from_hf(location)[0]  # type: ignore[no-any-return]
    config = timm.get_pretrained_cfg(name)
    return config.to_dict() if config else {}


def _arguments(backbone: nn.Module) -> dict[str, int | float | str | bool]:
    """Architecture options that timm recorded, save those that the spec carries itself or that are as always."""
    options = {key: value for key, value in getattr(backbone, "_model_args", {}).items() if value is not None}
    if (channels := options.pop("in_chans", RGB)) != RGB:
        raise EncoderError(f"Expected an encoder of RGB pictures. Got one of {channels} channels.")
    return {key: value for key, value in options.items() if key not in ("num_classes", "img_size")}


def _to_numpy(values: Tensor) -> NDArray[np.float32]:
    return values.float().cpu().numpy()
