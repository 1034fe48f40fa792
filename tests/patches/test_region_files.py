"""Regions drawn in QuPath: which file is whose, what counts in it, and what is refused."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from lrmil.errors import ConfigError, TissueError
from lrmil.patches.region_files import find_regions, read_regions
from lrmil.raster import Raster
from lrmil.slides.opening import open_slide
from lrmil.slides.slide import Slide
from lrmil.slides.source import SlideSource
from support.outlines import HEIGHT, WIDTH, box, collection, expected, feature
from support.slides import write_pyramid

A, B = SlideSource("a", Path("a.svs")), SlideSource("b", Path("b.svs"))
ONE = collection(feature(box(80, 80, 160, 160), objectType="annotation"))


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Slide:
    pixels = np.full((HEIGHT, WIDTH, 3), 243, np.uint8)
    return open_slide(write_pyramid(tmp_path_factory.mktemp("slides") / "a.ome.tif", pixels, 1.0, factors=(4,)))


def write(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


def test_classes_decide_what_counts(slide: Slide, tmp_path: Path) -> None:
    kinds = {"Tumor": box(80, 80, 400, 400), "Ignore*": box(80, 80, 160, 400), "Exclude": box(320, 80, 400, 400)}
    features = [feature(ring, objectType="annotation", classification={"name": name}) for name, ring in kinds.items()]
    point = {"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [1, 2]}}
    regions = read_regions(write(tmp_path / "a.geojson", collection(*features, point)), slide)
    assert regions.used.words == "inside 1 region, without 2"
    tissue = Raster.on_lattice(np.ones((HEIGHT // 8, WIDTH // 8), bool), cell_level0=8.0, origin_yx=(0.0, 0.0))
    np.testing.assert_array_equal(regions.inside(tissue).array, expected((160, 80, 320, 400)))


def test_a_multipolygon_is_one_region_and_a_bare_geometry_one_too(slide: Slide, tmp_path: Path) -> None:
    rings = [[box(800, 80, 880, 160)], [box(960, 80, 1040, 160)]]
    geometry = {"type": "MultiPolygon", "coordinates": rings}
    regions = read_regions(write(tmp_path / "a.geojson", geometry), slide)
    assert len(regions.areas) == 2 and regions.used.words == "inside 1 region"


def test_only_what_is_left_out_means_the_rest_of_the_slide(slide: Slide, tmp_path: Path) -> None:
    ignored = feature(box(80, 80, 160, 160), classification={"name": "Ignore*"})
    assert read_regions(write(tmp_path / "a.geojson", collection(ignored)), slide).used.words == "outside 1 region"


@pytest.mark.parametrize(
    "document",
    [
        {"a": 1},
        collection(),
        collection(feature(box(0, 0, 9, 9), objectType="tile")),
        collection({"type": "Feature", "properties": {}, "geometry": {"type": "LineString", "coordinates": [[0, 0]]}}),
        collection(feature(box(0, 0, 5000, 9))),
        collection(feature([[0, 0], [1, 1]])),
        collection(feature([[0, 0], [1, "x"], [2, 2]])),
    ],
)
def test_what_has_no_regions_of_this_slide_is_refused(slide: Slide, tmp_path: Path, document: object) -> None:
    with pytest.raises(TissueError, match=r"a\.geojson|another slide|outline"):
        read_regions(write(tmp_path / "a.geojson", document), slide)


def test_coordinates_may_begin_at_the_corner_of_the_scanned_area(
    slide: Slide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.geojson", ONE)
    monkeypatch.setattr(Slide, "origin_yx", (16, 24))
    assert read_regions(path, slide).areas[0].rings[0][0].tolist() == [80, 80]
    assert read_regions(path, slide, subtract_bounds=True).areas[0].rings[0][0].tolist() == [96, 104]


def test_a_folder_has_a_file_for_each_slide(slide: Slide, tmp_path: Path) -> None:
    write(tmp_path / "a.geojson", ONE)
    found = find_regions(tmp_path, [A, B])
    read = pickle.loads(pickle.dumps(found["a"]))  # as it is sent to another process
    assert read(slide).used.words == "inside 1 region"
    with pytest.raises(TissueError, match=r"b\.geojson|whole slide"):
        found["b"](slide)


def test_one_file_is_of_one_slide(slide: Slide, tmp_path: Path) -> None:
    path = write(tmp_path / "mine.geojson", ONE)
    assert find_regions(path, [A])["a"](slide).used.inside == 1
    with pytest.raises(ConfigError, match="2 slides"):
        find_regions(path, [A, B])


def test_what_cannot_be_of_these_slides_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no file"):
        find_regions(tmp_path / "absent", [A])
    with pytest.raises(ConfigError, match=r"a\.geojson"):
        find_regions(tmp_path, [A])
    write(tmp_path / "a.geojson", ONE)
    write(tmp_path / "a.svs.geojson", ONE)
    with pytest.raises(ConfigError, match="several"):
        find_regions(tmp_path, [A])
