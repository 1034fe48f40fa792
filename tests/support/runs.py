"""Small encoders, cohorts and runs for tests."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from lrmil.configs import MILConfig, TrainConfig, with_settings
from lrmil.features.store import Features, FeaturesCard, write_features
from lrmil.models.bundle import Bundle
from lrmil.models.encoders.loading import Encoder, load_encoder
from lrmil.models.heads.choice import make_mil
from lrmil.prediction.options import PredictOptions
from lrmil.tasks.classification import Classification

TINY: dict[str, object] = {
    "encoder": "test_resnet",
    "pretrained": False,
    "patch_size": 64,
    "mpp_hr": 1.0,
    "threads": 1,
    "stage1.fit.steps": 4,
    "stage1.fit.interval": 2,
    "stage1.patches_per_epoch": 32,
    "stage1.validation_patches": 16,
    "mil.fit.epochs": 2,
    "mil.seeds": 2,
    "stage2.inner_folds": 0,
    "calibration.folds": 0,
}

ON_CPU = PredictOptions(device="cpu")


class TinyRun(NamedTuple):
    """A finished run on 12 slides; read only."""

    folder: Path
    slides: Path
    labels: Path


def tiny_config(**settings: object) -> TrainConfig:
    """`TINY` with other settings; a double underscore stands for the dot."""
    changed = {name.replace("__", "."): value for name, value in settings.items()}
    return with_settings(TrainConfig(), {**TINY, **changed})


def tiny_encoder(name: str = "test_efficientnet", size: int = 64, **options: object) -> Encoder:
    return load_encoder(name, size=size, pretrained=False, **options)  # type: ignore[arg-type]


def tiny_bundle(size: int = 64, mpp: float = 2.0, classes: tuple[str, ...] = ("no", "yes")) -> Bundle:
    """A model with random weights whose attention is far from even."""
    encoder, config = tiny_encoder(size=size), MILConfig(hidden_dim=8)
    mil = make_mil(encoder.dim, len(classes), config).eval()
    return Bundle(
        task=Classification(classes),
        mpp=mpp,
        patch_size=size,
        min_tissue=0.25,
        max_failed=0.2,
        encoder=encoder,
        mil=mil,
        mil_config=config,
    )


def state_of(network: nn.Module) -> list[object]:
    """Where each weight lies and how, its content, and which parts are in training mode."""
    tensors = [*network.named_parameters(), *network.named_buffers()]
    weights = [
        (name, id(value), value.device, value.dtype, value.stride(), value.data_ptr(), value.detach().clone().tolist())
        for name, value in tensors
    ]
    return [*weights, *((name, id(part), part.training) for name, part in network.named_modules())]


def lattice_card(slide_id: str, *, mpp: float = 2.0, size: int = 64, key: str = "key") -> FeaturesCard:
    return FeaturesCard(
        slide_id=slide_id,
        slide_fingerprint="00",
        slide_mpp=0.5,
        mpp_source="test",
        mpp=mpp,
        size=size,
        origin_yx=(0, 0),
        encoder_hash="00",
        key=key,
        total=1,
        failed=0,
        seconds=1.0,
        bytes_read=1,
    )


def write_bag(
    path: Path,
    index: NDArray[np.integer],
    embeddings: NDArray[np.floating],
    layers: dict[int, NDArray[np.floating]] | None = None,
    *,
    mpp: float = 2.0,
    size: int = 64,
) -> Path:
    """Write features without a slide."""
    card = lattice_card(path.stem, mpp=mpp, size=size)
    write_features(path, Features(card, np.asarray(index, np.int32), np.asarray(embeddings, np.float32), layers or {}))
    return path


def stamp_of(path: Path) -> tuple[int, int]:
    """What changes when a file is written anew."""
    stat = path.stat()
    return stat.st_ino, stat.st_mtime_ns


WARM: dict[str, object] = {"stage2__warm_start": True, "stage2__warm_start_r2": -1e6}  # whatever stage 1 reached
# The teacher of the paper: over HR patches, whose attention weighs stage 1.
PATCH_TEACHER: dict[str, object] = {"teacher": "patch", "stage1__weighting": "teacher_attention"}
