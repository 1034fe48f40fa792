"""The fidelity of stage 1 in a run: of each fold, over the folds, and in words."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from pydantic import FiniteFloat, TypeAdapter, ValidationError

from lrmil.runs.artefacts import read_document
from lrmil.training.fidelity_figures import FIDELITY, Fidelity, Match

STAGE1 = "stage1"  # member of metrics.json
SHOWN_DIGITS = 2  # of R2; a smaller difference may be one of rounding
MIN_R2 = 0.5  # an encoder below explains less than half of what differs between the patches of the teacher


@dataclass(frozen=True, slots=True)
class Stage1Figures:
    """The fidelity of stage 1: the means over the folds with test slides, and each fold."""

    patches: int
    """Validation patches of all folds with test slides."""
    distilled: Match
    start: Match
    target_rank: FiniteFloat | None
    by_fold: dict[str, Fidelity]
    """Name of the fold -> its fidelity; with "final", if it is a fold of its own."""


def read_fidelity(fold: Path) -> Fidelity:
    """Read the fidelity of a fold's LR encoder.

    Parameters
    ----------
    fold
        Folder of the fold.

    Raises
    ------
    FormatError
        If it is absent or damaged.
    """
    return read_document(fold / "lr_encoder" / FIDELITY, TypeAdapter(Fidelity), "the fidelity of stage 1")


def stage1_figures(by_fold: Mapping[str, Fidelity], tested: Iterable[str]) -> dict[str, object]:
    """Return the member `STAGE1` of metrics.json.

    Parameters
    ----------
    by_fold
        Name of the fold -> its fidelity.
    tested
        Names of the folds with test slides.
    """
    found = [by_fold[name] for name in tested]
    return asdict(
        Stage1Figures(
            patches=sum(one.patches for one in found),
            distilled=_mean_match([one.distilled for one in found]),
            start=_mean_match([one.start for one in found]),
            target_rank=_mean([one.target_rank for one in found]),
            by_fold=dict(by_fold),
        )
    )


def find_stage1(figures: Mapping[str, object]) -> Stage1Figures | None:
    """Return the fidelity that metrics.json or a model states; None if it states none, as in earlier versions.

    Parameters
    ----------
    figures
        Content of metrics.json, which someone may have edited.
    """
    try:
        return TypeAdapter(Stage1Figures).validate_python(figures.get(STAGE1))
    except ValidationError:
        return None


def shortfall(found: Stage1Figures) -> str:
    """Say that stage 1 fell short, if it did: the student explains too little, or less than its start; else ""."""
    student, start = found.distilled.r2, found.start.r2
    if student is None:
        return ""
    if start is not None and round(student, SHOWN_DIGITS) < round(start, SHOWN_DIGITS):
        return (
            f"Stage 1 fell short: on validation patches the student matches the teacher's embeddings less (R2 "
            f"{student:.2f}) than the encoder that it started from (R2 {start:.2f}). Lower stage1.fit.learning_rate."
        )
    if student < MIN_R2:
        return (
            f"Stage 1 fell short: on validation patches the student matches the teacher's embeddings with an R2 of "
            f"{student:.2f}; {MIN_R2} or more is good. More slides or more stage1.fit.steps may raise it."
        )
    return ""


def _mean_match(matches: list[Match]) -> Match:
    return Match(*(_mean([getattr(one, name) for one in matches]) for name in ("r2", "cosine", "rank")))


def _mean(values: list[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
