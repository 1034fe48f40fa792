"""Features for other tools: TRIDENT's layout, x before y, in level-0 pixels."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from lrmil.errors import FormatError
from lrmil.features.store import Features, write_features
from lrmil.features.trident import is_trident, write_trident
from support.paths import FORMATS
from support.runs import lattice_card


def test_coordinates_are_x_y_of_the_corner_at_level_0(tmp_path: Path) -> None:
    card = replace(lattice_card("s"), slide_mpp=0.3, origin_yx=(7, 1000))
    index = np.array([[0, 1], [2, 0], [5, 3]], np.int32)
    embeddings = np.arange(12, dtype=np.float32).reshape(3, 4)
    write_features(tmp_path / "s.zarr", Features(card, index, embeddings))
    write_trident(tmp_path / "h5/s.h5", tmp_path / "s.zarr")
    step = 64 * 2.0 / 0.3
    with h5py.File(tmp_path / "h5/s.h5") as file:
        assert sorted(file) == ["coords", "features"]
        assert file["features"].dtype == np.float32 and np.array_equal(file["features"], embeddings)
        coords = file["coords"]
        assert coords.dtype == np.int64
        expected = [[round(1000 + col * step), round(7 + row * step)] for row, col in index.tolist()]
        assert coords[:].tolist() == expected
        assert coords.attrs["patch_size"] == 64 and coords.attrs["patch_size_level0"] == round(step)
        assert coords.attrs["target_magnification"] == 5.0 and coords.attrs["overlap"] == 0
        assert coords.attrs["level0_magnification"] == pytest.approx(10 / 0.3)
        assert (coords.attrs["name"], coords.attrs["mpp"], coords.attrs["slide_mpp"]) == ("s", 2.0, 0.3)
    assert [path.name for path in (tmp_path / "h5").iterdir()] == ["s.h5"]


def test_what_is_no_features_folder_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(FormatError):
        write_trident(tmp_path / "s.h5", tmp_path / "none.zarr")
    assert not list(tmp_path.iterdir())


def test_a_file_with_a_data_set_of_the_user_is_not_ours(tmp_path: Path) -> None:
    write_trident(tmp_path / "a.h5", FORMATS / "features-1/sample.zarr")
    assert is_trident(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["annotations"] = [1, 2]
    assert not is_trident(tmp_path / "a.h5")
