"""Choose the microns per pixel of a slide from the values found in its metadata, and refuse implausible ones."""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

from lrmil.errors import ConfigError, ResolutionError, quoted

PLAUSIBLE_MPP = (0.05, 5.0)  # level 0 lies between 100x oil immersion and a 2x overview
ASKED_MPP = (0.05, 50.0)  # users may request coarser values: thumbnails are read at tens of um/px
MAX_ANISOTROPY = 0.02
MAX_SIDE_MM = 300.0  # of a side: the largest microscope slide, 8 x 6 inch, has 203
MICRONS_AT_1X = 10.0  # the convention "20x" = 0.5 um/px
REMEDY = (
    "Give the um/px yourself: mpp=... in Python, --mpp or --mpp-table on the command line, or an mpp column in the "
    "labels table."
)


class MppCandidate(NamedTuple):
    """A pixel size found in a file: y and x in um/px, and the metadata field."""

    mpp_y: float
    mpp_x: float
    source: str


class Disregarded(NamedTuple):
    """A pixel size or magnification in the metadata that is not used, and the reason.

    Parameters
    ----------
    why
        Half a sentence with the value and the reason.
    mpp
        The um/px, if it belongs to another image.
    """

    why: str
    mpp: float | None = None


class Resolution(NamedTuple):
    """The accepted pixel size in um/px, and its source."""

    mpp: float
    source: str


def resolve_mpp(
    override: float | None,
    candidates: Sequence[MppCandidate | Disregarded],
    *,
    power: float | Disregarded | None = None,
    objective_power: bool = False,
) -> Resolution:
    """Choose the um/px of a slide: the override, else the metadata, else the objective's power if allowed.

    Parameters
    ----------
    override
        um/px given by the user; checked as strictly as the metadata.
    candidates
        Values in the file, most trusted first.
    power
        Magnification of the objective as stated in the file, or why it is not used.
    objective_power
        Whether `power` may replace a missing pixel size (10 / power um/px).

    Raises
    ------
    ResolutionError
        If there is no value, or the most trusted one is implausible; the message lists the values not used.
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
    why = "; ".join(reasons(stated)) or "its metadata do not state it"
    raise ResolutionError(f"The um/px of the slide is unknown: {why}. {REMEDY}")


def reasons(found: Sequence[object]) -> list[str]:
    """Return, for each value that is not used, half a sentence with the value and the reason."""
    return [one.why for one in found if isinstance(one, Disregarded)]


def require_plausible_mpp(mpp_y: float, mpp_x: float, source: str) -> float:
    """Require a plausible pixel size, and return its geometric mean in um/px.

    Parameters
    ----------
    mpp_y, mpp_x
        um/px.
    source
        Where they were found, for messages.

    Raises
    ------
    ResolutionError
        If it is outside 0.05 to 5 um/px, or y and x differ by more than 2 %.
    """
    low, high = PLAUSIBLE_MPP
    if not (low <= mpp_y <= high and low <= mpp_x <= high):
        raise ResolutionError(
            f"Expected a pixel size of {low:g} to {high:g} um. Got {show_pair(mpp_y, mpp_x)} um ({source}). {REMEDY}"
        )
    if abs(mpp_y - mpp_x) > MAX_ANISOTROPY * min(mpp_y, mpp_x):
        raise ResolutionError(
            f"Expected square pixels (within 2 %). Got {show_pair(mpp_y, mpp_x)} um (y, x; {source}). {REMEDY}"
        )
    return mpp_y if mpp_y == mpp_x else math.sqrt(mpp_y * mpp_x)


def require_possible_size(resolution: Resolution, height: int, width: int) -> Resolution:
    """Require that a slide is no larger than a microscope slide, and return its pixel size.

    Parameters
    ----------
    resolution
        um/px of level 0, and its source.
    height, width
        Size of level 0 in pixels.

    Raises
    ------
    ResolutionError
        If a side is longer than 300 mm: the pixel size or the file is wrong.
    """
    side_mm = max(height, width) * resolution.mpp / 1000
    if side_mm > MAX_SIDE_MM:
        raise ResolutionError(
            f"Expected a slide no larger than a microscope slide ({MAX_SIDE_MM:g} mm). Got {width} x {height} px of "
            f"{resolution.mpp:.4g} um ({resolution.source}), {side_mm:.0f} mm. The um/px is wrong or the file is "
            "damaged: give the um/px yourself, or copy the file again from its source."
        )
    return resolution


def parse_mpp(text: str) -> float:
    """Parse a resolution typed by a user: ``"2.0"`` is um/px, ``"5x"`` means 10 / 5 = 2.0 um/px.

    Raises
    ------
    ConfigError
        If the text is neither, or the resolution is outside 0.05 to 50 um/px.
    """
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(x|um/px|µm/px)?\s*", text, re.IGNORECASE)
    number = float(found[1]) if found else 0.0
    if found and number > 0:
        mpp = MICRONS_AT_1X / number if (found[2] or "").lower() == "x" else number
        if ASKED_MPP[0] <= mpp <= ASKED_MPP[1]:
            return mpp
    raise ConfigError(
        f"Expected a resolution from {ASKED_MPP[0]:g} to {ASKED_MPP[1]:g} um/px, such as 2.0 or 5x. Got {quoted(text)}."
    )


def show_pair(mpp_y: float, mpp_x: float) -> str:
    """Return a pixel size as text: one number if the pixels are square, else "y x x"."""
    return f"{mpp_y:.4g}" if mpp_y == mpp_x else f"{mpp_y:.4g} x {mpp_x:.4g}"
