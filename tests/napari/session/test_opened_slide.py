"""The layers of one slide: found by its file, edited masks told from automatic ones, and a resolution given by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel

from lrmil.errors import ResolutionError, SlideError, TissueError
from lrmil.patches.tissue import segment_tissue
from lrmil.raster import Raster
from lrmil.slides.opening import open_slide
from lrmil.slides.slide import Slide
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from napari.layers import Image, Labels
from napari_lrmil.layers.build import KEY, SlideFile, slide_layer, tissue_layer
from napari_lrmil.session.opened_slide import (
    edited_tissue,
    find_tissue_layer,
    set_mpp,
    tissue_steps,
)
from support.slides import coordinate_pixels, write_pyramid

Open = Callable[[str, float | None], Image]


@pytest.fixture
def add(viewer: ViewerModel, tmp_path: Path) -> Open:
    """Add a slide of 300 x 400 px to the viewer."""

    def add(name: str, mpp: float | None) -> Image:
        style = "plain" if mpp is None else "aperio"
        path = write_pyramid(tmp_path / f"{name}.tif", coordinate_pixels(300, 400), mpp, style=style)
        data, keywords, _ = slide_layer(open_slide(path))
        return viewer.add_image(data, **keywords)

    return add


def add_mask(viewer: ViewerModel, of: Path, mpp: float) -> Labels:
    """Add the mask of the slide of that name in the folder `of`."""
    mask = Raster(np.arange(48).reshape(6, 8) % 3 == 0, np.diag([50.0, 50.0, 1.0])[:2])
    data, keywords, _ = tissue_layer(mask, mpp, of=SlideFile(of.stem, of, "f"))
    return viewer.add_labels(data, **keywords)


def test_a_mask_is_that_of_one_file_and_never_of_another_of_its_name(viewer: ViewerModel, tmp_path: Path) -> None:
    one, namesake = tmp_path / "case 1/HE.svs", tmp_path / "case 2/HE.svs"
    mask = add_mask(viewer, one, 0.5)
    mask.data = np.ones_like(mask.data)
    assert find_tissue_layer(viewer.layers, one) is mask and find_tissue_layer(viewer.layers, namesake) is None
    assert edited_tissue(viewer.layers, one) is not None and edited_tissue(viewer.layers, namesake) is None


def test_several_masks_of_a_slide_are_refused(viewer: ViewerModel, tmp_path: Path) -> None:
    masks = [add_mask(viewer, tmp_path / "a.svs", 0.5) for _ in range(2)]
    with pytest.raises(TissueError, match=r"'tissue: a', 'tissue: a \[1\]'"):
        edited_tissue(viewer.layers, tmp_path / "a.svs")
    viewer.layers.remove(masks[0])
    assert edited_tissue(viewer.layers, tmp_path / "a.svs") is None, "unchanged"


def test_only_a_mask_that_was_changed_is_an_edited_one(viewer: ViewerModel, add: Open, tmp_path: Path) -> None:
    add("one", 0.5)
    assert edited_tissue(viewer.layers, tmp_path / "one.tif") is None
    mask = add_mask(viewer, tmp_path / "one.tif", 0.5)
    assert edited_tissue(viewer.layers, tmp_path / "one.tif") is None
    mask.data = 1 - mask.data
    edited = edited_tissue(viewer.layers, tmp_path / "one.tif")
    assert edited is not None and np.array_equal(edited.mask.array, mask.data > 0)
    mask.data = 1 - mask.data
    assert edited_tissue(viewer.layers, tmp_path / "one.tif") is None


def test_um_per_px_given_by_hand_place_the_slide_and_its_mask(viewer: ViewerModel, add: Open, tmp_path: Path) -> None:
    layer, other = add("bare", None), add("other", 0.5)
    mask = add_mask(viewer, tmp_path / "bare.tif", 1.0)
    before = mask.scale.copy()
    set_mpp(viewer.layers, layer, 0.25)
    assert layer.scale.tolist() == [0.25, 0.25] and "micro" in str(layer.units[0])
    assert layer.metadata[KEY]["mpp"] == 0.25 and layer.metadata[KEY]["mpp_source"] == "override"
    assert layer.metadata[KEY]["mpp_problem"] == ""
    assert np.allclose(mask.scale, before * 0.25) and np.allclose(mask.translate, (25 - 0.5) * 0.25)
    assert other.scale.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("mpp", [0.0, -1.0, 1000.0, float("nan")])
def test_an_implausible_resolution_changes_nothing(viewer: ViewerModel, add: Open, mpp: float) -> None:
    layer = add("bare", None)
    before = layer.scale.tolist(), dict(layer.metadata[KEY])
    with pytest.raises(ResolutionError):
        set_mpp(viewer.layers, layer, mpp)
    assert (layer.scale.tolist(), layer.metadata[KEY]) == before


def test_a_resolution_that_no_glass_could_hold_changes_nothing(viewer: ViewerModel, add: Open) -> None:
    layer = add("bare", None)
    layer.metadata[KEY]["dimensions"] = (100_000, 1000)
    before = layer.scale.tolist(), dict(layer.metadata[KEY])
    with pytest.raises(ResolutionError):
        set_mpp(viewer.layers, layer, 4.0)
    assert (layer.scale.tolist(), layer.metadata[KEY]) == before
    set_mpp(viewer.layers, layer, 0.25)
    assert layer.metadata[KEY]["mpp"] == 0.25


def test_a_slide_that_changes_while_its_tissue_is_sought_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_pyramid(tmp_path / "a.tif", coordinate_pixels(300, 400), 0.5)

    def segment(slide: Slide) -> Raster:
        path.write_bytes(path.read_bytes() + b"more")
        return segment_tissue(slide)

    monkeypatch.setattr("lrmil.patches.tissue.segment_tissue", segment)
    with pytest.raises(SlideError, match="changed"):
        list(tissue_steps(SlideSource("a", path)))


def test_the_tissue_is_found_at_the_resolution_that_was_given(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "bare.tif", coordinate_pixels(300, 400), None, style="plain")
    found = last(tissue_steps(SlideSource("a name", path, 0.5)))
    assert (
        found.mpp == 0.5
        and found.of.slide_id == "a name"
        and found.of.path == path
        and found.tissue.array.dtype == bool
    )


def test_a_mask_that_the_user_renamed_is_still_used(viewer: ViewerModel, add: Open, tmp_path: Path) -> None:
    add("one", 0.5)
    add("other", 0.5)
    mask = add_mask(viewer, tmp_path / "one.tif", 0.5)
    mask.data = np.ones_like(mask.data)
    mask.name = "without the fold"
    viewer.add_labels(np.zeros((4, 4), np.uint8), name="tissue: other")  # a layer of the user's own
    assert (
        find_tissue_layer(viewer.layers, tmp_path / "one.tif") is mask
        and find_tissue_layer(viewer.layers, tmp_path / "other.tif") is None
    )
    edited = edited_tissue(viewer.layers, tmp_path / "one.tif")
    assert (
        edited is not None and edited.mask.array.all() and edited_tissue(viewer.layers, tmp_path / "other.tif") is None
    )
