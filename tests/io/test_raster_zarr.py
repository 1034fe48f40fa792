"""Rasters as OME-Zarr: written, read back, and refused where they are not ours."""

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from lrmil.errors import FormatError
from lrmil.io.raster_zarr import read_ome_zarr, write_ome_zarr
from lrmil.raster import Raster

lengths = st.floats(1, 5000, allow_subnormal=False)

places = st.floats(-1e5, 1e5, allow_subnormal=False)

pictures = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6),
    elements=st.floats(-1e6, 1e6, width=32) | st.just(float("nan")),
)


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
