"""Masks drawn in other programs: contours, annotations, holes, and what is no mask."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from lrmil.errors import TissueError
from lrmil.patches import geojson_masks
from lrmil.patches.masks import read_mask
from lrmil.slides.opening import open_slide
from lrmil.slides.slide import Slide
from support.outlines import HEIGHT, WIDTH, Ring, box, collection, expected, feature
from support.slides import write_pyramid


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.full((HEIGHT, WIDTH, 3), 243, np.uint8)
    return write_pyramid(tmp_path_factory.mktemp("slides") / "a.ome.tif", pixels, 1.0, factors=(4,))


@pytest.fixture
def slide(slide_path: Path) -> Slide:
    return open_slide(slide_path)


def read(folder: Path, slide: Slide, document: object) -> np.ndarray:
    path = folder / "a.geojson"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    raster = read_mask(path, slide)
    assert raster.cell_yx == (8.0, 8.0) and raster.origin_yx == (0.0, 0.0) and raster.array.dtype == bool
    return np.asarray(raster.array)


class TestGeojson:
    def test_contours_of_trident_with_a_hole(self, slide: Slide, tmp_path: Path) -> None:
        document = collection(
            feature(box(80, 160, 480, 640), box(160, 240, 320, 400), tissue_id=0),
            feature(box(800, 80, 1200, 800), tissue_id=1),
        )
        found = read(tmp_path, slide, {**document, "crs": None, "name": "a"})
        hole = expected((160, 240, 320, 400))
        np.testing.assert_array_equal(found, expected((80, 160, 480, 640), (800, 80, 1200, 800)) & ~hole)

    @pytest.mark.parametrize("packed", [False, True])
    @pytest.mark.parametrize("bare", [False, True])
    def test_annotations_of_qupath(self, slide: Slide, tmp_path: Path, *, packed: bool, bare: bool) -> None:
        tissue = feature(box(80, 80, 720, 720), objectType="annotation", classification={"name": "Tissue"})
        several = {
            "type": "Feature",
            "id": "6b0a9c12-0000-4000-8000-000000000000",
            "properties": {"objectType": "annotation", "measurements": {"Area": "NaN"}},
            "geometry": {"type": "MultiPolygon", "coordinates": [[box(800, 80, 880, 160)], [box(960, 80, 1040, 160)]]},
        }
        features = [tissue, several]
        path = tmp_path / ("a.geojson.gz" if packed else "a.geojson")
        data = json.dumps(features if bare else collection(*features)).encode()
        path.write_bytes(gzip.compress(data) if packed else data)
        found = read_mask(path, slide).array
        boxes = (80, 80, 720, 720), (800, 80, 880, 160), (960, 80, 1040, 160)
        np.testing.assert_array_equal(found, expected(*boxes))

    @pytest.mark.parametrize(
        "said",
        [
            {"name": "Ignore*"},
            {"name": "Ignore* : folds"},
            {"names": ["Ignore*", "pen"]},
            "ignore",
        ],
    )
    def test_what_is_to_be_ignored_is_left_out_whatever_the_order(
        self, slide: Slide, tmp_path: Path, said: object
    ) -> None:
        features = [
            feature(box(160, 160, 320, 320), objectType="annotation", classification=said),
            feature(box(80, 80, 720, 720), objectType="annotation"),
        ]
        ignored = expected((160, 160, 320, 320))
        for order in (features, features[::-1]):
            np.testing.assert_array_equal(
                read(tmp_path, slide, collection(*order)), expected((80, 80, 720, 720)) & ~ignored
            )

    @pytest.mark.parametrize("kind", ["Polygon", "MultiPolygon"])
    def test_a_geometry_alone(self, slide: Slide, tmp_path: Path, kind: str) -> None:
        rings = [[[0, 0], [80, 0], [80, 80], [0, 80], [0, 0]]]
        alone = {"type": kind, "coordinates": rings if kind == "Polygon" else [rings]}
        whole = {"type": "Feature", "properties": {}, "geometry": alone}
        found = read(tmp_path, slide, alone)
        assert found.any() and (found == read(tmp_path, slide, whole)).all()

    def test_objects_within_objects_and_without_area(self, slide: Slide, tmp_path: Path) -> None:
        child = feature(box(160, 160, 320, 320), objectType="annotation", classification={"name": "Ignore*"})
        parent = feature(box(80, 80, 720, 720), objectType="annotation", childObjects=[child])
        point = {"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [5, 5]}}
        tile = feature(box(0, 0, 1200, 800), objectType="tile")
        bare = {"type": "Feature", "properties": None, "geometry": None}
        found = read(tmp_path, slide, collection(point, tile, parent, bare))
        np.testing.assert_array_equal(found, expected((80, 80, 720, 720)) & ~expected((160, 160, 320, 320)))

    @pytest.mark.parametrize(
        "ring",
        [
            box(80, 80, 2400, 720),
            box(80, 80, 720, 1600),
            box(-300, 80, 720, 720),
            box(80, -300, 720, 720),
        ],
    )
    def test_outlines_of_another_slide(self, slide: Slide, tmp_path: Path, ring: Ring) -> None:
        with pytest.raises(TissueError, match="1200 x 800 px"):
            read(tmp_path, slide, collection(feature(ring)))

    def test_part_of_a_pixel_past_the_edge_is_no_other_slide(self, slide: Slide, tmp_path: Path) -> None:
        assert read(tmp_path, slide, collection(feature(box(-1, -1, WIDTH + 3, HEIGHT + 3)))).all()

    @pytest.mark.parametrize(
        "document",
        [
            "",
            "{",
            "[]",
            "{}",
            "null",
            "7",
            '"text"',
            "[" * 100,
            '[{"type": "Feature"}]',
            collection(),
            collection(None),
            collection([]),
            collection(feature(box(0, 0, 80, 80), objectType="detection")),
            collection(feature(box(0, 0, 80, 80), classification={"name": "Ignore*"})),
            collection(feature([[0, 0], [1, 1]])),
            collection(feature([[0, 0], [80, 0], [80]])),
            collection(feature([[0, 0], [80, 0], ["80", 80]])),
            collection(feature([[0, 0], [80, 0], [True, 80]])),
            collection(feature([[0, 0], [80, 0], None])),
            collection(feature({"a": 1})),  # type: ignore[arg-type]
            collection({"type": "Feature", "properties": {}, "geometry": {"type": "Circle", "coordinates": [1]}}),
            collection({"type": "Feature", "properties": [], "geometry": {"type": "Polygon", "coordinates": 3}}),
            collection({"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [3]}}),
            {"type": "FeatureCollection", "features": 5},
            '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": '
            '{"type": "Polygon", "coordinates": [[[0, 0], [NaN, 0], [80, 80]]]}}]}',
            collection(feature([[0, 0], [1e300, 0], [80, 80]])),
            '[{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[0,0],[1e999,0],[80,80]]]}}]',
            '[{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[0,0],[' + "9" * 400 + ",0],[80,80]]]}}]",
            json.loads('{"type": "Topology"}'),
        ],
    )
    def test_what_is_no_mask_is_one_clear_error(self, slide: Slide, tmp_path: Path, document: object) -> None:
        with pytest.raises(TissueError, match=r"mask of a .*a\.geojson") as found:
            read(tmp_path, slide, document)
        assert str(tmp_path) not in str(found.value)

    def test_a_file_that_unfolds_beyond_all_measure(
        self, slide: Slide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(geojson_masks, "MAX_BYTES", 1 << 20)
        (tmp_path / "a.geojson").write_bytes(gzip.compress(b" " * (2 << 20)))
        (tmp_path / "b.geojson").write_bytes(b" " * (2 << 20))
        (tmp_path / "c.geojson").write_bytes(gzip.compress(json.dumps(collection()).encode())[:-4])
        for name in "abc":
            with pytest.raises(TissueError, match=rf"{name}\.geojson"):
                read_mask(tmp_path / f"{name}.geojson", slide)
