"""Choose a MIL head by its name; a new head is one file, one name and one case."""

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from lrmil.configs import MILConfig
from lrmil.errors import FormatError
from lrmil.models.heads.abmil import ABMIL

HeadName = Literal["abmil"]
HEADS: tuple[HeadName, ...] = get_args(HeadName)
Head = ABMIL  # a union of all of them; each is a `MILHead`
FIRST = HEADS[0]  # what is meant where a file names no head
MAX_DIM = 1 << 20  # of an embedding; those of encoders have at most some thousand numbers
Dim = Annotated[int, Field(strict=True, ge=1, le=MAX_DIM)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class HeadCard:
    """Name and dimensions of a head, written beside its weights, so that no parameter name has to be parsed."""

    head: HeadName = FIRST
    in_dim: Dim
    outputs: Dim


def make_mil(in_dim: int, outputs: int, config: MILConfig, head: HeadName = FIRST) -> Head:
    """Build the MIL network that all three arms share.

    Parameters
    ----------
    in_dim
        Dimension of a patch embedding.
    outputs
        Number of logits; see `lrmil.tasks.task.Task.outputs`.
    """
    match head:
        case "abmil":
            return ABMIL(
                in_dim,
                outputs,
                config.hidden_dim,
                config.gated,
                projection_dim=config.projection_dim or None,
                dropout=config.dropout,
            )


def head_in(document: Mapping[str, object]) -> HeadName:
    """Return the head that bundle.json states; the first one where it states none.

    Raises
    ------
    FormatError
        If it names another.
    """
    stated = document.get("head", FIRST)
    for name in HEADS:
        if stated == name:
            return name
    raise FormatError(f"Expected a MIL head among {', '.join(HEADS)}. Got {stated!r}; update lrmil.")


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
