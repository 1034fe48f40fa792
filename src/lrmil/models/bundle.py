"""What is shipped: format lrmil.bundle/1, a folder of JSON and safetensors; loading it runs no code of its own.

A folder may come from a stranger: whatever it states is checked before it is allocated or built.

bundle.json  encoder/config.json  encoder/model.safetensors  mil.safetensors
"""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from lrmil.configs import MILConfig, mil_from_dict
from lrmil.errors import FormatError
from lrmil.io import atomic, hashing, untrusted
from lrmil.io.ownership import is_bundle_alone
from lrmil.io.plain_files import read_bytes
from lrmil.io.tensors import save_tensors
from lrmil.io.untrusted import TensorSpec
from lrmil.models.card import FORMAT, MAX_DOCUMENT, WEIGHTS, ModelCard, read_document, read_model_card
from lrmil.models.encoders.contract import contract_of, resume_contract
from lrmil.models.encoders.loading import Encoder, EncoderSpec, build_encoder
from lrmil.models.heads.abmil import ABMIL, make_mil

MAX_UNSAVED = 1 << 26  # elements of what a network makes for itself and no file states, such as position tables
FLOATS = {"F32", "F16", "BF16"}
INTEGERS = {torch.int64: "I64", torch.int32: "I32", torch.bool: "BOOL", torch.uint8: "U8"}
Network = TypeVar("Network", bound=nn.Module)


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
    terms
        `EncoderTerms` of the weights that it was made of, "teacher" and "start"; empty in earlier folders.
    contract
        `EncoderContract` of the encoder, None before it is written and in earlier folders.
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
    terms: dict[str, object] = field(default_factory=dict)
    contract: dict[str, object] | None = None

    @property
    def card(self) -> ModelCard:
        """What the model says of itself, without its weights."""
        return ModelCard(**{field.name: getattr(self, field.name) for field in fields(ModelCard)})


def save_bundle(folder: Path, bundle: Bundle) -> None:
    """Write the folder, complete or not at all; hashes of its files go into bundle.json. A model there is replaced.

    Raises
    ------
    OverwriteError
        If something else is there, or a model to which files were added.
    FormatError
        If the bundle has values that `load_bundle` would refuse.
    """
    with atomic.replacing(folder, is_bundle_alone) as temporary:
        (temporary / "encoder").mkdir(parents=True)
        atomic.write_json(temporary / "encoder/config.json", asdict(bundle.encoder.spec))
        save_tensors(temporary / "encoder/model.safetensors", bundle.encoder.state_dict())
        save_tensors(temporary / "mil.safetensors", bundle.mil.state_dict())
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
            "terms": bundle.terms,
            "encoder": contract_of(bundle.encoder).to_dict(),
            "notice": "Model output, not a diagnosis.",
            "sha256": {name: hashing.sha256_file(temporary / name) for name in WEIGHTS},
        }
        atomic.write_json(temporary / "bundle.json", document)
        read_model_card(temporary)  # what is written can be read


def load_bundle(folder: str | Path) -> Bundle:
    """Load a model folder.

    Nothing in it is run. The sizes and shapes that its files state are compared with those of the network, which is
    first built without memory, before any weight is read or hashed.

    Raises
    ------
    FormatError
        If it is no bundle, is of another version, was changed after it was written, leads out of its folder, states
        what no model has, or its parts do not fit together.
    """
    folder = Path(folder)
    document, card = read_document(folder)
    try:
        hashes = dict(document["sha256"])
        min_tissue, max_failed = (_fraction(folder, name, document[name]) for name in ("min_tissue", "max_failed"))
        mil_config = mil_from_dict(document["mil"])
        encoder_file, mil_file = (untrusted.file_in(folder, name) for name in WEIGHTS[1:])
        spec = _read_spec(folder, card.patch_size, hashes)
        dim = _require_header(encoder_file, lambda: build_encoder(spec)).dim
        _require_header(mil_file, lambda: make_mil(dim, len(card.classes), mil_config))
        for name in WEIGHTS[1:]:  # now that their sizes are explained, however large they are
            _require_hash(folder, name, hashing.sha256_file(folder / name), hashes)
        encoder = _load(encoder_file, lambda: build_encoder(spec))
        if breach := resume_contract(encoder, card.contract):
            raise FormatError(
                f"The encoder in {folder} has the weights that it was written with, but {breach}, or train again."
            )
        mil = _load(mil_file, lambda: make_mil(dim, len(card.classes), mil_config))
        return Bundle(
            **{field.name: getattr(card, field.name) for field in fields(ModelCard)},
            min_tissue=min_tissue,
            max_failed=max_failed,
            encoder=encoder,
            mil=mil,
            mil_config=mil_config,
        )
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, SafetensorError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"Expected a complete model folder at {folder}. Got: {error}") from error


def _fraction(folder: Path, name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise FormatError(f"Expected {name} from 0 to 1 in {folder}. Got {value!r}.")
    return float(value)


def _require_hash(folder: Path, name: str, found: str, hashes: dict[str, object]) -> None:
    if found != hashes[name]:
        raise FormatError(f"Expected {folder / name} as it was written. Got other content; copy it again.")


def _read_spec(folder: Path, size: int, hashes: dict[str, object]) -> EncoderSpec:
    path = untrusted.file_in(folder, WEIGHTS[0])
    data = read_bytes(path, largest=MAX_DOCUMENT)
    _require_hash(folder, WEIGHTS[0], hashlib.sha256(data).hexdigest(), hashes)
    values = untrusted.parse_json(data, path)
    if not isinstance(values, dict):
        raise FormatError(f"Expected the encoder's settings in {folder}. Got {type(values).__name__}.")
    spec = EncoderSpec(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
    if spec.size != size:
        raise FormatError(f"Expected an encoder for patches of {size} px in {folder}. Got one for {spec.size} px.")
    return spec


def _require_header(path: Path, build: Callable[[], Network]) -> Network:
    """Compare what the header of a file states with a network that is built without memory, which is returned."""
    stated = untrusted.read_header(path)
    with torch.device("meta"):
        empty = build()
    _require_shapes(path, stated, empty)
    return empty


def _load(path: Path, build: Callable[[], Network]) -> Network:
    """Build a network and fill it from a file whose header was checked."""
    module = build()
    tensors = load_file(path)
    module.load_state_dict(tensors)
    if not all(torch.isfinite(value).all() for value in tensors.values() if value.is_floating_point()):
        raise FormatError(f"Expected finite weights in {path}. Got NaN or infinity; the training went wrong.")
    return module.eval()


def _require_shapes(path: Path, stated: dict[str, TensorSpec], empty: nn.Module) -> None:
    expected = empty.state_dict()
    different = sorted(
        name
        for name in expected.keys() | stated.keys()
        if name not in expected or name not in stated or not _fits(stated[name], expected[name])
    )
    if different:
        raise FormatError(f"Expected tensors that fit the model in {path}. Got others, the first is {different[0]!r}.")
    unsaved = sum(value.numel() for name, value in empty.named_buffers() if name not in expected)
    if unsaved > MAX_UNSAVED:
        raise FormatError(f"Expected a network of a usual size for {path}. Got one with tables of {unsaved} numbers.")


def _fits(stated: TensorSpec, expected: torch.Tensor) -> bool:
    kinds = FLOATS if expected.is_floating_point() else {INTEGERS.get(expected.dtype)}
    return stated.kind in kinds and stated.shape == tuple(expected.shape)
