"""Parse the pixel size and objective that slides state: Aperio, OME, TIFF, ImageJ, OME-Zarr, OpenSlide.

A pixel size belongs to an image of a certain size. Metadata that state another size were copied from another image,
and their pixel size is not used.
"""

import math
import re
from collections.abc import Mapping

from lrmil.slides.readers.ome_xml import OmeImage, positive
from lrmil.slides.readers.units import is_no_length, microns_per, shown
from lrmil.slides.resolution import PLAUSIBLE_MPP, Disregarded, MppCandidate, show_pair

Found = list[MppCandidate | Disregarded]
Shape = tuple[int, int]

TIFF_UNIT_UM = {2: 25_400.0, 3: 10_000.0}  # ResolutionUnit: 2 = inch, 3 = centimetre; 1 = none
PRINTERS_UNITS_UM = frozenset(TIFF_UNIT_UM.values())  # units in which image editors write values that nobody measured
PHILIPS_SIZES = (
    "philips.PIM_DP_IMAGE_{}",
    "philips.PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE[0].PIIM_PIXEL_DATA_REPRESENTATION_{}",
)
PHILIPS_TILE = 2048  # pixels: larger than any Philips tile
MAX_DIGITS = 10  # in a side in pixels
MAX_NAMED = 3  # sizes listed in one sentence
SAME = 0.02  # relative: values that differ by less are equal
APERIO_REGION = re.compile(r"\[\s*-?\d+\s*,\s*-?\d+\s*[,\s]\s*(\d+)\s*[xX×]\s*(\d+)\s*\]")
APERIO_WHOLE = re.compile(r"(?<![\w.(])(\d+)[xX×](\d+)(?![\w)])")


def aperio_mpp(description: str, shape: Shape) -> Found:
    """Parse ``MPP = 0.499`` in the description of an Aperio SVS of `shape` (height, width)."""
    value = _aperio_number(description, "MPP")
    if value is None:
        return []
    other = _other_size((f"aperio MPP says {value:g}", value), [_aperio_shape(description)], shape)
    return [other or MppCandidate(value, value, "aperio MPP")]


def aperio_power(description: str, shape: Shape) -> float | Disregarded | None:
    """Parse ``AppMag = 20`` in the description of an Aperio SVS of `shape` (height, width)."""
    value = _aperio_number(description, "AppMag")
    if value is None:
        return None
    return _other_size((f"aperio AppMag says {value:g}x", None), [_aperio_shape(description)], shape) or value


def ome_mpp(image: OmeImage, shape: Shape) -> Found:
    """Convert PhysicalSizeY and PhysicalSizeX of an image of `shape` (height, width) to um/px."""
    found = _in_microns("OME PhysicalSize", image.size_y, image.size_x)
    return [_other_size(_statement_of(one), [image.shape], shape) or one for one in found]


def ome_power(image: OmeImage, shape: Shape) -> float | Disregarded | None:
    """Return the magnification of an image of `shape` (height, width)."""
    if not isinstance(image.power, float):
        return image.power
    return _other_size((f"OME says {image.power:g}x", None), [image.shape], shape) or image.power


def tiff_mpp(y_resolution: float | None, x_resolution: float | None, unit: int) -> Found:
    """Convert TIFF pixels per inch or centimetre to um/px.

    Implausible values count as absent: image editors write 72 and 96 dpi by default.

    Parameters
    ----------
    y_resolution, x_resolution
        Pixels per unit.
    unit
        TIFF ResolutionUnit: 2 is inch, 3 is centimetre.
    """
    if unit not in TIFF_UNIT_UM or not y_resolution or not x_resolution:
        return []
    candidate = MppCandidate(TIFF_UNIT_UM[unit] / y_resolution, TIFF_UNIT_UM[unit] / x_resolution, "TIFF resolution")
    return [candidate] if _is_plausible(candidate) else []


def imagej_mpp(unit: object, y_resolution: float | None, x_resolution: float | None) -> Found:
    """Convert the pixels per unit of an ImageJ TIFF to um/px.

    Parameters
    ----------
    unit
        Unit of length as free text.
    y_resolution, x_resolution
        Pixels per unit; None if not stated.
    """
    if not unit or not y_resolution or not x_resolution or not math.isfinite(y_resolution + x_resolution):
        return []
    found = _in_microns("ImageJ unit", (1 / y_resolution, unit), (1 / x_resolution, unit))
    dots = microns_per(unit) in PRINTERS_UNITS_UM and not _is_plausible(found[0])
    return [] if dots else found


def zarr_mpp(scale_y: float, scale_x: float, *, unit_y: object, unit_x: object) -> Found:
    """Convert the scale of an OME-Zarr to um/px; a scale of 1 without a unit counts as absent.

    Parameters
    ----------
    scale_y, scale_x
        Sides of a pixel.
    unit_y, unit_x
        Their units of length; None if not stated.
    """
    if not unit_y and not unit_x and scale_y == scale_x == 1:
        return []
    return _in_microns("OME-Zarr scale", (scale_y, unit_y), (scale_x, unit_x))


