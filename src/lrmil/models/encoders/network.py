"""Any timm backbone as tokens on a grid: class token, patch tokens, embedding.

timm's `forward_intermediates` returns the maps of the blocks and the final tokens. In a convolutional or hierarchical
network, a token is a cell of the map, and the mean of the map replaces the class token.
"""

import inspect
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lrmil.errors import EncoderError
from lrmil.models.encoders.spec import EncoderSpec
from lrmil.models.encoders.terms import EncoderTerms

FINAL = -1  # the layer number of the final feature map, after the last norm or head convolution
MAX_PREFIXES = 64  # class, distillation and register tokens


class EncoderOutput(NamedTuple):
    """Outputs for a batch of b patches; the two tuples hold one entry per requested layer."""

    embedding: Tensor
    """(b, d)"""
    class_tokens: tuple[Tensor, ...]
    """(b, d_l) each"""
    patch_tokens: tuple[Tensor, ...]
    """(b, d_l, g, g) each"""


class Encoder(nn.Module):
    """A backbone with its normalisation and pooling.

    It stays in evaluation mode during training: batch statistics of a few LR patches would replace those of the
    pretraining, and would destroy folded BatchNorms (running mean 0, variance 1).

    Parameters
    ----------
    spec
        What the backbone was built from.
    backbone
        A timm network without classification head, with `forward_intermediates`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: EncoderSpec, backbone: nn.Module) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = backbone
        self.terms: EncoderTerms | None = None  # of the weights it was loaded with
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)
        tokens = int(self._backbone.num_features)
        pooled = int(getattr(backbone, "head_hidden_size", 0) or tokens)
        self.raw_dim = {"pooled": pooled, "cls": tokens, "mean": tokens, "cls+mean": 2 * tokens}[spec.embedding]
        self.projector = nn.Linear(self.raw_dim, spec.projected_dim) if spec.projected_dim else nn.Identity()
        names = (name.rpartition(".")[2] for name, _ in backbone.named_parameters())
        self.has_class_token = any(name.startswith("cls_token") for name in names)
        self._options = _options(backbone)
        self.eval()

    @property
    def _backbone(self) -> Any:  # timm's models have no common type
        return self.backbone

    @property
    def dim(self) -> int:
        """Dimension of the embedding."""
        return self.spec.projected_dim or self.raw_dim

    def train(self, mode: bool = True) -> "Encoder":  # noqa: ARG002, FBT001, FBT002 - torch's signature
        """Stay in evaluation mode, whatever `mode` is; gradients are not affected."""
        return super().train(mode=False)

    def forward(self, pixels: Tensor, layers: tuple[int, ...] = ()) -> EncoderOutput:
        """Encode patches.

        Parameters
        ----------
        pixels
            (b, 3, P, P) RGB from 0 to 255, of any dtype.
        layers
            Blocks whose tokens are returned with the embedding; -1 is the final feature map.

        Raises
        ------
        EncoderError
            If the backbone lacks one of the blocks, or cannot compute the embedding of the spec.
        """
        inputs = (pixels.float() / 255.0 - self.mean) / self.std
        blocks = {layer: self._block(layer) for layer in layers if layer != FINAL}
        last = len(self._backbone.feature_info) - 1
        indices = sorted({*blocks.values(), last})  # the last block's map has the grid of the final tokens
        final, found = self._backbone.forward_intermediates(
            inputs, indices=indices, norm=False, output_fmt="NCHW", **self._options
        )
        by_block = {block: self._split(entry) for block, entry in zip(indices, found, strict=True)}
        tokens = {layer: by_block[block] for layer, block in blocks.items()}
        tokens[FINAL] = self._final_tokens(final, by_block[last][1])
        chosen = [tokens[layer] for layer in layers]
        return EncoderOutput(
            self.projector(self._embed(final, *tokens[FINAL])),
            tuple(class_token for class_token, _ in chosen),
            tuple(maps for _, maps in chosen),
        )

    def require_layers(self, layers: tuple[int, ...]) -> None:
        """Raise if the backbone lacks one of the blocks.

        Raises
        ------
        EncoderError
            With the range of its blocks.
        """
        for layer in layers:
            self._block(layer)

    def _block(self, layer: int) -> int:
        """Return the index of a block from 0; negative layers count from the end."""
        count = len(self._backbone.feature_info)
        if not -count <= layer < count:
            raise EncoderError(
                f"Expected blocks of {self.spec.architecture} from 0 to {count - 1}, or -1. Got {layer}."
            )
        return layer % count

    def _final_tokens(self, final: Tensor | list[Tensor], last: Tensor) -> tuple[Tensor, Tensor]:
        """Return class token and token map of the final output, given the map of the last block."""
        if isinstance(final, list):  # several branches, which only their heads can combine
            return last.mean((2, 3)), last
        if final.ndim == 4:
            features = self._backbone.num_features
            if final.shape[1] != features and final.shape[3] == features:
                final = final.permute(0, 3, 1, 2)
            return final.mean((2, 3)), final
        rows, cols = last.shape[2:]
        prefixes = final.shape[1] - rows * cols
        if prefixes < 0:  # only the class token is left
            return self._class_token(final, last), last
        if prefixes > MAX_PREFIXES:
            raise EncoderError(
                f"Expected final tokens of {self.spec.architecture} on the {rows} x {cols} grid of its last block. Got "
                f"{final.shape[1]} tokens."
            )
        maps = final[:, prefixes:].transpose(1, 2).reshape(len(final), -1, rows, cols)
        return self._class_token(final[:, :prefixes], maps), maps

    def _split(self, entry: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return class token and token map of an intermediate output."""
        if isinstance(entry, tuple):
            return self._class_token(entry[1], entry[0]), entry[0]
        return entry.mean((2, 3)), entry

    def _class_token(self, prefixes: Tensor, maps: Tensor) -> Tensor:
        """Return the first prefix token if it is a class token, else the mean of the map."""
        return prefixes[:, 0] if prefixes.shape[1] and self.has_class_token else maps.mean((2, 3))

    def _embed(self, final: Tensor | list[Tensor], class_token: Tensor, maps: Tensor) -> Tensor:
        if self.spec.embedding == "pooled":
            return self._backbone.forward_head(final, pre_logits=True)  # type: ignore[no-any-return]
        if isinstance(final, list):
            raise EncoderError(
                f"Expected the embedding 'pooled' for {self.spec.architecture}, whose branches only its own head can "
                f"combine. Got {self.spec.embedding!r}."
            )
        if self.spec.embedding == "cls":
            return class_token
        mean = maps.mean((2, 3))
        return mean if self.spec.embedding == "mean" else torch.cat([class_token, mean], 1)


def _options(backbone: nn.Module) -> dict[str, bool]:
    """Return options of `forward_intermediates` that only some architectures have."""
    known = inspect.signature(backbone.forward_intermediates).parameters  # type: ignore[arg-type]
    options = {"stop_early": False} if "stop_early" in known else {}  # the final tokens are needed too
    if "return_prefix_tokens" in known and int(getattr(backbone, "num_prefix_tokens", 0)):
        options["return_prefix_tokens"] = True
    return options
