"""Small stand-ins for encoders that nobody may pass on: folders as the hub has them, with random weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from timm.layers import SwiGLUPacked
from torch import Tensor, nn

SMALL: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 2}
LAYERS: dict[str, Any] = {"mlp_layer": SwiGLUPacked, "act_layer": nn.SiLU}


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """Draw every weight, also those that start at zero or one, so that nothing may be left out unseen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.named_parameters():
            centre = 1.0 if value.ndim == 1 and name.endswith("weight") else 0.0
            value.copy_(centre + 0.15 * torch.randn(value.shape, generator=generator))
    return network.eval()


def encoder_folder(
    folder: Path,
    architecture: str,
    built: Mapping[str, Any],
    *,
    stated: Mapping[str, Any] | None = None,
    seed: int = 0,
    **config: object,
) -> nn.Module:
    """Write config.json, which states `stated` (all that was built by default), and weights; give the network."""
    network = randomised(timm.create_model(architecture, pretrained=False, num_classes=0, **built), seed)
    folder.mkdir(parents=True)
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / "model.safetensors")
    pretrained = {"input_size": [3, 224, 224], "fixed_input_size": True, "interpolation": "bicubic", "num_classes": 0}
    pretrained |= {"mean": [0.7, 0.57, 0.7], "std": [0.21, 0.25, 0.21], "first_conv": "patch_embed.proj"}
    document = {"architecture": architecture, "num_classes": 0, "pretrained_cfg": pretrained | config}
    document["model_args"] = dict(built if stated is None else stated)
    (folder / "config.json").write_text(json.dumps(document))
    return network


def normalised(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return (pixels.float() / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