def openslide_mpp(properties: Mapping[str, str], shape: Shape) -> Found:
    """Parse openslide.mpp-y and openslide.mpp-x of a slide of `shape` (height, width)."""
    y, x = positive(properties.get("openslide.mpp-y")), positive(properties.get("openslide.mpp-x"))
    if not y or not x:
        return []
    other = _other_size((f"openslide.mpp says {show_pair(y, x)}", x), [_openslide_shape(properties, shape)], shape)
    return [other or MppCandidate(y, x, "openslide.mpp")]


def openslide_power(properties: Mapping[str, str], shape: Shape) -> float | Disregarded | None:
    """Parse openslide.objective-power of a slide of `shape` (height, width)."""
    power = positive(properties.get("openslide.objective-power"))
    if power is None:
        return None
    statement = f"openslide.objective-power says {power:g}x", None
    return _other_size(statement, [_openslide_shape(properties, shape)], shape) or power


def without_copies(found: Found) -> Found:
    """Disregard values equal to one of another image: they were probably copied together."""
    stale = [one.mpp for one in found if isinstance(one, Disregarded) and one.mpp]
    return [
        Disregarded(f"{one.source} says {show_pair(one.mpp_y, one.mpp_x)} too")
        if isinstance(one, MppCandidate) and any(abs(one.mpp_x - mpp) < SAME * mpp for mpp in stale)
        else one
        for one in found
    ]


def _in_microns(source: str, y: tuple[float, object] | None, x: tuple[float, object] | None) -> Found:
    """Convert the sides of a pixel, each a number and a unit, to um/px; disregard unknown units."""
    if y is None or x is None:
        return []
    microns = [microns_per(unit) for _, unit in (y, x)]
    if microns[0] and microns[1]:
        return [MppCandidate(y[0] * microns[0], x[0] * microns[1], source)]
    number, unit = y if not microns[0] else x
    if not unit:
        return [Disregarded(f"{source} says {number:g} without a unit")]
    what = "is not a length" if is_no_length(unit) else "is not a known unit of length"
    return [Disregarded(f"{source} says {number:g} {shown(unit)}, which {what}")]


def _statement_of(found: MppCandidate | Disregarded) -> tuple[str, float | None]:
    """Return a value as half a sentence, and as um/px."""
    if isinstance(found, Disregarded):
        return found.why, None
    return f"{found.source} says {show_pair(found.mpp_y, found.mpp_x)} um", found.mpp_x


def _other_size(statement: tuple[str, float | None], stated: list[Shape | None], shape: Shape) -> Disregarded | None:
    """Disregard a value for images of other sizes; None if the stated size is right, or absent."""
    others = [f"{one[1]} x {one[0]} px" for one in stated if one and min(one) > 0]
    if not others or shape in stated:
        return None
    names = " or ".join(list(dict.fromkeys(others))[:MAX_NAMED])
    return Disregarded(
        f"{statement[0]} for an image of {names} (width x height), but this one has {shape[1]} x {shape[0]} px",
        statement[1],
    )


def _is_plausible(found: MppCandidate | Disregarded) -> bool:
    return isinstance(found, MppCandidate) and all(PLAUSIBLE_MPP[0] <= one <= PLAUSIBLE_MPP[1] for one in found[:2])


def _aperio_number(description: str, key: str) -> float | None:
    found = re.search(rf"(?:^|\|)\s*{key}\s*=\s*([0-9.,eE+-]+)", description)
    return positive(found[1].replace(",", ".")) if found else None


def _aperio_shape(description: str) -> Shape | None:
    """Return the (height, width) that a description states: of the scanned region if there is one.

    ``46000x32914 [42673,5576 2220x2967] (240x240)`` is a region of a scan; ``->`` precedes its size after shrinking.
    """
    head = re.split(r"[|;]", description, maxsplit=1)[0]
    found = APERIO_REGION.search(head) or APERIO_WHOLE.search(head)
    return (int(found[2]), int(found[1])) if found and max(map(len, found.groups())) < MAX_DIGITS else None


def _openslide_shape(properties: Mapping[str, str], shape: Shape) -> Shape | None:
    """Return the (height, width) in the vendor's metadata; Philips may state it without padding of tiles."""
    if properties.get("openslide.vendor") == "aperio":
        return _aperio_shape(properties.get("tiff.ImageDescription", ""))
    pairs = [[positive(properties.get(name.format(side))) for side in ("ROWS", "COLUMNS")] for name in PHILIPS_SIZES]
    stated = [(int(rows), int(columns)) for rows, columns in pairs if rows and columns]
    padded = any(all(0 <= shape[axis] - one[axis] < PHILIPS_TILE for axis in (0, 1)) for one in stated)
    return shape if padded else next(iter(stated), None)
