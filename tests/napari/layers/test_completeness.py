"""Whether a file that is no slide is whole: then napari's other readers may open it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_lrmil.layers.completeness import is_complete


def test_a_cut_tiff_is_not(tmp_path: Path) -> None:
    path = tmp_path / "mask.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8))
    assert is_complete(path) and not is_complete(tmp_path / "absent.tif")
    path.write_bytes(path.read_bytes()[:-64])
    assert not is_complete(path)


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_has_all_arrays_that_it_names(tmp_path: Path, version: int) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=version)  # type: ignore[arg-type]
    for name in ("0", "1"):
        group.create_array(name, data=np.zeros((4, 4), np.uint8))
    scenes = {"multiscales": [{"datasets": [{"path": "0"}, {"path": "1"}]}]}
    group.attrs.update({"ome": scenes} if version == 3 else scenes)
    assert is_complete(tmp_path / "a.zarr")
    shutil.rmtree(tmp_path / "a.zarr/1")
    assert not is_complete(tmp_path / "a.zarr")


@pytest.mark.parametrize("text", ["", "[]", '{"multiscales": [{"datasets": [{}]}]}', '{"multiscales": 3}'])
def test_no_description_raises(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr/.zattrs").write_text(text)
    assert not is_complete(tmp_path / "a.zarr")
