"""Attention as a raster, and that the files made of it put every patch where it is."""

import json
import uuid
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from lrmil.errors import FormatError
from lrmil.io.raster_zarr import read_ome_zarr, write_ome_zarr
from lrmil.prediction.attention import attention_raster, ends, percentile_rank, top_patches
from lrmil.prediction.geojson import write_geojson
from lrmil.prediction.overlay import attention_rgba, overlay_png, overlay_rgb
from lrmil.raster import Raster

cells = st.lists(st.tuples(st.integers(-40, 40), st.integers(-40, 40)), min_size=1, max_size=30, unique=True)
lengths = st.floats(1, 5000, allow_subnormal=False)
places = st.floats(-1e5, 1e5, allow_subnormal=False)
pictures = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6),
    elements=st.floats(-1e6, 1e6, width=32) | st.just(float("nan")),
)


@settings(deadline=None)
@given(cells, lengths, places, places)
def test_raster_is_the_naive_loop(index: list[tuple[int, int]], step: float, y: float, x: float) -> None:
    attention = np.arange(1, len(index) + 1) / 7
    raster = attention_raster(attention, np.array(index), step_level0=step, origin_yx=(y, x))
    found = {}
    for row, col in np.ndindex(raster.array.shape):
        if not np.isnan(raster.array[row, col]):
            corner = raster.to_level0 @ (row, col, 1)
            cell = tuple(round(v) for v in (corner - (y, x)) / step)
            np.testing.assert_allclose(corner, np.array([y, x]) + np.array(cell) * step, atol=1e-6)
            found[cell] = float(raster.array[row, col])
    assert found == {cell: float(np.float32(value)) for cell, value in zip(index, attention, strict=True)}
    spans = [max(part) - min(part) + 1 for part in zip(*index, strict=True)]
    assert list(raster.array.shape) == spans
    assert raster.array.dtype == np.float32


@pytest.mark.parametrize(
    ("attention", "index"),
    [([], np.zeros((0, 2), int)), ([1.0], np.zeros((2, 2), int)), ([1.0, 2.0], np.zeros((2, 2), int))],
    ids=["no patches", "lengths differ", "same cell twice"],
)
def test_raster_refuses(attention: list[float], index: NDArray[np.int64]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        attention_raster(attention, index, step_level0=1, origin_yx=(0, 0))


@pytest.mark.parametrize(("k", "wanted"), [(0, []), (3, [1, 3, 2]), (9, [1, 3, 2, 4, 0]), (-1, [])])
def test_top_patches_descend_and_ties_keep_their_order(k: int, wanted: list[int]) -> None:
    assert top_patches([0.0, 0.9, 0.2, 0.9, 0.2], k).tolist() == wanted


def test_top_patches_keep_the_order_of_many_ties() -> None:
    assert top_patches(np.arange(1000) % 2, 1000).tolist() == [*range(1, 1000, 2), *range(0, 1000, 2)]


@given(st.lists(st.integers(-3, 3).map(float), max_size=12), st.integers(-2, 14))
def test_no_position_is_at_both_ends(values: list[float], k: int) -> None:
    highest, lowest = ends(values, k)
    order = sorted(range(len(values)), key=lambda position: -values[position])
    k = min(max(k, 0), len(values))
    assert highest.tolist() == order[:k]
    assert len(lowest) == min(k, len(values) - k) and not set(highest.tolist()) & set(lowest.tolist())
    rest = sorted(values[position] for position in order[k:])
    assert [values[position] for position in lowest] == rest[: len(lowest)]


def test_percentile_rank_keeps_gaps_and_treats_ties_alike() -> None:
    raster = Raster.on_lattice(np.array([[5.0, np.nan, 1.0], [2.0, 2.0, 9.0]]), cell_level0=8, origin_yx=(3, 4))
    ranks = percentile_rank(raster)
    np.testing.assert_array_equal(ranks.array, [[0.75, np.nan, 0], [0.375, 0.375, 1]])
    np.testing.assert_array_equal(ranks.to_level0, raster.to_level0)


@given(st.lists(st.sampled_from([np.nan, np.inf, -np.inf, -1.5, 0.0, 1e-30, 0.25, 0.5, 3e38]), min_size=2, max_size=20))
def test_percentile_rank_is_that_of_the_definition(values: list[float]) -> None:
    present = [value for value in values if not np.isnan(value)]
    expected = [
        np.nan
        if np.isnan(value)
        else 1.0
        if len(present) == 1
        else (sum(v < value for v in present) + (sum(v == value for v in present) - 1) / 2) / (len(present) - 1)
        for value in values
    ]
    for kind in (np.float32, np.float64):
        ranks = percentile_rank(Raster(np.array([values], kind), np.eye(2, 3))).array
        np.testing.assert_array_equal(ranks, np.array([expected], np.float32))


def test_percentile_rank_of_one_value_and_of_none() -> None:
    one = Raster(np.array([[np.nan, 0.2]]), np.eye(2, 3))
    np.testing.assert_array_equal(percentile_rank(one).array, [[np.nan, 1]])
    assert np.isnan(percentile_rank(Raster(np.full((2, 2), np.nan), np.eye(2, 3))).array).all()


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
            "classification": {"name": "tumour", "color": [33, 145, 140]},
            "measurements": {"attention": 0.75, "attention, percentile in slide": 1.0},
        },
    }


