"""The bytes of a file choose its reader; its name only where they do not tell."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lrmil.errors import SlideError
from lrmil.slides.readers.choice import open_reader
from support.slides import write_ome_zarr_slide, write_pyramid

PIXELS = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)


@pytest.mark.parametrize("name", ["a.tif", "a.svs", "a.dat"])
def test_a_tiff_is_a_tiff_whatever_its_name(tmp_path: Path, name: str) -> None:
    path = write_pyramid(tmp_path / "a.ome.tif", PIXELS, 0.5, factors=(2,)).rename(tmp_path / name)
    reader = open_reader(path)
    assert type(reader).__name__ == "TiffReader"
    reader.close()


def test_a_picture_and_a_folder_have_readers_of_their_own(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.tif")
    folder = write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS)
    for path, name in ((tmp_path / "a.tif", "FlatReader"), (folder, "OmeZarrReader")):
        reader = open_reader(path)
        assert type(reader).__name__ == name
        reader.close()


@pytest.mark.parametrize("data", [b"", b"no slide at all", b"II*\0"])
def test_what_is_no_slide_is_one_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.svs").write_bytes(data)
    with pytest.raises(SlideError):
        open_reader(tmp_path / "a.svs")
