"""Shapes count for the slide on which they were made, as its file was then, and for no other."""

import json
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel

from lrmil.errors import TissueError
from napari_lrmil.layers.build import KEY
from napari_lrmil.layers.drawn_regions import drawn_on
from napari_lrmil.layers.reader import read_slides
from napari_lrmil.session.opened_slide import set_mpp
from napari_lrmil.session.session import Session
from napari_lrmil.session.where import Where, import_regions
from support.cli import write_outline

BOX = np.array([[10, 20], [10, 30], [20, 30], [20, 20]], float)


def add_slide(viewer: ViewerModel, path: str) -> object:
    about = {"path": path, "fingerprint": f"of {path}", "dimensions": (40, 40), "mpp": 0.5, "mpp_source": "x"}
    return viewer.add_image(np.zeros((40, 40, 3), np.uint8), rgb=True, metadata={KEY: about})


def test_a_new_layer_belongs_to_the_slide_on_screen(viewer: ViewerModel, session: Session) -> None:
    first, second = add_slide(viewer, "a/HE.svs"), add_slide(viewer, "b/HE.svs")
    on_second = viewer.add_shapes([BOX])
    session.choose(first)
    on_first = viewer.add_shapes([BOX])
    assert drawn_on(viewer.layers, first) == [on_first] and drawn_on(viewer.layers, second) == [on_second]
    assert on_first.visible and not on_second.visible
    with pytest.raises(TissueError, match="another slide"):
        Where(on_second, inside=True).drawn(first)
    drawn = Where(on_first, inside=False).drawn(first)
    assert drawn.fingerprint == "of a/HE.svs" and drawn.regions.used.words == "outside 1 region"


def test_shapes_from_before_belong_to_the_only_slide(viewer: ViewerModel, session: Session) -> None:
    shapes = viewer.add_shapes([BOX])
    first = add_slide(viewer, "a/HE.svs")
    assert drawn_on(viewer.layers, first) == [shapes]


def test_shapes_from_before_belong_to_none_of_several(viewer: ViewerModel) -> None:
    slides = [add_slide(viewer, "a/HE.svs"), add_slide(viewer, "b/HE.svs")]
    viewer.add_shapes([BOX])
    Session(viewer)
    assert [drawn_on(viewer.layers, slide) for slide in slides] == [[], []]


def test_regions_are_imported_on_their_slide(
    viewer: ViewerModel, session: Session, cohort: Path, tmp_path: Path
) -> None:
    ((data, keywords, _),) = read_slides(str(cohort / "slides/demo-001.ome.tif"))
    slide = viewer.add_image(data, **keywords)
    path = write_outline(tmp_path, "any")
    shapes = import_regions(viewer, slide, path)
    ring = Where(shapes, inside=True).drawn(slide).regions.areas[0].rings[0]
    np.testing.assert_allclose(ring[:4], [[0, 0], [0, 900], [900, 900], [900, 0]], atol=1e-6)
    path.write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    with pytest.raises(TissueError, match=r"any\.geojson"):
        import_regions(viewer, slide, path)
    slide.metadata[KEY]["fingerprint"] = "of earlier content"
    with pytest.raises(TissueError, match="earlier version"):
        import_regions(viewer, slide, write_outline(tmp_path, "other"))


def test_what_was_drawn_stays_where_it_is_when_the_slide_gets_its_resolution(
    viewer: ViewerModel, session: Session
) -> None:
    about = {"path": "a.svs", "fingerprint": "f", "dimensions": (40, 40), "mpp": None, "mpp_source": ""}
    slide = viewer.add_image(np.zeros((40, 40, 3), np.uint8), rgb=True, metadata={KEY: about})
    shapes = viewer.add_shapes([BOX - 0.5])
    before = Where(shapes, inside=True).drawn(slide).regions
    set_mpp(viewer.layers, slide, 0.5)
    assert shapes.scale.tolist() == [0.5, 0.5] and shapes.units == slide.units
    after = Where(shapes, inside=True).drawn(slide).regions
    np.testing.assert_allclose(after.areas[0].rings[0], before.areas[0].rings[0])
