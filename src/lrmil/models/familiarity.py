"""Whether a slide is like those that a model learned from; of others, its probabilities may mean nothing."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid")
MEMBER = "familiarity"
MIN_SLIDES = 10
FALSE_ALARMS = 0.01  # of slides like those that were left out
MAX_UNREAD = 0.05  # of the patches of a slide
COLOURS, TISSUE, LITTLE, UNREAD = "unfamiliar_colours", "unfamiliar_tissue", "little_tissue", "unread_patches"
WORDS = {
    COLOURS: "its colours are unlike those of the slides that the model learned from",
    TISSUE: "its tissue looks unlike that of the slides that the model learned from",
    LITTLE: "it has less tissue than any slide that the model learned from",
    UNREAD: f"more than {MAX_UNREAD:.0%} of its patches could not be read",
}
LENGTHS = (6, 32)  # of an appearance: numbers that tell the colours, and others that tell the tissue
MAX_LENGTH = 1000
MAX_SIZE = 1e60  # of a number; distances of larger ones could overflow
ROUNDING = 1e-6  # of a precision, relative to its largest number

Number = Annotated[float, Field(ge=-MAX_SIZE, le=MAX_SIZE, allow_inf_nan=False)]
Vector = Annotated[tuple[Number, ...], Field(min_length=1, max_length=MAX_LENGTH)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class View:
    """Where vectors of k numbers of familiar slides lie: the distance is (x - mean)' precision (x - mean) / k."""

    mean: Vector
    precision: Annotated[tuple[Vector, ...], Field(min_length=1, max_length=MAX_LENGTH)]
    """(k, k)."""
    limit: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """The largest distance of a familiar slide."""

    @model_validator(mode="after")
    def _require_distances(self) -> Self:
        if {len(self.precision), *map(len, self.precision)} != {len(self.mean)}:
            raise ValueError("state a square matrix of the length of the mean")
        matrix = np.array(self.precision)
        rounding = ROUNDING * np.abs(matrix).max()
        if np.abs(matrix - matrix.T).max() > rounding or np.linalg.eigvalsh(matrix).min() < -rounding:
            raise ValueError("state a symmetric matrix that makes no distance negative")
        return self

    def distance(self, vector: Sequence[float]) -> float:
        """Return the distance of a vector (k,)."""
        return float(_distances(np.array([vector]), np.array(self.mean), np.array(self.precision))[0])


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Familiarity:
    """What slides that a model learned from look like."""

    colours: View
    """Of the first numbers of an appearance (`lrmil.features.appearance`)."""
    tissue: View
    """Of the others."""
    fewest_patches: Annotated[int, Field(ge=1)]
    """LR patches of the slide that had the fewest."""
    slides: Annotated[int, Field(ge=1)]
    """Number of slides."""

    def to_dict(self) -> dict[str, object]:
        """Return it JSON-ready."""
        return dict(TypeAdapter(Familiarity).dump_python(self, mode="json"))

    def problem(self) -> str:
        """Return why it cannot be that of appearances, as the end of a sentence; "" if it can."""
        lengths = (len(self.colours.mean), len(self.tissue.mean))
        return "" if lengths == LENGTHS else f"expected {LENGTHS} numbers of colours and tissue, got {lengths}"

    def doubts(self, appearance: Sequence[float] | None, *, patches: int, failed: int) -> list[str]:
        """Return why a slide should not be answered, in words of this module; none if it should.

        Parameters
        ----------
        appearance
            What it looks like; None if that is not known.
        patches, failed
            Number of its LR patches, and of those that could not be read.
        """
        found = []
        if appearance is not None:
            split = len(self.colours.mean)
            found += [COLOURS] * (self.colours.distance(appearance[:split]) > self.colours.limit)
            found += [TISSUE] * (self.tissue.distance(appearance[split:]) > self.tissue.limit)
        found += [LITTLE] * (patches < self.fewest_patches)
        return found + [UNREAD] * (failed > MAX_UNREAD * patches)


def learn_familiarity(
    appearances: NDArray[np.float64], groups: Sequence[NDArray[np.int64]], patches: Sequence[int], *, colours: int
) -> Familiarity | None:
    """Learn what familiar slides look like: the shrunk covariance of their appearance, and how far others of them lie.

    The limit of a view is from the distances of slides that were left out. It is the conformal quantile that
    `FALSE_ALARMS` of such slides are beyond; of fewer than 99 slides the largest distance.

    Parameters
    ----------
    appearances
        (n, k) of the slides.
    groups
        Rows that are left out together, such as those of whole patients.
    patches
        (n,) number of LR patches of each slide.
    colours
        How many of the k numbers tell the colours.

    Returns
    -------
    Familiarity or None
        None if there are fewer than `MIN_SLIDES` slides, or so few without a group.

    References
    ----------
    Ledoit and Wolf, J. Multivariate Analysis 88 (2004), by scikit-learn; conformal limits: Bates et al., Annals of
    Statistics 51 (2023), arXiv 2104.08279.
    """
    rest = [np.setdiff1d(np.arange(len(appearances)), group) for group in groups]
    if min(len(appearances), *map(len, rest)) < MIN_SLIDES:
        return None
    return Familiarity(
        colours=_view(appearances[:, :colours], groups, rest),
        tissue=_view(appearances[:, colours:], groups, rest),
        fewest_patches=min(patches),
        slides=len(appearances),
    )


def unfamiliar(
    known: Familiarity | None, appearance: Sequence[float] | None, *, patches: int, failed: int
) -> list[str]:
    """Return `Familiarity.doubts`; none if nothing is known of familiar slides."""
    return [] if known is None else known.doubts(appearance, patches=patches, failed=failed)


def familiarity_in(document: Mapping[str, object]) -> Familiarity | None:
    """Return the member of bundle.json; None if it has none. A ValidationError tells that it is damaged."""
    stated = document.get(MEMBER)
    return None if stated is None else TypeAdapter(Familiarity).validate_python(stated)


def _view(vectors: NDArray[np.float64], groups: Sequence[NDArray[np.int64]], rest: Sequence[NDArray[np.int64]]) -> View:
    left_out = [_distances(vectors[group], *_fit(vectors[others])) for group, others in zip(groups, rest, strict=True)]
    distances = np.sort(np.concatenate(left_out))
    rank = min(len(distances), int(np.ceil(round((len(distances) + 1) * (1 - FALSE_ALARMS), ndigits=9))))
    mean, precision = _fit(vectors)
    return View(
        mean=tuple(mean.tolist()), precision=tuple(map(tuple, precision.tolist())), limit=float(distances[rank - 1])
    )


def _fit(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from sklearn.covariance import LedoitWolf  # slow to load, and predictions do not need it

    fitted = LedoitWolf().fit(vectors)
    return fitted.location_, fitted.precision_


def _distances(
    vectors: NDArray[np.float64], mean: NDArray[np.float64], precision: NDArray[np.float64]
) -> NDArray[np.float64]:
    away = vectors - mean
    return np.asarray(np.einsum("ij,jk,ik->i", away, precision, away) / len(mean))