@settings(deadline=None, max_examples=30)
@given(pictures, lengths, lengths, places, places, st.floats(0.1, 4))
def test_ome_zarr_gives_the_raster_back(
    tmp_path_factory: pytest.TempPathFactory,
    array: NDArray[np.float32],
    cell_y: float,
    cell_x: float,
    y: float,
    x: float,
    mpp: float,
) -> None:
    path = tmp_path_factory.mktemp("zarr") / "a.ome.zarr"
    raster = Raster.on_lattice(array, cell_level0=(cell_y, cell_x), origin_yx=(y, x))
    write_ome_zarr(path, raster, mpp=mpp)
    back = read_ome_zarr(path)
    np.testing.assert_array_equal(back.array, array)
    np.testing.assert_allclose(back.to_level0, raster.to_level0, rtol=1e-9, atol=1e-6)


def test_ome_zarr_metadata_are_ngff_with_the_centre_of_the_first_cell(tmp_path: Path) -> None:
    path = tmp_path / "s.attention.ome.zarr"
    raster = Raster.on_lattice(np.array([[1.0, np.nan]]), cell_level0=(100, 200), origin_yx=(1000, 3000))
    for _ in range(2):  # the second replaces the first
        write_ome_zarr(path, raster, mpp=0.5)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    document = json.loads((path / "zarr.json").read_text())
    assert document["zarr_format"] == 3
    ome = document["attributes"]["ome"]
    assert ome["version"] == "0.5"
    (multiscale,) = ome["multiscales"]
    assert multiscale["axes"] == [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    assert multiscale["datasets"] == [
        {
            "path": "0",
            "coordinateTransformations": [
                {"type": "scale", "scale": [50.0, 100.0]},
                {"type": "translation", "translation": [525.0, 1550.0]},
            ],
        }
    ]
    array = zarr.open_array(path / "0", mode="r")
    assert array.dtype == np.float32
    assert np.isnan(array.fill_value)


def test_what_is_no_ome_zarr_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="absent"):
        read_ome_zarr(tmp_path / "absent.ome.zarr")
    zarr.create_group(tmp_path / "bare.ome.zarr", zarr_format=3)
    with pytest.raises(FormatError, match="bare"):
        read_ome_zarr(tmp_path / "bare.ome.zarr")
    write_ome_zarr(tmp_path / "new.ome.zarr", Raster(np.ones((1, 1)), np.eye(2, 3)), mpp=1)
    group = zarr.open_group(tmp_path / "new.ome.zarr")
    group.attrs["ome"] = {**dict(group.attrs)["ome"], "version": "0.9"}  # type: ignore[dict-item]
    with pytest.raises(FormatError, match=r"0\.9"):
        read_ome_zarr(tmp_path / "new.ome.zarr")


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 5), st.integers(0, 7), st.sampled_from([4.0, 7.5, 16.0]))
def test_overlay_colours_the_pixels_of_the_cell_and_no_others(row: int, col: int, level0_per_px: float) -> None:
    cell, origin = 120.0, (60.0, 30.0)
    array = np.full((6, 8), np.nan, np.float32)
    array[row, col] = 1.0
    raster = Raster.on_lattice(array, cell_level0=cell, origin_yx=origin)
    thumbnail = np.full((int(900 / level0_per_px), int(1100 / level0_per_px), 3), 200, np.uint8)
    changed = (overlay_rgb(thumbnail, raster, thumbnail_level0_per_px=level0_per_px) != thumbnail).any(2)
    for (y, x), found in np.ndenumerate(changed):
        level0_y, level0_x = (y + 0.5) * level0_per_px, (x + 0.5) * level0_per_px
        top, left = origin[0] + row * cell, origin[1] + col * cell
        assert found == (top <= level0_y < top + cell and left <= level0_x < left + cell)


