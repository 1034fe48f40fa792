"""Which zarr folders are slides."""

from pathlib import Path

import numpy as np
import pytest

from lrmil.errors import SlideError
from lrmil.io.raster_zarr import write_ome_zarr
from lrmil.raster import Raster
from lrmil.slides.discovery import find_slides
from lrmil.slides.opening import open_slide
from lrmil.slides.source import slide_id_of
from support.runs import write_bag
from support.slides import coordinate_pixels, write_ome_zarr_slide

PIXELS = coordinate_pixels(300, 410)


class TestWhichFoldersAreSlides:
    def test_our_own_outputs_are_none(self, tmp_path: Path) -> None:
        write_bag(tmp_path / "features.zarr", np.array([[0, 0]]), np.ones((1, 4)))
        write_ome_zarr(tmp_path / "a.attention.ome.zarr", Raster(np.ones((2, 2)), np.eye(2, 3)), mpp=0.5)
        assert find_slides(tmp_path) == []
        for name in ("features.zarr", "a.attention.ome.zarr"):
            with pytest.raises(SlideError, match=f"{name} describes no image"):
                open_slide(tmp_path / name)

    def test_found_named_and_not_searched(self, tmp_path: Path) -> None:
        path = write_ome_zarr_slide(tmp_path / "deep/b.c.ome.zarr", PIXELS)
        (path / "hidden.svs").touch()
        (tmp_path / "broken.zarr").mkdir()
        (tmp_path / "broken.zarr/zarr.json").write_text("{")
        assert find_slides(tmp_path) == [tmp_path / "broken.zarr", path]
        assert find_slides(path) == [path] and slide_id_of(path) == "b.c"
        assert slide_id_of(tmp_path / "broken.zarr") == "broken"
        with pytest.raises(SlideError, match=r"broken\.zarr"):
            open_slide(tmp_path / "broken.zarr")
