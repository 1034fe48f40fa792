"""The figures that say how well stage 1 matched its targets, as fidelity.json has them."""

from dataclasses import dataclass

from pydantic import FiniteFloat

FIDELITY = "fidelity.json"


@dataclass(frozen=True, slots=True)
class Match:
    """How well embeddings match their targets; None where a figure is not defined."""

    r2: FiniteFloat | None
    """1 - sum of |s - mu|^2 / sum of |mu - m|^2, where m is the mean of the training targets; 1 is a perfect match."""
    cosine: FiniteFloat | None
    """Mean cosine of s - m and mu - m."""
    rank: FiniteFloat | None
    """Effective rank of s, 1 to d."""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """The result of stage 1 on held-out patches."""

    patches: int
    distilled: Match
    """Of the student: what matches the targets is its embedding, or with ``lambda_keep`` a linear map of it."""
    start: Match
    """Of the encoder that the student started from, in the same way: by the map with which stage 1 began, if any."""
    target_rank: FiniteFloat | None
    """Effective rank of the targets."""