def test_overlay_grows_opaque_with_the_value_and_leaves_the_thumbnail_alone() -> None:
    raster = Raster.on_lattice(np.array([[0.0, 0.3, 1.0, np.nan]]), cell_level0=1, origin_yx=(0, 0))
    thumbnail = np.full((1, 4, 3), 220, np.uint8)
    picture = overlay_rgb(thumbnail, raster, thumbnail_level0_per_px=1)
    change = np.abs(picture.astype(int) - 220).sum(2)[0]
    assert change[0] == change[3] == 0
    assert 0 < change[1] < change[2]
    assert (thumbnail == 220).all()
    yellow = np.rint(220 * 0.4 + 0.6 * 255 * np.array([0.993248, 0.906157, 0.143936]))  # the end of viridis
    np.testing.assert_allclose(picture[0, 2], yellow, atol=1)
    same = overlay_rgb(
        thumbnail, Raster(raster.array * 10 + 5, raster.to_level0), thumbnail_level0_per_px=1, limits=(5, 15)
    )
    np.testing.assert_allclose(same.astype(int), picture, atol=1)


def test_overlay_png_is_the_overlay_with_a_legend_below(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    thumbnail = rng.integers(0, 255, (50, 90, 3), np.uint8)
    raster = Raster.on_lattice(rng.random((5, 9)).astype(np.float32), cell_level0=10, origin_yx=(0, 0))
    title = "a title that is longer than a thumbnail of ninety pixels is wide, and then some"
    overlay_png(tmp_path / "a.png", thumbnail, raster, thumbnail_level0_per_px=1, title=title)
    with Image.open(tmp_path / "a.png") as image:
        page = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(page[:50, :90], overlay_rgb(thumbnail, raster, thumbnail_level0_per_px=1))
    below = page[50:]
    assert (below.min((0, 2)) < 128).sum() > 100  # something is written
    assert (below[:, -4:] == 255).all()  # and the text ends before the page does
    assert ((below[..., 1].astype(int) - below[..., 2]) > 60).any()  # the yellow end of the colour bar


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
        class_name="tumour",
        bounds_yx=bounds_yx,
        subtract_bounds=subtract_bounds,
    )
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def test_attention_rgba_grows_opaque_and_clips() -> None:
    values = np.array([[-1.0, 0.0, 0.25], [0.625, 1.0, 7.0]])
    rgba = attention_rgba(values)
    assert rgba.shape == (2, 3, 4)
    np.testing.assert_allclose(rgba[..., 3], [[0, 0, 0.4], [1, 1, 1]])
    np.testing.assert_array_equal(rgba[0, 0], rgba[0, 1])
    np.testing.assert_array_equal(rgba[1, 1], rgba[1, 2])
    np.testing.assert_allclose(
        rgba[[0, 1], [1, 1], :3], [[0.267004, 0.004874, 0.329415], [0.993248, 0.906157, 0.143936]]
    )
