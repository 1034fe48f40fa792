"""Foretell how many patches the slides of a cohort have, from their overviews, before any is read."""

import math
from collections.abc import Sequence
from statistics import median

from lrmil.cohorts.labels import Problem
from lrmil.cohorts.screening import Screened
from lrmil.errors import names_of

FEW = 4  # patches of a slide: with so few, attention has next to nothing to choose from


def patches_expected(screened: Sequence[Screened], side_um: float) -> dict[str, int]:
    """Return about how many LR patches each slide has; slides that cannot be used are left out.

    Parameters
    ----------
    screened
        The results of screening.
    side_um
        Side of a patch in microns.
    """
    seen = [slide for slide in screened if not slide.problem and slide.stained_um2]
    return {slide.slide_id: max(1, math.ceil(slide.stained_um2 / side_um**2)) for slide in seen}


def expectation(screened: Sequence[Screened], *, mpp: float, size: int, children: int) -> str:
    """Return a sentence about the patches to expect; "" if nothing is known of any slide.

    Parameters
    ----------
    screened
        The results of screening.
    mpp, size
        um/px of the LR patches, and their side in pixels.
    children
        How many times finer the HR patches are.
    """
    found = patches_expected(screened, mpp * size)
    if not found:
        return ""
    counts, total = sorted(found.values()), sum(found.values())
    middle = round(median(counts))
    spread = f" ({counts[0]:,} to {counts[-1]:,})" if counts[0] < counts[-1] else ""
    patches = "patch" if middle == 1 else "patches"
    return (
        f"About {middle:,} {patches} of {mpp * size:,.0f} um a slide{spread}, {total:,} in all. "
        f"The teacher reads {children**2} times as many, {total * children**2:,}."
    )


def few_patches(screened: Sequence[Screened], *, mpp: float, size: int) -> list[Problem]:
    """Return a warning if slides have hardly more patches than one: the patches are about as large as the slide.

    Parameters
    ----------
    screened, mpp, size
        As in `expectation`.
    """
    found = patches_expected(screened, mpp * size)
    few = [slide_id for slide_id, count in found.items() if count <= FEW]
    if not few:
        return []
    message = (
        f"{len(few)} of {len(found)} slides have about {FEW} patches or fewer, since a patch of {size} px at {mpp:g} "
        f"um/px is {mpp * size:,.0f} um wide: {names_of(few)}. Attention has little to choose from there."
    )
    hint = "Choose smaller patches (--patch-size) or a finer LR resolution (--mpp-lr), unless that is meant."
    return [Problem(None, "slide_id", message, hint, "warning")]
