"""Which level of a pyramid is read for a resolution, and whether there is one near it."""

from collections.abc import Iterable, Sequence

from lrmil.slides.readers.protocol import Level

FINER = 1.01  # a level counts as fine enough up to 1 % coarser than asked: vendors' factors are inexact
FAR = 3.0  # pixels of the level along one of the output's up to which it is near: nine times as many pixels

MAX_NOTES = 4


def coarsest_level(levels: Sequence[Level], own_mpp: float, mpp: float) -> int:
    """Return the coarsest level that is at most 1 % coarser than `mpp`; level 0 where none is.

    Parameters
    ----------
    own_mpp
        um/px of level 0.
    mpp
        um/px that is asked for.
    """
    fine = [index for index, level in enumerate(levels) if own_mpp * level.downsample <= mpp * FINER]
    return max(fine, key=lambda index: levels[index].downsample, default=0)


def distance(levels: Sequence[Level], own_mpp: float, mpp: float) -> float:
    """Return how many times finer than `mpp` the level is that is read for it."""
    return mpp / (own_mpp * levels[coarsest_level(levels, own_mpp, mpp)].downsample)


def is_far(distance: float) -> bool:
    """Tell whether a level so many times finer costs a multiple of the pixels."""
    return distance > FAR


def far_notes(levels: Sequence[Level], own_mpp: float, asked: Iterable[float]) -> tuple[str, ...]:
    """Say for which resolutions no level is near, in um/px, and what is read in place of one."""
    notes = []
    for mpp in sorted(asked):
        far = distance(levels, own_mpp, mpp)
        if is_far(far):
            level = coarsest_level(levels, own_mpp, mpp)
            notes.append(
                f"No level is near {mpp:.4g} um/px: level {level} ({own_mpp * levels[level].downsample:.4g} um/px), "
                f"which is finer, is read and averaged down, about {far * far:.0f} times as many pixels."
            )
    return tuple(notes[:MAX_NOTES])
