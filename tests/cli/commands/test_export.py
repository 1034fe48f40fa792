"""`lrmil export`: features as h5, where nothing of a user's lies in the way."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from support.cli import RunCli
from support.runs import write_bag


@pytest.fixture
def features(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        write_bag(tmp_path / "features" / f"{name}.zarr", np.array([[0, 0], [0, 1]]), np.ones((2, 3)))
    return tmp_path / "features"


def test_each_slide_has_its_file(run_cli: RunCli, features: Path, tmp_path: Path) -> None:
    code, out, _ = run_cli("export", features, "--to", "trident", "--out", tmp_path / "h5")
    assert code == 0 and [line.rpartition("/")[2] for line in out.split()] == ["a.h5", "b.h5"]
    with h5py.File(tmp_path / "h5/a.h5") as file:
        assert file["features"].shape == (2, 3)


def test_a_file_of_the_user_stays_and_the_others_are_written(run_cli: RunCli, features: Path, tmp_path: Path) -> None:
    (tmp_path / "h5").mkdir()
    (tmp_path / "h5/a.h5").write_text("mine")
    code, _, err = run_cli("export", features, "--to", "trident", "--out", tmp_path / "h5")
    assert code == 1 and "1 of 2 failed" in err
    assert (tmp_path / "h5/a.h5").read_text() == "mine" and (tmp_path / "h5/b.h5").is_file()


def test_a_folder_without_features(run_cli: RunCli, tmp_path: Path) -> None:
    assert run_cli("export", tmp_path, "--to", "trident", "--out", tmp_path / "h5")[0] == 1
    assert not (tmp_path / "h5").exists()


def test_only_features_of_one_kind_are_exported(run_cli: RunCli, features: Path, tmp_path: Path) -> None:
    (features / "a.attention.ome.zarr").mkdir()  # a prediction's map
    code, out, _ = run_cli("export", features, "--to", "trident", "--out", tmp_path / "h5")
    assert code == 0 and len(out.split()) == 2
    assert run_cli("export", features, "--to", "trident", "--out", features / "a.zarr")[0] == 1
    assert not list((features / "a.zarr").glob("*.h5"))
    write_bag(features / "c.zarr", np.array([[0, 0]]), np.ones((1, 3)), size=128)
    code, _, err = run_cli("export", features, "--to", "trident", "--out", tmp_path / "mixed")
    assert code == 1 and "128 px" in err and not (tmp_path / "mixed").exists()
