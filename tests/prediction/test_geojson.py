"""Attention as GeoJSON: squares that QuPath reads."""

import json
import uuid
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lrmil.prediction.geojson import write_geojson

lengths = st.floats(1, 5000, allow_subnormal=False)

places = st.floats(-1e5, 1e5, allow_subnormal=False)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(places, places, st.floats(0, 1)), max_size=8),
    st.tuples(places, places),
    st.booleans(),
    lengths,
)
def test_geojson_gives_the_squares_back(
    tmp_path_factory: pytest.TempPathFactory,
    patches: list[tuple[float, float, float]],
    bounds_yx: tuple[float, float],
    subtract: bool,
    size: float,
) -> None:
    path = tmp_path_factory.mktemp("geojson") / "a.geojson"
    table = np.array(patches, float).reshape(-1, 3)
    document = _geojson(path, table[:, :2], table[:, 2], size=size, bounds_yx=bounds_yx, subtract_bounds=subtract)
    shift = np.array(bounds_yx if subtract else (0, 0))
    assert document["lrmil"]["bounds_subtracted"] is subtract
    assert document["lrmil"]["bounds_yx"] == list(bounds_yx)
    assert len(document["features"]) == len(table)
    for feature, (y, x, value) in zip(document["features"], table, strict=True):
        (ring,) = feature["geometry"]["coordinates"]
        assert ring[0] == ring[-1]
        left, top = np.min(ring, 0)
        right, bottom = np.max(ring, 0)
        np.testing.assert_allclose([top, left], [y, x] - shift, atol=1e-9)
        np.testing.assert_allclose([bottom - top, right - left], size, rtol=1e-6)
        x_around, y_around = np.subtract(ring, ring[0]).T
        area = (x_around[:-1] * y_around[1:] - x_around[1:] * y_around[:-1]).sum()
        np.testing.assert_allclose(abs(area) / 2, size**2, rtol=1e-6)  # the corners go around, none crosses
        assert feature["properties"]["measurements"]["attention"] == value


def test_geojson_is_what_qupath_reads_and_ids_repeat(tmp_path: Path) -> None:
    corners, values = np.array([[10, 20], [30, 40]]), [0.25, 0.75]
    first = _geojson(tmp_path / "a.geojson", corners, values)
    assert first == _geojson(tmp_path / "b.geojson", corners, values)
    other = _geojson(tmp_path / "c.geojson", corners, values, slide_id="other")
    ids = [feature["id"] for document in (first, other) for feature in document["features"]]
    assert len({uuid.UUID(one) for one in ids}) == 4
    assert first["type"] == "FeatureCollection"
    assert first["features"][1] == {
        "type": "Feature",
        "id": ids[1],
        "geometry": {"type": "Polygon", "coordinates": [[[40, 30], [72, 30], [72, 62], [40, 62], [40, 30]]]},
        "properties": {
            "objectType": "tile",
            "isLocked": True,
            "measurements": {"attention": 0.75, "attention, percentile in slide": 1.0},
        },
    }


def _geojson(
    path: Path,
    corners: NDArray[np.number],
    values: list[float] | NDArray[np.float64],
    *,
    size: float = 32,
    slide_id: str = "slide",
    bounds_yx: tuple[float, float] = (0.0, 0.0),
    subtract_bounds: bool = False,
) -> dict:  # type: ignore[type-arg]
    write_geojson(
        path,
        corners,
        values,
        size_level0=size,
        slide_id=slide_id,
        bounds_yx=bounds_yx,
        subtract_bounds=subtract_bounds,
    )
    return json.loads(path.read_text())  # type: ignore[no-any-return]
