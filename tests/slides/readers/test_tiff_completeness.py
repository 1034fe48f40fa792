"""A TIFF that was cut is told from a whole one."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from lrmil.slides.readers.tiff_completeness import is_whole_tiff


@pytest.mark.parametrize("pages", [1, 3])
def test_a_cut_one_is_not_whole(tmp_path: Path, pages: int) -> None:
    path = tmp_path / "mask.tif"
    tifffile.imwrite(path, np.zeros((pages, 64, 64), np.uint8), photometric="minisblack")
    assert is_whole_tiff(path)
    path.write_bytes(path.read_bytes()[:-100])
    assert not is_whole_tiff(path)


@pytest.mark.parametrize("data", [b"", b"II*\0", b"MM\0*\xff\xff\xff\xff", b"no tiff"])
def test_what_cannot_be_parsed_is_not(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "mask.tif").write_bytes(data)
    assert not is_whole_tiff(tmp_path / "mask.tif")
