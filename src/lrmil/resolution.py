"""Microns per pixel: which value a slide has, where it came from, and when to refuse it."""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lrmil.errors import ConfigError, ResolutionError

PLAUSIBLE_MPP = (0.05, 5.0)  # level 0 of a scanner lies between 100x oil immersion and a 2x overview
ASKED_MPP = (0.05, 50.0)  # what a user may ask for is coarser: thumbnails are read at tens of um/px
MAX_ANISOTROPY = 0.02
LONGEST_MM = 300.0  # of a side: the largest glass for sections, 8 x 6 inch, has 203
MICRONS_AT_1X = 10.0  # the convention "20x" = 0.5 um/px
TIFF_UNIT_UM = {2: 25_400.0, 3: 10_000.0}  # ResolutionUnit: 2 = inch, 3 = centimetre; 1 = none
OME_UNIT_UM = {"pm": 1e-6, "nm": 1e-3, "um": 1.0, "mm": 1e3, "cm": 1e4, "dm": 1e5, "m": 1e6, "in": 25_400.0}
ZARR_UNIT_UM = {  # the names that OME-Zarr takes from UDUNITS-2
    "picometer": 1e-6,
    "angstrom": 1e-4,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "decimeter": 1e5,
    "meter": 1e6,
    "inch": 25_400.0,
}
IMAGEJ_UNITS = ("um", "micron", "microns", "micrometer", "micrometers", "\\u00b5m")
REMEDY = (
    "Give it yourself: mpp=... in Python, --mpp or --mpp-table on the command line, or an mpp column in the labels "
    "table."
)


class MppCandidate(NamedTuple):
    """A pixel size found in a file: y and x in um/px, and the field it stood in."""

    mpp_y: float
    mpp_x: float
    source: str


class Resolution(NamedTuple):
    """The accepted pixel size in um/px and where it came from."""

    mpp: float
    source: str


def resolve_mpp(
    override: float | None,
    candidates: Sequence[MppCandidate],
    *,
    power: float | None = None,
    objective_power: bool = False,
) -> Resolution:
    """Choose a slide's um/px: the override, else the metadata, else (only when opted in) the objective's power.

    Parameters
    ----------
    override
        um/px given by the user; it is checked as strictly as the metadata.
    candidates
        What the file says, most trusted first.
    power
        Magnification of the objective as the file states it.
    objective_power
        Whether `power` may stand in for a missing pixel size (10 / power um/px).

    Raises
    ------
    ResolutionError
        If nothing is given, or the most trusted value is implausible.
    """
    if override is not None:
        return Resolution(plausible_mpp(override, override, "override"), "override")
    if candidates:
        best = candidates[0]
        return Resolution(plausible_mpp(*best), best.source)
    if objective_power and power:
        mpp = MICRONS_AT_1X / power
        return Resolution(plausible_mpp(mpp, mpp, "objective power"), f"objective power {power:g}x")
    raise ResolutionError(f"Expected the slide to state its um/px; its metadata have none. {REMEDY}")


def plausible_mpp(mpp_y: float, mpp_x: float, source: str) -> float:
    """Accept a pixel size and return its geometric mean in um/px.

    Raises
    ------
    ResolutionError
        If it lies outside 0.05 to 5 um/px, or y and x differ by more than 2 %.
    """
    low, high = PLAUSIBLE_MPP
    if not (low <= mpp_y <= high and low <= mpp_x <= high):
        raise ResolutionError(
            f"Expected a pixel size of {low:g} to {high:g} um; {source} says {_pair(mpp_y, mpp_x)}. {REMEDY}"
        )
    if abs(mpp_y - mpp_x) > MAX_ANISOTROPY * min(mpp_y, mpp_x):
        raise ResolutionError(
            f"Expected square pixels (within 2 %); {source} says {_pair(mpp_y, mpp_x)} um (y, x). {REMEDY}"
        )
    return mpp_y if mpp_y == mpp_x else math.sqrt(mpp_y * mpp_x)


