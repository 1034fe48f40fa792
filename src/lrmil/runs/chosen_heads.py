"""The MIL head that was chosen for a fold, as its file and metrics.json state it."""

from collections.abc import Mapping
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from lrmil.configs import HeadName
from lrmil.errors import FormatError
from lrmil.runs.artefacts import read_document

NAME = "head"  # of the artefact, of its job, and of the choices in metrics.json
CHOICE = "choice.json"
Losses = Annotated[dict[str, float], Field(min_length=1)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class HeadChoice:
    """Which head a fold has, and why."""

    head: HeadName
    inner_folds: int = 0
    """Number of inner folds in which the candidates were compared; 0 if they were not."""
    reason: str = ""
    """Why there are fewer inner folds than asked for, or none."""
    losses: dict[HeadName, Losses] = field(default_factory=dict)
    """Candidate -> compared arm -> mean loss over the slides, each by a MIL that has not seen it."""

    def to_dict(self) -> dict[str, object]:
        """Return it JSON-ready."""
        return asdict(self)

    @property
    def means(self) -> dict[HeadName, float]:
        """Candidate -> mean of its losses over the arms; the lowest one wins, of equal ones the first."""
        return {head: float(np.mean(list(of_arm.values()))) for head, of_arm in self.losses.items()}


def read_choice(folder: Path) -> HeadChoice:
    """Read which head was chosen for a fold.

    Parameters
    ----------
    folder
        Folder of the fold.

    Raises
    ------
    FormatError
        If it is absent or damaged.
    """
    return read_document(folder / NAME / CHOICE, TypeAdapter(HeadChoice), "the chosen MIL head")


def choices_in(figures: Mapping[str, object]) -> dict[str, HeadChoice]:
    """Return the choice of each fold that metrics.json states; {} if the settings named the head.

    Raises
    ------
    FormatError
        If it cannot be read.
    """
    try:
        return TypeAdapter(dict[str, HeadChoice]).validate_python(figures.get(NAME, {}))
    except ValidationError as error:
        raise FormatError(
            "The MIL heads in metrics.json cannot be read. Run the same lrmil train command again."
        ) from error


def reason_of(choice: HeadChoice) -> str:
    """Say why a head was chosen, as the end of a sentence."""
    if not choice.losses:
        return f"nothing was compared: {choice.reason}"
    losses = ", ".join(f"{head} {loss:.3f}" for head, loss in choice.means.items())
    fewer = f" ({choice.reason})" if choice.reason else ""
    return f"loss on slides of {choice.inner_folds} inner folds: {losses}{fewer}"
