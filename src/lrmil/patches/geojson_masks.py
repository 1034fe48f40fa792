"""Read areas from GeoJSON: tissue contours by TRIDENT and annotations by QuPath, x and y in level-0 pixels."""

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
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
LEFT_OUT = ("ignore", "exclude")  # classes of areas to leave out begin so, such as QuPath's "Ignore*"
NO_AREA = frozenset({"Point", "MultiPoint", "LineString", "MultiLineString"})
NO_OUTLINE = frozenset({"detection", "cell", "tile", "tmacore", "root"})  # QuPath objects that are not annotations


class Area(NamedTuple):
    """A polygon: its outline, then its holes, each (n, 2) y, x in level-0 pixels."""

    rings: tuple[NDArray[np.float64], ...]
    left_out: bool
    """True if the area is to be excluded from the tissue."""
    annotation: int = 0
    """Number of the object that it is a part of: those of one MultiPolygon share it."""


def read_areas(path: Path) -> list[Area]:
    """Read the polygons of a GeoJSON file, gzipped or not.

    Parameters
    ----------
    path
        Holds a FeatureCollection, a list of features, one feature or one geometry.

    Raises
    ------
    FormatError
        If the file is not GeoJSON, or has no area.
    OSError
        If it cannot be read.
    """
    document = _document(path)
    try:
        objects = [areas for feature in _features(document) for areas in _objects_of(feature)]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FormatError(f"Expected GeoJSON with outlines of tissue in {path}. Got: {_reason(error)}.") from error
    areas = [area._replace(annotation=number) for number, parts in enumerate(filter(None, objects)) for area in parts]
    if not areas:
        raise FormatError(f"Expected outlines (polygons of annotations) in {path}. Got none.")
    return areas


def require_within(areas: Sequence[Area], dimensions: tuple[int, int]) -> None:
    """Require that areas were drawn on a slide of this size.

    Parameters
    ----------
    areas
        As `read_areas` returns them.
    dimensions
        (width, height) of the slide in level-0 pixels.

    Raises
    ------
    ValueError
        If a corner lies outside of it.
    """
    width, height = dimensions
    low = np.min([ring.min(0) for area in areas for ring in area.rings], axis=0)
    high = np.max([ring.max(0) for area in areas for ring in area.rings], axis=0)
    spare = max(2.0, 0.01 * max(width, height))  # outlines traced on a small image exceed the edge by part of a pixel
    if (low < -spare).any() or high[0] > height + spare or high[1] > width + spare:
        raise ValueError(
            f"Expected outlines within the slide's {width} x {height} px. Got x from {low[1]:.0f} to {high[1]:.0f} and "
            f"y from {low[0]:.0f} to {high[0]:.0f}; they are of another slide, or not in level-0 pixels."
        )


def draw_areas(
    areas: Sequence[Area], shape: tuple[int, int], to_cells: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.bool_]:
    """Draw areas into a mask; excluded areas override the others.

    Parameters
    ----------
    areas
        As `read_areas` returns them.
    shape
        (rows, cols) of the mask.
    to_cells
        Turns (n, 2) level-0 y, x into rows and columns of the mask.
    """
    mask = np.zeros(shape, bool)
    for area in sorted(areas, key=lambda area: area.left_out):
        window, inside = fill_ring(shape, to_cells(area.rings[0]))
        for ring in area.rings[1:]:
            hole_window, hole = fill_ring(shape, to_cells(ring))
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


def _objects_of(feature: Any) -> Iterator[list[Area]]:
    """Yield the polygons of a feature, and those of each of its child objects."""
    if feature["type"] != "Feature":
        raise ValueError(f"an object of type {feature['type']!r} in place of a Feature")
    properties = feature.get("properties") or {}
    kind = str(properties.get("objectType", properties.get("object_type", "annotation"))).lower()
    if kind.replace("_", "") not in NO_OUTLINE and feature["geometry"] is not None:
        left_out = _class_of(properties).lower().startswith(LEFT_OUT)
        yield [Area(tuple(map(_ring, polygon)), left_out) for polygon in _polygons(feature["geometry"])]
    for child in properties.get("childObjects", feature.get("childObjects", ())) or ():
        yield from _objects_of(child)


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
