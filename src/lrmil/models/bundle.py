"""Read and write model folders, format lrmil.bundle/2: JSON and safetensors, without code.

A folder may be untrusted: its values are checked before memory is allocated or a network is built.

bundle.json  encoder/config.json  encoder/model.safetensors  mil.safetensors
teacher/     the same three files, if the model keeps its teacher (`lrmil.models.kept_teacher`)
"""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter
from safetensors import SafetensorError

from lrmil.configs import AUTO, MILConfig, mil_from_dict
from lrmil.errors import FormatError
from lrmil.io import atomic, untrusted
from lrmil.io.ownership import is_bundle_alone
from lrmil.models.bundle_weights import Networks, Stated, load_networks, save_networks
from lrmil.models.card import (
    CASE_RULE,
    FORMAT,
    UNCALIBRATED,
    WEIGHTS,
    ModelCard,
    ModelTraits,
    read_document,
    read_model_card,
)
from lrmil.models.encoders.golden import contract_of
from lrmil.models.encoders.loading import Encoder
from lrmil.models.heads.choice import kind_of
from lrmil.models.heads.head import MILHead
from lrmil.models.heads.kinds import FIRST, HeadKind, kind_in
from lrmil.models.kept_teacher import FOLDER, StoredTeacher, TeacherCard, stored_teacher_in
from lrmil.models.kept_teacher import MEMBER as TEACHER
from lrmil.models.learned_from import MEMBER, seen_note
from lrmil.models.origins import ORIGINS, scanner_note
from lrmil.models.synthetic import synthetic_note
from lrmil.slides.scanner import Scanner
from lrmil.tasks.calibration import Calibration
from lrmil.tasks.decision import Decision


