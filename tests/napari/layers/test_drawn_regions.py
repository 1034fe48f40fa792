"""Shapes mean the level-0 pixels that they cover, wherever their layer and the slide lie."""

from collections.abc import Sequence

import numpy as np
import pytest
from napari.components import ViewerModel

from lrmil.errors import TissueError
from lrmil.patches.drawn_regions import Regions
from lrmil.patches.geojson_masks import Area
from lrmil.raster import Raster
from napari.layers import Image, Shapes
from napari_lrmil.layers.build import KEY
from napari_lrmil.layers.drawn_regions import LEFT_OUT, claim, drawn_in, drawn_on, regions_layer, regions_of

SIDE, SHIFT = 40, np.array([0, 8])
BOX = np.array([[10, 20], [10, 30], [20, 30], [20, 20]], float)  # level-0 corners


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


def add_slide(viewer: ViewerModel, path: str = "a.svs", **place: object) -> Image:
    about = {"path": path, "fingerprint": f"of {path}", "dimensions": (SIDE, SIDE)}
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    return viewer.add_image(pixels, rgb=True, name=path, metadata={KEY: about}, **place)


def covered(regions: Regions) -> np.ndarray:
    whole = Raster.on_lattice(np.ones((SIDE, SIDE), bool), cell_level0=1.0, origin_yx=(0.0, 0.0))
    return np.asarray(regions.inside(whole).array)


def box_mask(*corners: Sequence[int]) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    for top, left, bottom, right in corners or [(10, 20, 20, 30)]:
        mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize(
    "place",
    [
        {},
        {"scale": (0.5, 0.5)},
        {"scale": (0.25, 0.25), "translate": (3.0, -7.0)},
        {"scale": (2.0, 2.0), "rotate": 30},
    ],
)
@pytest.mark.parametrize("kind", ["polygon", "rectangle"])
def test_the_transforms_of_both_layers_count(viewer: ViewerModel, place: dict[str, object], kind: str) -> None:
    slide = add_slide(viewer, scale=(0.5, 0.5), units=("um", "um"))
    shapes = Shapes(ndim=2, units=("um", "um"), **place)
    world = [slide.data_to_world(corner - 0.5) for corner in BOX]
    shapes.add([np.array([shapes.world_to_data(point) for point in world])], shape_type=kind)
    np.testing.assert_array_equal(covered(regions_of(shapes, slide, inside=True)), box_mask())
    np.testing.assert_array_equal(covered(regions_of(shapes, slide, inside=False)), ~box_mask())


def test_another_unit_of_length_is_converted(viewer: ViewerModel) -> None:
    slide = add_slide(viewer, scale=(0.5, 0.5), units=("um", "um"))
    shapes = Shapes([(BOX - 0.5) * 0.0005], units=("mm", "mm"))
    np.testing.assert_array_equal(covered(regions_of(shapes, slide, inside=True)), box_mask())


def test_an_ellipse_is_round_and_lines_do_not_count(viewer: ViewerModel) -> None:
    slide = add_slide(viewer)
    shapes = Shapes([BOX - 0.5], shape_type="ellipse")
    shapes.add([[0, 0], [5, 5]], shape_type="line")
    rows, cols = np.mgrid[:SIDE, :SIDE] + 0.5
    found = covered(regions_of(shapes, slide, inside=True))
    np.testing.assert_array_equal(found, (rows - 15) ** 2 + (cols - 25) ** 2 < 25)
    assert regions_of(shapes, slide, inside=True).used.words == "inside 1 region"


@pytest.mark.parametrize("what", ["nothing", "lines", "a shape beside the slide"])
def test_what_gives_no_region_is_refused_with_words(viewer: ViewerModel, what: str) -> None:
    slide, shapes = add_slide(viewer), Shapes(ndim=2, name="mine")
    if what == "lines":
        shapes.add([[[0, 0], [5, 5]]], shape_type="line")
        shapes.add([[[0, 0], [5, 5], [0, 9]]], shape_type="path")
    elif what == "a shape beside the slide":
        shapes.add([BOX, BOX + 100])
    with pytest.raises(TissueError, match="mine"):
        regions_of(shapes, slide, inside=True)


def test_regions_from_a_file_mean_the_same_as_layer(viewer: ViewerModel) -> None:
    slide = add_slide(viewer, scale=(0.5, 0.5), translate=(1.0, 2.0), units=("um", "um"))
    hole = np.array([[12, 22], [12, 25], [15, 25], [15, 22]], float)
    other = np.array([[16, 22], [16, 25], [18, 25], [18, 22]], float)
    areas = Area((BOX, hole, other), False, 0), Area((BOX - 8,), False, 1), Area((BOX + SHIFT,), True, 2)
    regions = Regions(areas)
    data, keywords, _ = regions_layer(regions, slide, name="regions")
    shapes = viewer.add_shapes(data, **keywords)
    found = regions_of(shapes, slide, inside=True)
    np.testing.assert_array_equal(covered(found), covered(regions))
    assert found.used.words == regions.used.words == "inside 2 regions, without 1"
    shapes.add([BOX + 5])
    assert shapes.features[LEFT_OUT].tolist() == [False, False, True, False]


def test_a_layer_belongs_to_the_file_that_it_was_drawn_on(viewer: ViewerModel) -> None:
    slide, other = add_slide(viewer), add_slide(viewer, "b.svs")
    shapes = viewer.add_shapes([BOX])
    assert drawn_in(viewer.layers) == [shapes] and drawn_on(viewer.layers, slide) == []
    claim(shapes, slide)
    assert drawn_on(viewer.layers, slide) == [shapes] and drawn_on(viewer.layers, other) == []
    viewer.add_shapes([BOX], metadata={KEY: {"slide_id": "a", "gallery": True}})
    assert drawn_in(viewer.layers) == [shapes]
