"""How a slide with missing levels is read while one moves over it in a real viewer."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_lrmil.layers.build import slide_layer
from support.recording import Read, open_recorded
from support.slides import coordinate_pixels, write_pyramid

if TYPE_CHECKING:
    import napari

pytestmark = pytest.mark.usefixtures("display")
HEIGHT, WIDTH, MPP = 1024, 16_384, 0.5
STORED, TWO = 1024, 8192  # widths of the coarse level in the file, and of the first averaged one


@pytest.mark.parametrize("factors", [(16,), ()])
def test_no_tile_is_read_twice_and_few_are_read(
    make_napari_viewer: "Callable[..., napari.Viewer]", tmp_path: Path, factors: tuple[int, ...]
) -> None:
    pixels = coordinate_pixels(HEIGHT, WIDTH)
    path = write_pyramid(tmp_path / "gaps.tif", pixels, MPP, factors=factors, compression=None)
    viewer = make_napari_viewer(show=True)
    slide, reads = open_recorded(path)
    opening = len(reads)

    def look(x: int, zoom: float) -> int:
        """Move the middle of the canvas to a pixel of the slide; the width of the level that is drawn."""
        viewer.scene.camera.center, viewer.scene.camera.zoom = (0, HEIGHT / 2 * MPP, x * MPP), zoom / MPP
        viewer.screenshot(canvas_only=True, flash=False)
        return int(layer.data[layer.data_level].shape[1])

    def finest() -> "Counter[Read]":
        return Counter(read for read in reads[opening:] if read.level == 0)

    with slide:
        data, keywords, _ = slide_layer(slide)
        assert [level.shape[1] for level in data] == [WIDTH, TWO, 4096, *([] if factors else [2048]), STORED]
        assert not finest()
        layer = viewer.add_image(data, **keywords)
        viewer.reset_view()
        viewer.screenshot(canvas_only=True, flash=False)
        assert len(finest()) == (0 if factors else 16), "the whole slide is drawn from its coarse level, if it has one"
        assert look(1024, 0.45) == TWO
        assert len(finest()) == (2 if factors else 16), "only what lies below the view is read"
        for x in (1600, 2048, 5000, 1024):
            assert look(x, 0.45) == TWO
        assert look(5000, 0.22) == 4096
        assert set(finest().values()) == {1}
        shown = viewer.screenshot(canvas_only=True, flash=False)
        assert np.ptp(shown[..., 1]) > 100, "the picture is there"
