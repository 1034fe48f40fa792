"""Choose a MIL head by its name; a new head is one file, one name in `configs.HeadName` and one case here."""

from dataclasses import replace
from typing import cast

from lrmil.configs import AUTO, HeadName, MILConfig
from lrmil.errors import ConfigError
from lrmil.models.heads.abmil import ABMIL
from lrmil.models.heads.clam_sb import ClamSB
from lrmil.models.heads.dsmil import DSMIL
from lrmil.models.heads.ensemble import Ensemble, members_of
from lrmil.models.heads.head import MILHead
from lrmil.models.heads.kinds import HEADS, HeadKind
from lrmil.models.heads.max_pooling import MaxPooling
from lrmil.models.heads.mean_pooling import MeanPooling
from lrmil.models.heads.region_attention import RegionAttention, attend_within
from lrmil.models.heads.transmil import TransMIL

Head = (
    ABMIL | MeanPooling | MaxPooling | TransMIL | DSMIL | ClamSB | RegionAttention | Ensemble
)  # a union of all of them; each is a `MILHead`


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
