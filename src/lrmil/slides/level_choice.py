"""Choose the level of a pyramid to read for a resolution, and tell whether one is near it."""

from collections.abc import Iterable, Sequence

from lrmil.slides.readers.protocol import Level

FINER = 1.01  # a level may be up to 1 % coarser than requested: vendors' factors are inexact
FAR = 3.0  # a level is near if it is at most 3 times finer: 9 times as many pixels
MAX_NOTES = 4


def coarsest_level(levels: Sequence[Level], own_mpp: float, mpp: float) -> int:
    """Return the index of the coarsest level that is at most 1 % coarser than `mpp`; 0 if there is none.

    Parameters
    ----------
    levels
        The pyramid, full resolution first.
    own_mpp
        um/px of level 0.
    mpp
        Requested um/px.
    """
    fine = [index for index, level in enumerate(levels) if own_mpp * level.downsample <= mpp * FINER]
    return max(fine, key=lambda index: levels[index].downsample, default=0)


def distance(levels: Sequence[Level], own_mpp: float, mpp: float) -> float:
    """Return how many times finer than the request the level read for it is; see `coarsest_level`."""
    return mpp / (own_mpp * levels[coarsest_level(levels, own_mpp, mpp)].downsample)


def is_far(distance: float) -> bool:
    """Return whether a level that many times finer is too far away to be read cheaply."""
    return distance > FAR


def far_notes(levels: Sequence[Level], own_mpp: float, asked: Iterable[float]) -> tuple[str, ...]:
    """Return a sentence for each requested resolution without a near level, at most `MAX_NOTES`.

    Parameters
    ----------
    levels, own_mpp
        As for `coarsest_level`.
    asked
        Requested um/px.
    """
    notes = []
    for mpp in sorted(asked):
        far = distance(levels, own_mpp, mpp)
        if is_far(far):
            level = coarsest_level(levels, own_mpp, mpp)
            notes.append(
                f"No level is near {mpp:.4g} um/px. The finer level {level} ({own_mpp * levels[level].downsample:.4g} "
                f"um/px) is read and averaged, which takes about {far * far:.0f} times as many pixels."
            )
    return tuple(notes[:MAX_NOTES])
