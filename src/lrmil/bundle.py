"""What is shipped: format lrmil.bundle/1, a folder of JSON and safetensors; loading it runs no code of its own.

bundle.json  encoder/config.json  encoder/model.safetensors  mil.safetensors
"""

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from lrmil import files
from lrmil.configs import MILConfig, mil_from_dict
from lrmil.encoders import Encoder, EncoderSpec, build_encoder
from lrmil.errors import FormatError
from lrmil.mil import ABMIL, make_mil

FORMAT = "lrmil.bundle/1"
WEIGHTS = ("encoder/config.json", "encoder/model.safetensors", "mil.safetensors")
LARGEST_PATCH = 4096


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model folder says of itself; the attributes are those of `Bundle`."""

    classes: tuple[str, ...]
    mpp: float
    patch_size: int
    training: dict[str, object]
    metrics: dict[str, object]
    license: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model ready for low-resolution inference.

    Attributes
    ----------
    classes
        Class names in the order of the probabilities.
    mpp, patch_size
        Resolution in um/px and side in pixels of the patches it reads.
    min_tissue, max_failed
        As in `make_patches` and `check_failures`.
    encoder, mil
        The LR patch encoder and the LR MIL.
    mil_config
        What the MIL was built from.
    training
        Where it comes from: cohort, cases, configuration, date, version; JSON-ready.
    metrics
        Reported metrics of the three arms; JSON-ready.
    license
        Terms of use.
    sha256
        Hash over the content of the folder, "" before it is written.
    """

    classes: tuple[str, ...]
    mpp: float
    patch_size: int
    min_tissue: float
    max_failed: float
    encoder: Encoder
    mil: ABMIL
    mil_config: MILConfig
    training: dict[str, object] = field(default_factory=dict)
    metrics: dict[str, object] = field(default_factory=dict)
    license: str = "research use only; not a medical device"
    sha256: str = ""

    @property
    def card(self) -> ModelCard:
        """What the model says of itself, without its weights."""
        return ModelCard(**{field.name: getattr(self, field.name) for field in fields(ModelCard)})


def save_bundle(folder: Path, bundle: Bundle) -> None:
    """Write the folder, complete or not at all; hashes of its files go into bundle.json."""
    with files.replacing(folder) as temporary:
        (temporary / "encoder").mkdir(parents=True)
        files.write_json(temporary / "encoder/config.json", asdict(bundle.encoder.spec))
        _save(temporary / "encoder/model.safetensors", bundle.encoder)
        _save(temporary / "mil.safetensors", bundle.mil)
        document = {
            "format": FORMAT,
            "classes": list(bundle.classes),
            "mpp": bundle.mpp,
            "patch_size": bundle.patch_size,
            "min_tissue": bundle.min_tissue,
            "max_failed": bundle.max_failed,
            "mil": asdict(bundle.mil_config),
            "training": bundle.training,
            "metrics": bundle.metrics,
            "license": bundle.license,
            "notice": "Model output, not a diagnosis.",
            "sha256": {name: files.sha256_file(temporary / name) for name in WEIGHTS},
        }
        files.write_json(temporary / "bundle.json", document)


def load_bundle(folder: str | Path) -> Bundle:
    """Load a model folder.

    Raises
    ------
    FormatError
        If it is no bundle, is of another version, was changed after it was written, or its parts do not fit together.
    """
    folder = Path(folder)
    document, card = _read_document(folder), read_model_card(folder)
    try:
        hashes = dict(document["sha256"])
        for name in WEIGHTS:
            if files.sha256_file(folder / name) != hashes[name]:
                raise FormatError(f"Expected {folder / name} as it was written. Got other content; copy it again.")
        encoder = _load_encoder(folder, card.patch_size)
        mil_config = mil_from_dict(document["mil"])
        mil = make_mil(encoder.dim, len(card.classes), mil_config)
        _load(folder / "mil.safetensors", mil)
        return Bundle(
            **{field.name: getattr(card, field.name) for field in fields(ModelCard)},
            min_tissue=float(document["min_tissue"]),
            max_failed=float(document["max_failed"]),
            encoder=encoder,
            mil=mil,
            mil_config=mil_config,
        )
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"Expected a complete model folder at {folder}. Got: {error}") from error


def read_model_card(folder: str | Path) -> ModelCard:
    """Read what a model folder says of itself; no weights are loaded, and their hashes are not compared.

    Raises
    ------
    FormatError
        If it is no bundle, is of another version, or its values make no sense.
    """
    folder = Path(folder)
    document = _read_document(folder)
    if document.get("format") != FORMAT:
        raise FormatError(f"Expected the format {FORMAT} in {folder}. Got {document.get('format')!r}; update lrmil.")
    try:
        card = ModelCard(
            classes=tuple(map(str, document["classes"])),
            mpp=float(document["mpp"]),
            patch_size=int(document["patch_size"]),
            training=dict(document["training"]),
            metrics=dict(document["metrics"]),
            license=str(document["license"]),
            sha256=files.sha256_file(folder / "bundle.json"),
        )
    except (OSError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"Expected a complete model folder at {folder}. Got: {error!r}") from error
    if len(card.classes) < 2 or not (0 < card.mpp < math.inf) or not 16 <= card.patch_size <= LARGEST_PATCH:
        raise FormatError(
            f"Expected two or more classes, a resolution and a patch of 16 to {LARGEST_PATCH} px in {folder}. "
            f"Got {len(card.classes)} classes, {card.mpp} um/px and {card.patch_size} px."
        )
    return card


def _read_document(folder: Path) -> dict[str, Any]:
    try:
        document = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(
            f"Expected a model folder with bundle.json at {folder}. Got: {error}. "
            "A trained run keeps its model in RUN/model."
        ) from error
    if not isinstance(document, dict):
        raise FormatError(f"Expected an object in {folder / 'bundle.json'}. Got {type(document).__name__}.")
    return document


def _load_encoder(folder: Path, size: int) -> Encoder:
    values = json.loads((folder / "encoder/config.json").read_text(encoding="utf-8"))
    spec = EncoderSpec(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
    if spec.size != size:
        raise FormatError(f"Expected an encoder for patches of {size} px in {folder}. Got one for {spec.size} px.")
    encoder = build_encoder(spec)
    _load(folder / "encoder/model.safetensors", encoder)
    return encoder


def _save(path: Path, module: nn.Module) -> None:
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in module.state_dict().items()}, path)


def _load(path: Path, module: nn.Module) -> None:
    tensors = load_file(path)
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    came = {name: tuple(value.shape) for name, value in tensors.items()}
    if expected != came:
        different = sorted(name for name in expected.keys() | came.keys() if expected.get(name) != came.get(name))
        raise FormatError(f"Expected tensors that fit the model in {path}. Got others, the first is {different[0]!r}.")
    module.load_state_dict(tensors)
    if not all(torch.isfinite(value).all() for value in tensors.values() if value.is_floating_point()):
        raise FormatError(f"Expected finite weights in {path}. Got NaN or infinity; the training went wrong.")
    module.eval()
