"""A tissue mask that is saved from the layer list is the mask that the command line reads again."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from lrmil.errors import ConfigError, OverwriteError
from lrmil.patches.masks import find_masks, read_mask
from lrmil.patches.tissue import segment_tissue
from lrmil.slides.opening import open_slide
from lrmil.slides.source import SlideSource
from napari_lrmil.layers.build import SlideFile, tissue_layer
from napari_lrmil.layers.writer import write_tissue

if TYPE_CHECKING:
    import napari


@pytest.mark.usefixtures("display")
def test_a_painted_mask_comes_back(
    make_napari_viewer: "Callable[..., napari.Viewer]", cohort: Path, tmp_path: Path
) -> None:
    viewer, path = make_napari_viewer(), cohort / "slides/demo-001.ome.tif"
    with open_slide(path) as slide:
        tissue = segment_tissue(slide)
        data, keywords, _ = tissue_layer(tissue, slide.mpp, of=SlideFile(slide.slide_id, slide.path, slide.fingerprint))
        layer = viewer.add_labels(data, **keywords)
        layer.data[:5, :7] = 2
        expected = layer.data > 0
        written = layer.save(str(tmp_path / "demo-001.zarr"), plugin="napari-lrmil")
        assert written == [str(tmp_path / "demo-001.tissue.ome.zarr")]
        found = find_masks(tmp_path, [SlideSource("demo-001", path)])
        mask = read_mask(found["demo-001"], slide)
        np.testing.assert_array_equal(mask.array, expected)
        np.testing.assert_allclose(mask.to_level0, tissue.to_level0)
        layer.data[-3:, -3:] = 1
        layer.save(written[0], plugin="napari-lrmil")
        assert read_mask(found["demo-001"], slide).array[-3:, -3:].all()
        (kept,) = (one for one in tmp_path.glob("*.zarr") if one != found["demo-001"])
        np.testing.assert_array_equal(read_mask(kept, slide).array, expected)


@pytest.mark.parametrize("name", ["a", "a.zarr", "a.ome.zarr", "a.tissue.ome.zarr"])
def test_the_name_gets_the_ending_of_masks(tmp_path: Path, name: str) -> None:
    about = {"lrmil": {"to_level0": [[16.0, 0, 0], [0, 16.0, 0]]}}
    attributes = {"name": "t", "metadata": about, "scale": (8.0, 8.0)}
    assert write_tissue(str(tmp_path / name), np.ones((4, 4), np.uint8), attributes) == [
        str(tmp_path / "a.tissue.ome.zarr")
    ]


def test_other_labels_and_files_of_others_are_refused(tmp_path: Path) -> None:
    labels = np.ones((4, 4), np.uint8)
    with pytest.raises(ConfigError, match="'cells'"):
        write_tissue(str(tmp_path / "a.zarr"), labels, {"name": "cells", "metadata": {}, "scale": (1, 1)})
    assert not list(tmp_path.iterdir())
    theirs = tmp_path / "a.tissue.ome.zarr"
    theirs.mkdir()
    (theirs / "notes.txt").write_text("mine")
    about = {"lrmil": {"to_level0": [[16.0, 0, 0], [0, 16.0, 0]]}}
    with pytest.raises(OverwriteError):
        write_tissue(str(tmp_path / "a.zarr"), labels, {"name": "t", "metadata": about, "scale": (8.0, 8.0)})
    assert (theirs / "notes.txt").read_text() == "mine"
