"""Read the card of a trained model, bundle.json: its input, its classes and its origin."""

import hashlib
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lrmil.errors import FormatError
from lrmil.io import untrusted
from lrmil.io.plain_files import read_bytes
from lrmil.models.encoders.contract import read_contract
from lrmil.models.familiarity import Familiarity, familiarity_in
from lrmil.models.heads.kinds import HeadKind, kind_in
from lrmil.models.kept_teacher import TeacherCard, stored_teacher_in
from lrmil.models.learned_from import LearnedFrom
from lrmil.models.origins import Origins
from lrmil.slides.resolution import ASKED_MPP
from lrmil.tasks.calibration import Calibration
from lrmil.tasks.case_rule import MEAN, CaseRule
from lrmil.tasks.choice import task_in
from lrmil.tasks.decision import Decision
from lrmil.tasks.task import Task

FORMAT = "lrmil.bundle/2"
UNCALIBRATED = "lrmil.bundle/1"  # without a calibration; earlier versions read it, and would ignore a calibration
WEIGHTS = ("encoder/config.json", "encoder/model.safetensors", "mil.safetensors")
CASE_RULE = "case_rule"  # member; absent in folders of earlier versions, where it is the mean
MAX_PATCH = 4096
MAX_DOCUMENT = 4 << 20  # bytes of bundle.json
MAX_LICENSE = 20_000


@dataclass(frozen=True, slots=True)
class ModelTraits:
    """What a model and its card both state; the attributes are those of `Bundle`."""

    task: Task
    mpp: float
    patch_size: int
    _: KW_ONLY
    terms: dict[str, object] = field(default_factory=dict)
    contract: dict[str, object] | None = None
    calibration: Calibration | None = None
    decision: Decision = field(default_factory=Decision)
    familiarity: Familiarity | None = None
    learned_from: LearnedFrom | None = None
    case_rule: CaseRule = MEAN
    origins: Origins | None = None
    teacher: TeacherCard | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the values of an answer in their order: of a classification, the classes."""
        return self.task.names

    def decision_of(self, *, teacher: bool) -> Decision:
        """Return how calibrated values become answers: those of the teacher that it keeps, or its own."""
        return self.teacher.decision if teacher and self.teacher else self.decision


@dataclass(frozen=True, slots=True)
class ModelCard(ModelTraits):
    """Description of a model; the attributes are those of `Bundle`. `head` is the kind of the MIL's head."""

    training: dict[str, object]
    metrics: dict[str, object]
    license: str
    sha256: str
    head: HeadKind = field(default_factory=HeadKind)


def read_model_card(folder: str | Path) -> ModelCard:
    """Read the card of a model folder, which may be untrusted; its weights are neither loaded nor hashed.

    Raises
    ------
    FormatError
        If the folder is not a bundle, has another version, or has invalid values.
    """
    return read_document(Path(folder))[1]


def read_document(folder: Path) -> tuple[dict[str, Any], ModelCard]:
    """Read bundle.json once.

    Returns
    -------
    tuple
        The document, and its card with the hash of the bytes that were read.

    Raises
    ------
    FormatError
        As `read_model_card`.
    """
    document, sha256 = _parsed(folder)
    if document.get("format") not in (FORMAT, UNCALIBRATED):
        raise FormatError(f"Expected the format {FORMAT} in {folder}. Got {document.get('format')!r}; update lrmil.")
    task, head = _task_of(folder, document), kind_in(document)
    calibration = _calibration_of(folder, document, task)
    try:
        card = ModelCard(
            task=task,
            mpp=document["mpp"],
            patch_size=document["patch_size"],
            training=dict(document["training"]),
            metrics=dict(document["metrics"]),
            license=document["license"],
            sha256=sha256,
            terms=dict(document.get("terms", {})),
            contract=document.get("encoder"),
            head=head,
            calibration=calibration,
            decision=_decision_of(folder, document, task),
            familiarity=_familiarity_of(folder, document),
            learned_from=LearnedFrom.from_dict(document),
            case_rule=_case_rule_of(folder, document, task),
            origins=Origins.from_dict(document),
            teacher=_teacher_of(folder, document, task),
        )
    except FormatError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"The model folder {folder} is incomplete or damaged: {error!r}") from error
    problem = _find_fault(card)
    if problem:
        raise FormatError(f"Expected {problem} Model folder: {folder}.")
    return document, card