def fit_on_glass(resolution: Resolution, height: int, width: int) -> Resolution:
    """Accept a pixel size of a slide whose level 0 has `height` x `width` pixels.

    Raises
    ------
    ResolutionError
        If a side would then be longer than any glass: pixel size or file is wrong.
    """
    longest = max(height, width) * resolution.mpp / 1000
    if longest > LONGEST_MM:
        raise ResolutionError(
            f"Expected a slide that a glass can hold, of {LONGEST_MM:g} mm at most. Got {width} x {height} px of "
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


def aperio_mpp(description: str) -> list[MppCandidate]:
    """Find ``MPP = 0.499`` in the description of an Aperio SVS."""
    value = _aperio_number(description, "MPP")
    return [] if value is None else [MppCandidate(value, value, "aperio MPP")]


def aperio_power(description: str) -> float | None:
    """Find ``AppMag = 20`` in the description of an Aperio SVS."""
    return _aperio_number(description, "AppMag")


def ome_mpp(xml: str, *, height: int, width: int) -> list[MppCandidate]:
    """Find PhysicalSizeY and PhysicalSizeX, in whatever unit, of the OME image that has `height` x `width` pixels."""
    for pixels in _ome_elements(xml, "Pixels"):
        if (pixels.get("SizeY"), pixels.get("SizeX")) != (str(height), str(width)):
            continue
        sizes = [_microns(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit")) for axis in "YX"]
        if sizes[0] and sizes[1]:
            return [MppCandidate(sizes[0], sizes[1], "OME PhysicalSize")]
    return []


def ome_power(xml: str) -> float | None:
    """Find the nominal magnification of the first objective of an OME file."""
    powers = (_positive(element.get("NominalMagnification")) for element in _ome_elements(xml, "Objective"))
    return next((power for power in powers if power), None)


def tiff_mpp(y_resolution: float | None, x_resolution: float | None, unit: int) -> list[MppCandidate]:
    """Turn TIFF pixels per inch or centimetre into um/px.

    Implausible values count as absent: 72 and 96 dpi are what image editors write when nobody asked them.
    """
    if unit not in TIFF_UNIT_UM or not y_resolution or not x_resolution:
        return []
    candidate = MppCandidate(TIFF_UNIT_UM[unit] / y_resolution, TIFF_UNIT_UM[unit] / x_resolution, "TIFF resolution")
    plausible = all(PLAUSIBLE_MPP[0] <= value <= PLAUSIBLE_MPP[1] for value in candidate[:2])
    return [candidate] if plausible else []


def zarr_mpp(scale_y: float, scale_x: float, *, unit_y: object, unit_x: object) -> list[MppCandidate]:
    """Turn the scale of an OME-Zarr into um/px; without a unit it says nothing."""
    y, x = (ZARR_UNIT_UM.get(str(unit).replace("metre", "meter")) for unit in (unit_y, unit_x))
    return [MppCandidate(scale_y * y, scale_x * x, "OME-Zarr scale")] if y and x else []


def imagej_mpp(unit: object, y_resolution: float | None, x_resolution: float | None) -> list[MppCandidate]:
    """Turn the pixels per micron of a TIFF that ImageJ wrote into um/px; it states the unit in its own words."""
    name = str(unit).casefold().replace("µ", "u").replace("μ", "u")
    if name not in IMAGEJ_UNITS or not y_resolution or not x_resolution:
        return []
    return [MppCandidate(1 / y_resolution, 1 / x_resolution, "ImageJ unit")]


def openslide_mpp(properties: Mapping[str, str]) -> list[MppCandidate]:
    """Take openslide.mpp-y and openslide.mpp-x."""
    mpp_y, mpp_x = _positive(properties.get("openslide.mpp-y")), _positive(properties.get("openslide.mpp-x"))
    return [MppCandidate(mpp_y, mpp_x, "openslide.mpp")] if mpp_y and mpp_x else []


def openslide_power(properties: Mapping[str, str]) -> float | None:
    """Take openslide.objective-power."""
    return _positive(properties.get("openslide.objective-power"))


def _pair(mpp_y: float, mpp_x: float) -> str:
    return f"{mpp_y:.4g}" if mpp_y == mpp_x else f"{mpp_y:.4g} x {mpp_x:.4g}"


def _aperio_number(description: str, key: str) -> float | None:
    found = re.search(rf"(?:^|\|)\s*{key}\s*=\s*([0-9.,eE+-]+)", description)
    return _positive(found[1].replace(",", ".")) if found else None


def _ome_elements(xml: str, name: str) -> list[ET.Element]:
    try:
        return [element for element in ET.fromstring(xml).iter() if element.tag.rpartition("}")[2] == name]
    except (ET.ParseError, ValueError):  # ValueError: half a character, which XML cannot hold
        return []  # a broken description is a missing one: the pixels may still be good


def _microns(value: str | None, unit: str | None) -> float | None:
    name = (unit or "um").strip().replace("µ", "u").replace("μ", "u")  # micro sign and Greek mu
    number, scale = _positive(value), OME_UNIT_UM.get(name)
    return number * scale if number and scale else None


def _positive(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None
