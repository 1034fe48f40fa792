"""Choose a MIL head by its name; a new head is one file, one name in `configs.HeadName` and one case here."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal, Self, cast, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from lrmil.configs import AUTO, HeadName, MILConfig
from lrmil.errors import ConfigError, FormatError
from lrmil.models.heads.abmil import ABMIL
from lrmil.models.heads.clam_sb import ClamSB
from lrmil.models.heads.dsmil import DSMIL
from lrmil.models.heads.ensemble import Ensemble, members_of
from lrmil.models.heads.head import MILHead
from lrmil.models.heads.max_pooling import MaxPooling
from lrmil.models.heads.mean_pooling import MeanPooling
from lrmil.models.heads.region_attention import RegionAttention, attend_within
from lrmil.models.heads.transmil import TransMIL

HEADS: tuple[HeadName, ...] = get_args(HeadName)
Head = (
    ABMIL | MeanPooling | MaxPooling | TransMIL | DSMIL | ClamSB | RegionAttention | Ensemble
)  # a union of all of them; each is a `MILHead`
FIRST = HEADS[0]  # what is meant where a file names no head
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
        if (self.head == Ensemble.name) != (self.members is not None):
            raise ValueError("state members of an ensemble, and of nothing else")
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class HeadCard(HeadKind):
    """Name and dimensions of a head, written beside its weights, so that no parameter name has to be parsed."""

    in_dim: Dim
    outputs: Dim


def make_mil(in_dim: int, outputs: int, config: MILConfig, *, seeds: int = 1, within_regions: bool = False) -> Head:
    """Build the MIL network that all three arms share, with weights drawn from torch's random state.

    Parameters
    ----------
    in_dim
        Dimension of a patch embedding.
    outputs
        Number of logits; see `lrmil.tasks.task.Task.outputs`.
    config
        Its settings; `head` is its kind.
    seeds
        Members of an ensemble, whose weights are drawn one after the other; 1 gives the head itself.
    within_regions
        Whether the bags are regions of patches, which the head, or each member, then weighs (`RegionAttention`).

    Raises
    ------
    ConfigError
        If `head` is "auto", which names none.
    """
    if seeds > 1:
        return Ensemble([make_mil(in_dim, outputs, config, within_regions=within_regions) for _ in range(seeds)])
    head = _make_head(in_dim, outputs, config)
    if not within_regions:
        return head
    return attend_within(head, config.hidden_dim, gated=config.gated, dropout=config.dropout)


def _make_head(in_dim: int, outputs: int, config: MILConfig) -> Head:
    hidden_dim, gated, dropout = config.hidden_dim, config.gated, config.dropout
    projection_dim = config.projection_dim or None
    match config.head:
        case "abmil":
            return ABMIL(in_dim, outputs, hidden_dim, gated, projection_dim=projection_dim, dropout=dropout)
        case "mean":
            return MeanPooling(in_dim, outputs, projection_dim=projection_dim, dropout=dropout)
        case "max":
            return MaxPooling(in_dim, outputs, projection_dim=projection_dim, dropout=dropout)
        case "transmil":
            return TransMIL(in_dim, outputs, projection_dim=projection_dim, dropout=dropout)
        case "dsmil":
            return DSMIL(in_dim, outputs, hidden_dim, projection_dim=projection_dim, dropout=dropout)
        case "clam_sb":
            return ClamSB(in_dim, outputs, hidden_dim, gated=gated, projection_dim=projection_dim, dropout=dropout)
        case "auto":
            raise ConfigError(f'Expected a MIL head among {", ".join(HEADS)}. Got "{AUTO}", which a training resolves.')


def make_stated(in_dim: int, outputs: int, config: MILConfig, kind: HeadKind) -> Head:
    """Build the head that a file states; other settings are those of `config`.

    Parameters
    ----------
    in_dim, outputs
        As for `make_mil`.
    kind
        What the file states.
    """
    name = kind.members.head if kind.members else cast(HeadName, kind.head)  # what has no members is no ensemble
    count = kind.members.count if kind.members else 1
    within = kind.within_regions is not None
    return make_mil(in_dim, outputs, replace(config, head=name), seeds=count, within_regions=within)


def kind_of(mil: MILHead) -> dict[str, object]:
    """Return what files state of a head, apart from its dimensions; JSON-ready."""
    members = members_of(mil)
    first, within = members[0], dict[str, object]()
    if isinstance(first, RegionAttention):
        first, within = first.over_regions, {"within_regions": "attention"}
    if isinstance(mil, Ensemble):
        return {"head": mil.name, "members": {"head": first.name, "count": len(members)}, **within}
    return {"head": first.name, **within}


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
        known = ", ".join((*HEADS, Ensemble.name))
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
