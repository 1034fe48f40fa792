"""Read areas from GeoJSON: tissue contours by TRIDENT and annotations by QuPath, x and y in level-0 pixels."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import FormatError
from lrmil.io import untrusted
from lrmil.patches.polygons import fill_ring

MAX_BYTES = 32 << 20  # after unpacking: some 1.5 million corners
MAX_COORDINATE = 1e9  # level-0 pixels
GZIP = b"\x1f\x8b"
IGNORED = "ignore"  # QuPath's classes of areas to exclude begin with it, such as "Ignore*"
NO_AREA = frozenset({"Point", "MultiPoint", "LineString", "MultiLineString"})
NO_OUTLINE = frozenset({"detection", "cell", "tile", "tmacore", "root"})  # QuPath objects that are not annotations


class Area(NamedTuple):
    """A polygon: its outline, then its holes, each (n, 2) y, x in level-0 pixels."""

    rings: tuple[NDArray[np.float64], ...]
    left_out: bool
    """True if the area is to be excluded from the tissue."""


def read_areas(path: Path) -> list[Area]:
    """Read the polygons of a GeoJSON file, gzipped or not.

    Parameters
    ----------
    path
        Holds a FeatureCollection, a list of features, one feature or one geometry.

    Raises
    ------
    FormatError
        If the file is not GeoJSON, or has no area to keep.
    OSError
        If it cannot be read.
    """
    document = _document(path)
    try:
        areas = [area for feature in _features(document) for area in _areas_of(feature)]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FormatError(f"Expected GeoJSON with outlines of tissue in {path}. Got: {_reason(error)}.") from error
    if all(area.left_out for area in areas):
        raise FormatError(f"Expected outlines of tissue (polygons of annotations) in {path}. Got none.")
    return areas


def draw_areas(areas: list[Area], shape: tuple[int, int], cell: float) -> NDArray[np.bool_]:
    """Draw areas into a mask; excluded areas override the others.

    Parameters
    ----------
    areas
        As `read_areas` returns them.
    shape
        (rows, cols) of the mask.
    cell
        Side of a cell of the mask in level-0 pixels.
    """
    mask = np.zeros(shape, bool)
    for area in sorted(areas, key=lambda area: area.left_out):
        window, inside = fill_ring(shape, area.rings[0] / cell)
        for ring in area.rings[1:]:
            hole_window, hole = fill_ring(shape, ring / cell)
            _clear(inside, window, hole_window, hole)
        if area.left_out:
            mask[window] &= ~inside
        else:
            mask[window] |= inside
    return mask


def _clear(
    inside: NDArray[np.bool_], window: tuple[slice, slice], hole_window: tuple[slice, slice], hole: NDArray[np.bool_]
) -> None:
    """Remove a hole from an area; each is given in its own window of the mask."""
    ours, theirs = [], []
    for own, other in zip(window, hole_window, strict=True):
        begin, end = max(own.start, other.start), min(own.stop, other.stop)
        if begin >= end:
            return
        ours.append(slice(begin - own.start, end - own.start))
        theirs.append(slice(begin - other.start, end - other.start))
    inside[ours[0], ours[1]] &= ~hole[theirs[0], theirs[1]]


def _document(path: Path) -> Any:
    untrusted.require_plain(path)
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
    if not packed:
        return untrusted.read_json(path, max_bytes=MAX_BYTES, printable=False)
    try:
        with gzip.open(path) as file:
            data = file.read(MAX_BYTES + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FormatError(f"The gzip file {path} is damaged: {error}.") from error
    if len(data) > MAX_BYTES:
        raise FormatError(f"Expected a document of at most {MAX_BYTES >> 20} MiB in {path}. Got more after unpacking.")
    return untrusted.parse_json(data, path, printable=False)


def _features(document: Any) -> Iterator[Any]:
    if isinstance(document, list):
        yield from document
    elif document["type"] == "FeatureCollection":
        yield from document["features"]
    elif document["type"] in ("Polygon", "MultiPolygon"):
        yield {"type": "Feature", "geometry": document}
    else:
        yield document


def _areas_of(feature: Any) -> Iterator[Area]:
    """Yield the polygons of a feature and of its child objects."""
    if feature["type"] != "Feature":
        raise ValueError(f"an object of type {feature['type']!r} in place of a Feature")
    properties = feature.get("properties") or {}
    kind = str(properties.get("objectType", properties.get("object_type", "annotation"))).lower()
    if kind.replace("_", "") not in NO_OUTLINE and feature["geometry"] is not None:
        left_out = _class_of(properties).lower().startswith(IGNORED)
        for polygon in _polygons(feature["geometry"]):
            yield Area(tuple(_ring(ring) for ring in polygon), left_out)
    for child in properties.get("childObjects", feature.get("childObjects", ())) or ():
        yield from _areas_of(child)


def _class_of(properties: dict[str, Any]) -> str:
    found = properties.get("classification")
    if isinstance(found, dict):
        names = found.get("names")
        found = found.get("name") or (names[0] if isinstance(names, list) and names else "")
    return found if isinstance(found, str) else ""


def _polygons(geometry: Any) -> Iterator[list[Any]]:
    kind = geometry["type"]
    if kind == "GeometryCollection":
        for inner in geometry["geometries"]:
            yield from _polygons(inner)
    elif kind == "MultiPolygon":
        yield from filter(None, geometry["coordinates"])
    elif kind == "Polygon":
        yield from filter(None, [geometry["coordinates"]])
    elif kind not in NO_AREA:
        raise ValueError(f"a geometry of type {kind!r}")


def _ring(corners: Any) -> NDArray[np.float64]:
    if not isinstance(corners, list) or not all(
        isinstance(corner, list) and 2 <= len(corner) <= 4 and all(type(value) in (int, float) for value in corner)
        for corner in corners
    ):
        raise ValueError("an outline that is not a list of corners (x, y)")
    ring = np.array([corner[1::-1] for corner in corners], float)
    if len(ring) < 3 or not (np.abs(ring) < MAX_COORDINATE).all():
        raise ValueError("an outline with fewer than 3 corners, or with a corner outside of any slide")
    return ring


def _reason(error: Exception) -> str:
    return f"no {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
