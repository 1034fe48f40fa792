"""Microns per pixel: which of the values that were found a slide has, and when to refuse it."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from lrmil.errors import ConfigError, ResolutionError

PLAUSIBLE_MPP = (0.05, 5.0)  # level 0 of a scanner lies between 100x oil immersion and a 2x overview
ASKED_MPP = (0.05, 50.0)  # what a user may ask for is coarser: thumbnails are read at tens of um/px
MAX_ANISOTROPY = 0.02
MAX_SIDE_MM = 300.0  # of a side: the largest glass for sections, 8 x 6 inch, has 203
MICRONS_AT_1X = 10.0  # the convention "20x" = 0.5 um/px
REMEDY = (
    "Give it yourself: mpp=... in Python, --mpp or --mpp-table on the command line, or an mpp column in the labels "
    "table."
)


class MppCandidate(NamedTuple):
    """A pixel size found in a file: y and x in um/px, and the field it stood in."""

    mpp_y: float
    mpp_x: float
    source: str


class Disregarded(NamedTuple):
    """A statement of a pixel size or of a magnification that does not count: what it says, and why it does not.

    Parameters
    ----------
    why
        Half a sentence that says both.
    mpp
        The um/px that it states for another picture.
    """

    why: str
    mpp: float | None = None


class Resolution(NamedTuple):
    """The accepted pixel size in um/px and where it came from."""

    mpp: float
    source: str


def resolve_mpp(
    override: float | None,
    candidates: Sequence[MppCandidate | Disregarded],
    *,
    power: float | Disregarded | None = None,
    objective_power: bool = False,
) -> Resolution:
    """Choose a slide's um/px: the override, else the metadata, else (only when opted in) the objective's power.

    Parameters
    ----------
    override
        um/px given by the user; it is checked as strictly as the metadata.
    candidates
        What the file says, most trusted first; the error tells what is disregarded.
    power
        Magnification of the objective as the file states it, or why none counts.
    objective_power
        Whether `power` may stand in for a missing pixel size (10 / power um/px).

    Raises
    ------
    ResolutionError
        If nothing is given, or the most trusted value is implausible.
    """
    if override is not None:
        return Resolution(require_plausible_mpp(override, override, "override"), "override")
    for candidate in candidates:
        if isinstance(candidate, MppCandidate):
            return Resolution(require_plausible_mpp(*candidate), candidate.source)
    if objective_power and isinstance(power, int | float) and power > 0:
        mpp = MICRONS_AT_1X / power
        return Resolution(require_plausible_mpp(mpp, mpp, "objective power"), f"objective power {power:g}x")
    stated = [*candidates, power] if objective_power else candidates
    why = "; ".join(reasons(stated)) or "its metadata have none"
    raise ResolutionError(f"Expected the slide to state its um/px; {why}. {REMEDY}")


def reasons(found: Sequence[object]) -> list[str]:
    """Say of each statement that is disregarded what it says, and why it does not count."""
    return [one.why for one in found if isinstance(one, Disregarded)]


def require_plausible_mpp(mpp_y: float, mpp_x: float, source: str) -> float:
    """Accept a pixel size and return its geometric mean in um/px.

    Raises
    ------
    ResolutionError
        If it lies outside 0.05 to 5 um/px, or y and x differ by more than 2 %.
    """
    low, high = PLAUSIBLE_MPP
    if not (low <= mpp_y <= high and low <= mpp_x <= high):
        raise ResolutionError(
            f"Expected a pixel size of {low:g} to {high:g} um; {source} says {show_pair(mpp_y, mpp_x)}. {REMEDY}"
        )
    if abs(mpp_y - mpp_x) > MAX_ANISOTROPY * min(mpp_y, mpp_x):
        raise ResolutionError(
            f"Expected square pixels (within 2 %); {source} says {show_pair(mpp_y, mpp_x)} um (y, x). {REMEDY}"
        )
    return mpp_y if mpp_y == mpp_x else math.sqrt(mpp_y * mpp_x)


def require_possible_size(resolution: Resolution, height: int, width: int) -> Resolution:
    """Accept a pixel size of a slide whose level 0 has `height` x `width` pixels.

    Raises
    ------
    ResolutionError
        If a side would then be longer than any glass: pixel size or file is wrong.
    """
    longest = max(height, width) * resolution.mpp / 1000
    if longest > MAX_SIDE_MM:
        raise ResolutionError(
            f"Expected a slide that a glass can hold, of {MAX_SIDE_MM:g} mm at most. Got {width} x {height} px of "
            f"{resolution.mpp:.4g} um ({resolution.source}), {longest:.0f} mm; the um/px is wrong, or the file is "
            "damaged. Give its um/px yourself, or copy it again from its source."
        )
    return resolution


def parse_mpp(text: str) -> float:
    """Read a resolution a user typed: ``"2.0"`` is um/px, ``"5x"`` is sugar for 10 / 5 = 2.0 um/px.

    Raises
    ------
    ConfigError
        If the text is neither, or means less than 0.05 or more than 50 um/px.
    """
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(x|um/px|µm/px)?\s*", text, re.IGNORECASE)
    number = float(found[1]) if found else 0.0
    if found and number > 0:
        mpp = MICRONS_AT_1X / number if (found[2] or "").lower() == "x" else number
        if ASKED_MPP[0] <= mpp <= ASKED_MPP[1]:
            return mpp
    raise ConfigError(
        f"Expected a resolution from {ASKED_MPP[0]:g} to {ASKED_MPP[1]:g} um/px, such as 2.0 or 5x; got {text!r}."
    )


def show_pair(mpp_y: float, mpp_x: float) -> str:
    """Give a pixel size for a sentence, as one number where the pixels are square."""
    return f"{mpp_y:.4g}" if mpp_y == mpp_x else f"{mpp_y:.4g} x {mpp_x:.4g}"
