"""What files state of a MIL head: its kind, and the dimensions of its weights."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from lrmil.configs import HeadName
from lrmil.errors import FormatError

HEADS: tuple[HeadName, ...] = get_args(HeadName)
FIRST = HEADS[0]  # what is meant where a file names no head
ENSEMBLE = "ensemble"  # several heads of one kind
MAX_DIM = 1 << 20  # of an embedding; those of encoders have at most some thousand numbers
MAX_MEMBERS = 100  # of an ensemble; what more of them add is not measurable
Dim = Annotated[int, Field(strict=True, ge=1, le=MAX_DIM)]
STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Members:
    """Kind and number of an ensemble's members."""

    head: HeadName
    count: Annotated[int, Field(strict=True, ge=2, le=MAX_MEMBERS)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HeadKind:
    """What files state of a head, apart from its dimensions."""

    head: HeadName | Literal["ensemble"] = FIRST
    members: Members | None = None
    """Of an ensemble alone."""
    within_regions: Literal["attention"] | None = None
    """Whether the head, or each member, has learned attention within regions in front of it (`RegionAttention`)."""

    @model_validator(mode="after")
    def _require_members(self) -> Self:
        if (self.head == ENSEMBLE) != (self.members is not None):
            raise ValueError("state members of an ensemble, and of nothing else")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HeadCard(HeadKind):
    """Name and dimensions of a head, written beside its weights, so that no parameter name has to be parsed."""

    in_dim: Dim
    outputs: Dim


def kind_in(document: Mapping[str, object]) -> HeadKind:
    """Return the head that bundle.json states; the first one where it states none.

    A shipped head attends to LR patches, never within regions.

    Raises
    ------
    FormatError
        If it names another.
    """
    stated = {name: document[name] for name in ("head", "members") if name in document}
    try:
        return TypeAdapter(HeadKind).validate_python(stated)
    except ValidationError as error:
        known = ", ".join((*HEADS, ENSEMBLE))
        raise FormatError(f"Expected a MIL head among {known}. Got {stated!r}; update lrmil.") from error


def card_in(document: object) -> HeadCard:
    """Check what is written beside the weights of a head.

    Raises
    ------
    FormatError
        If it is no `HeadCard`.
    """
    try:
        return TypeAdapter(HeadCard).validate_python(document)
    except ValidationError as error:
        raise FormatError(f"Expected name and dimensions of a MIL head. Got {document!r}; update lrmil.") from error