@dataclass(frozen=True, slots=True)
class Bundle(ModelTraits):
    """A model ready for low-resolution inference.

    Attributes
    ----------
    task
        What is predicted, such as `Classification`.
    mpp, patch_size
        Resolution in um/px and side in pixels of its input patches.
    min_tissue, max_failed
        As in `make_patches` and `require_readable`.
    encoder, mil
        The LR patch encoder and the LR MIL.
    mil_config
        Settings that the MIL was built from.
    training
        Origin: cohort, cases, configuration, date, version; JSON-ready.
    metrics
        Reported metrics of the three arms; JSON-ready.
    license
        Terms of use.
    sha256
        Hash of the folder's content; "" until it is written.
    terms
        `EncoderTerms` of the "teacher" and the "start" weights; empty in folders of earlier versions.
    contract
        `EncoderContract` of the encoder; None until it is written, and in folders of earlier versions.
    calibration
        What turns the outputs of the MIL into calibrated values; None if they are as the MIL gives them.
    decision
        How calibrated values become answers, and which of them are uncertain; without a calibration it is not kept.
    familiarity
        What the slides that it learned from look like; None if it does not know.
    learned_from
        Keyed hashes of the slides and cases that it has seen; None in folders of earlier versions.
    case_rule
        How the slides of a case are answered as one, of `Task.case_rules`; the mean in folders of earlier versions.
    origins
        Their sites, as keyed hashes, and scanners; None where nothing is known of them.
    teacher
        What the kept teacher looks at, and how it answers; None if the model keeps none.
    teacher_networks
        Its networks; None unless they were asked for.
    """

    min_tissue: float
    max_failed: float
    encoder: Encoder
    mil: MILHead
    mil_config: MILConfig
    training: dict[str, object] = field(default_factory=dict)
    metrics: dict[str, object] = field(default_factory=dict)
    license: str = "research use only; not a medical device"
    sha256: str = ""
    teacher_networks: Networks | None = None

    @property
    def head(self) -> HeadKind:
        """Kind of the MIL's head."""
        return kind_in(kind_of(self.mil))

    def values(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the values (names,) of (outputs,) logits, calibrated if the model is.

        Parameters
        ----------
        logits
            Outputs of the MIL.
        """
        return self.task.calibrated(logits, self.calibration)

    def notes_on(self, fingerprint: str, scanner: Scanner | None) -> tuple[str, ...]:
        """Return sentences for a prediction: on what was learned from, such as its slide, and what was not.

        Parameters
        ----------
        fingerprint, scanner
            Of the slide; the scanner if its file states one.
        """
        unseen = scanner_note(self.origins, scanner, calibrated=self.calibration is not None)
        return (*synthetic_note(self.training), *seen_note(self.learned_from, fingerprint), *unseen)

    @property
    def card(self) -> ModelCard:
        """The model's description, without its weights."""
        return ModelCard(**{field.name: getattr(self, field.name) for field in fields(ModelCard)})


def save_bundle(folder: Path, bundle: Bundle) -> None:
    """Write a model folder, complete or not at all; an existing model there is replaced.

    Parameters
    ----------
    folder
        The model folder; it is created if it is missing.
    bundle
        The model.

    Raises
    ------
    OverwriteError
        If the folder is not a model, or files were added to it.
    FormatError
        If the bundle has values that `load_bundle` would reject, or a teacher without its networks.
    """
    _require_named(folder, bundle.mil_config)
    with atomic.replacing(folder, is_bundle_alone) as temporary:
        hashes = save_networks(temporary, Networks(bundle.encoder, bundle.mil))
        document = {
            "format": FORMAT if bundle.calibration else UNCALIBRATED,
            **bundle.task.to_dict(),
            "mpp": bundle.mpp,
            "patch_size": bundle.patch_size,
            "min_tissue": bundle.min_tissue,
            "max_failed": bundle.max_failed,
            "mil": asdict(bundle.mil_config),
            **({} if bundle.mil.name == FIRST else kind_of(bundle.mil)),
            "training": bundle.training,
            "metrics": bundle.metrics,
            "license": bundle.license,
            "terms": bundle.terms,
            **(_calibrated(bundle.calibration, bundle.decision) if bundle.calibration else {}),
            **({"familiarity": bundle.familiarity.to_dict()} if bundle.familiarity else {}),
            **({MEMBER: bundle.learned_from.to_dict()} if bundle.learned_from else {}),
            CASE_RULE: bundle.case_rule,
            **({ORIGINS: bundle.origins.to_dict()} if bundle.origins else {}),
            **({TEACHER: _save_teacher(temporary, bundle.teacher, bundle.teacher_networks)} if bundle.teacher else {}),
            "encoder": contract_of(bundle.encoder).to_dict(),
            "notice": "Model output, not a diagnosis.",
            "sha256": hashes,
        }
        atomic.write_json(temporary / "bundle.json", document)
        read_model_card(temporary)  # raises if it could not be loaded


def load_bundle(folder: str | Path, *, teacher: bool = False) -> Bundle:
    """Load a model folder.

    Nothing in it is executed. Before any weight is read or hashed, the shapes that its files state are compared with
    those of a network that is built without memory.

    Parameters
    ----------
    folder
        The model folder; it may be untrusted.
    teacher
        Whether to load the networks of the teacher, too, if the model keeps one.

    Raises
    ------
    FormatError
        If the folder is not a bundle, has another version, was changed after it was written, links to another place,
        has invalid values, or its parts do not fit together.
    """
    folder = Path(folder)
    document, card = read_document(folder)
    try:
        min_tissue, max_failed = (_fraction(folder, name, document[name]) for name in ("min_tissue", "max_failed"))
        mil_config = mil_from_dict(document["mil"])
        _require_named(folder, mil_config)
        sizes, kept = (card.patch_size, card.task.outputs, mil_config), stored_teacher_in(document)
        own = load_networks(folder, Stated(*sizes, card.head, card.contract, dict(document["sha256"])))
        networks = None
        if teacher and kept:
            for name in WEIGHTS:
                untrusted.file_in(folder, f"{FOLDER}/{name}")  # the folder of the teacher may be a link, too
            networks = load_networks(folder / FOLDER, Stated(*sizes, kept.mil, kept.encoder, kept.sha256))
        return Bundle(
            **{field.name: getattr(card, field.name) for field in fields(ModelCard) if field.name != "head"},
            min_tissue=min_tissue,
            max_failed=max_failed,
            encoder=own.encoder,
            mil=own.mil,
            mil_config=mil_config,
            teacher_networks=networks,
        )
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, SafetensorError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"The model folder {folder} is incomplete or damaged: {error}") from error


def _calibrated(calibration: Calibration, decision: Decision) -> dict[str, object]:
    return {"calibration": calibration.to_dict(), "decision": decision.to_dict()}


def _save_teacher(folder: Path, card: TeacherCard, networks: Networks | None) -> dict[str, object]:
    """Write the networks of a teacher into a model folder, and return what bundle.json states of it."""
    if networks is None:
        raise FormatError("Expected the networks of the teacher that the model keeps. Got none; load it with them.")
    hashes = save_networks(folder / FOLDER, networks)
    kind = TypeAdapter(HeadKind).validate_python(kind_of(networks.mil))
    contract = contract_of(networks.encoder).to_dict()
    return StoredTeacher(card=card, mil=kind, encoder=contract, sha256=hashes).to_dict()


def _require_named(folder: Path, config: MILConfig) -> None:
    if config.head == AUTO:
        raise FormatError(
            f'Expected the name of a MIL head in the model folder {folder}. Got "{AUTO}", which a training resolves; '
            "train the model again."
        )


def _fraction(folder: Path, name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise FormatError(f"Expected {name} from 0 to 1 in {folder}. Got {value!r}.")
    return float(value)
