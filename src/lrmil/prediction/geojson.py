"""Write attention as GeoJSON annotations, one polygon per patch, for QuPath and others."""

import hashlib
import json
import uuid
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lrmil.io.atomic import write_text
from lrmil.io.ownership import is_tiles
from lrmil.prediction.attention import percentile_rank
from lrmil.raster import Raster

GEOJSON_IDS = uuid.UUID("6d5b3a52-0c1f-5a0b-9a67-2f6f1d0b7c11")  # a fixed namespace, so that ids are equal in every run


def write_geojson(
    path: Path,
    level0_yx: NDArray[np.number],
    attention: ArrayLike,
    *,
    size_level0: float,
    slide_id: str,
    about: Mapping[str, object] | None = None,
    bounds_yx: tuple[float, float] = (0, 0),
    subtract_bounds: bool = False,
) -> None:
    """Write the patches as squares that QuPath opens as tiles, in level-0 pixels, x before y.

    A tile has no class: that of the slide is not one of its patches. QuPath draws its measurements as a map.

    Parameters
    ----------
    path
        The .geojson file.
    level0_yx
        (n, 2) top-left corners in level-0 pixels.
    attention
        (n,) values, written unchanged beside their percentile ranks.
    size_level0
        Side of a patch in level-0 pixels.
    slide_id
        Part of the ids: a patch has the same id in every run.
    about
        Further values of the ``lrmil`` member, such as the answer for the slide, um/px and the hash of the model.
    bounds_yx
        Corner of the scanned area (OpenSlide's bounds) in level-0 pixels.
    subtract_bounds
        Whether coordinates start at that corner, for viewers that show only that area. The ``lrmil`` member records it.

    Raises
    ------
    OverwriteError
        If another file has the name `path`.
    OutputError
        If it cannot be written.
    """
    values = np.asarray(attention, float)
    ranks = percentile_rank(Raster(values[None], np.eye(2, 3))).array[0]
    shift = np.asarray(bounds_yx if subtract_bounds else (0.0, 0.0), float)
    features: list[dict[str, object]] = [
        {
            "type": "Feature",
            "id": str(uuid.uuid5(GEOJSON_IDS, f"{slide_id}/{number}")),
            "geometry": {"type": "Polygon", "coordinates": [_ring(corner, size_level0)]},
            "properties": _properties(value, rank),
        }
        for number, (corner, value, rank) in enumerate(
            zip(np.asarray(level0_yx, float) - shift, values.tolist(), ranks.tolist(), strict=True)
        )
    ]
    bounds = {"bounds_yx": [float(side) for side in bounds_yx], "bounds_subtracted": subtract_bounds}
    write_text(path, _collection(features, {"slide_id": slide_id, **(about or {}), **bounds}), is_tiles)


def _ring(corner_yx: NDArray[np.float64], size: float) -> list[list[float]]:
    top, left = corner_yx.tolist()
    bottom, right = top + size, left + size
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def _properties(attention: float, rank: float) -> dict[str, object]:
    return {
        "objectType": "tile",
        "isLocked": True,
        "measurements": {"attention": attention, "attention, percentile in slide": rank},
    }


def _collection(features: list[dict[str, object]], about: Mapping[str, object]) -> str:
    """Return the text of the file; its ``lrmil`` member ends with the hash of all that follows it."""
    rest = _json_text(features) + "}\n"
    hashed = hashlib.sha256(rest.encode("utf-8", errors="backslashreplace")).hexdigest()
    origin = {**about, "features_sha256": hashed}
    head = _json_text({"type": "FeatureCollection", "lrmil": origin}).removesuffix("}")
    return f'{head}, "features": {rest}'


def _json_text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