def _task_of(folder: Path, document: dict[str, Any]) -> Task:
    try:
        return task_in(document)
    except ValueError as error:
        raise FormatError(f"Expected {error} Model folder: {folder}.") from error


def _calibration_of(folder: Path, document: dict[str, Any], task: Task) -> Calibration | None:
    if document["format"] == UNCALIBRATED:
        return None
    try:
        found = TypeAdapter(Calibration).validate_python(document.get("calibration"))
    except ValidationError as error:
        raise FormatError(f"The calibration in {folder} is damaged. Copy the model again.") from error
    if len(found.slopes) != task.outputs:
        raise FormatError(f"Expected a calibration of {task.outputs} values in {folder}. Got {len(found.slopes)}.")
    return found


def _decision_of(folder: Path, document: dict[str, Any], task: Task) -> Decision:
    if "decision" not in document:
        return Decision()
    if document["format"] == UNCALIBRATED:
        raise FormatError(f"{folder} states rules for answers, and no calibration. Copy the model again.")
    try:
        found = TypeAdapter(Decision).validate_python(document["decision"])
    except ValidationError as error:
        raise FormatError(f"The rules for answers in {folder} are damaged. Copy the model again.") from error
    if problem := found.problem(len(task.names)):
        raise FormatError(f"The rules for answers in {folder} do not fit the model: {problem}. Copy the model again.")
    return found


def _familiarity_of(folder: Path, document: dict[str, Any]) -> Familiarity | None:
    try:
        found = familiarity_in(document)
    except ValidationError as error:
        raise FormatError(f"What {folder} knows of familiar slides is damaged. Copy the model again.") from error
    if found and (problem := found.problem()):
        raise FormatError(f"What {folder} knows of familiar slides does not fit: {problem}. Copy the model again.")
    return found


def _case_rule_of(folder: Path, document: dict[str, Any], task: Task) -> CaseRule:
    stated = document.get(CASE_RULE, MEAN)
    for rule in task.case_rules:
        if stated == rule:
            return rule
    known = ", ".join(task.case_rules)
    raise FormatError(f"Expected a rule for cases among {known} in {folder}. Got {stated!r}; update lrmil.")


def _teacher_of(folder: Path, document: dict[str, Any], task: Task) -> TeacherCard | None:
    try:
        found = stored_teacher_in(document)
    except ValueError as error:
        raise FormatError(f"What {folder} states of its teacher is damaged. Copy the model again.") from error
    if found is None:
        return None
    if problem := found.card.problem(document["mpp"], task.outputs, len(task.names)):
        raise FormatError(f"The teacher that {folder} keeps does not fit the model: {problem}. Copy the model again.")
    return found.card


def _find_fault(card: ModelCard) -> str:
    """Return what was expected and what the card has; "" if it is valid."""
    low, high = ASKED_MPP
    if isinstance(card.mpp, bool) or not isinstance(card.mpp, int | float) or not low <= card.mpp <= high:
        return f"a resolution from {low:g} to {high:g} um/px. Got {card.mpp!r}."
    if type(card.patch_size) is not int or not 16 <= card.patch_size <= MAX_PATCH:
        return f"a patch size of 16 to {MAX_PATCH} px. Got {card.patch_size!r}."
    if not isinstance(card.license, str) or len(card.license) > MAX_LICENSE:
        return f"a licence of at most {MAX_LICENSE} characters. Got {type(card.license).__name__}."
    if card.contract is not None and read_contract(card.contract) is None:
        return "a valid contract of the encoder with its golden vector. Got an invalid one."
    return ""


def _parsed(folder: Path) -> tuple[dict[str, Any], str]:
    try:
        path = untrusted.file_in(folder, "bundle.json")
        data = read_bytes(path, max_bytes=MAX_DOCUMENT)
        document = untrusted.parse_json(data, path)
    except (OSError, FormatError) as error:
        reason = "it has no bundle.json" if isinstance(error, FileNotFoundError) else str(error)
        raise FormatError(
            f"{folder} is not a model folder: {reason}. A trained run keeps its model in RUN/model."
        ) from error
    if not isinstance(document, dict):
        raise FormatError(f"Expected an object in {path}. Got {type(document).__name__}.")
    return document, hashlib.sha256(data).hexdigest()
