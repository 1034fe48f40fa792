"""The teacher that a model may keep, to look closer at slides that the student is uncertain of.

teacher/encoder/config.json  teacher/encoder/model.safetensors  teacher/mil.safetensors
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Self

from pydantic import ConfigDict, Field, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from lrmil.configs import Teacher
from lrmil.geometry import resolution_ratio
from lrmil.models.encoders.contract import read_contract
from lrmil.models.heads.kinds import HeadKind
from lrmil.tasks.calibration import Calibration
from lrmil.tasks.decision import Decision

MEMBER = "teacher"
FOLDER = "teacher"
MAX_REGIONS = 1000
MAX_CHILDREN = 128  # HR patches along a side of an LR patch; memory grows with their square
STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TeacherCard:
    """What a kept teacher looks at, and how what it says becomes an answer."""

    kind: Teacher
    """What its MIL attends to."""
    mpp: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Resolution of its patches, um/px."""
    min_tissue: Annotated[float, Field(ge=0, le=1)]
    """Smallest tissue fraction of its patches."""
    regions: Annotated[int, Field(ge=1, le=MAX_REGIONS)]
    """How many LR patches it looks into: those that the student attends to most."""
    calibration: Calibration
    """Of what it says of so many regions."""
    decision: Decision = field(default_factory=Decision)

    def to_dict(self) -> dict[str, object]:
        """Return it JSON-ready."""
        return dict(TypeAdapter(TeacherCard).dump_python(self, mode="json"))

    def problem(self, mpp: float, outputs: int, classes: int) -> str:
        """Return why it cannot be the teacher of a model, as the end of a sentence; "" if it can.

        Parameters
        ----------
        mpp
            Resolution of the model's own patches, um/px.
        outputs, classes
            Of its task.
        """
        try:
            if resolution_ratio(mpp, self.mpp) > MAX_CHILDREN:
                return f"its patches are more than {MAX_CHILDREN} times finer"
        except ValueError:
            return "its patches are not a whole number of times finer"
        if len(self.calibration.slopes) != outputs:
            return f"its calibration is of {len(self.calibration.slopes)} values"
        return self.decision.problem(classes)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StoredTeacher:
    """The member of bundle.json: the card, and what its files are compared with."""

    card: TeacherCard
    mil: HeadKind
    encoder: dict[str, object]
    """`EncoderContract`."""
    sha256: dict[str, str]
    """File in the folder of the teacher -> hash."""

    @model_validator(mode="after")
    def _require_kind(self) -> Self:
        if (self.card.kind == "region_attention") != (self.mil.within_regions is not None):
            raise ValueError("state attention within regions of the MIL where that is the kind of teacher")
        return self

    def to_dict(self) -> dict[str, object]:
        """Return it JSON-ready."""
        return dict(TypeAdapter(StoredTeacher).dump_python(self, mode="json"))


def stored_teacher_in(document: Mapping[str, object]) -> StoredTeacher | None:
    """Return the member of bundle.json; None if it has none.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    stated = document.get(MEMBER)
    if stated is None:
        return None
    found = TypeAdapter(StoredTeacher).validate_python(stated)
    if read_contract(found.encoder) is None:
        raise ValueError("its encoder has no valid contract")
    return found
