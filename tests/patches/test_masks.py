"""Tissue masks of other tools are read as they mean them; those of another slide, and broken ones, are refused."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lrmil.cli import main
from lrmil.errors import ConfigError, TissueError
from lrmil.features.extraction import extract_features
from lrmil.features.store import read_card
from lrmil.io.raster_zarr import write_ome_zarr
from lrmil.models.bundle import Bundle, load_bundle
from lrmil.models.encoders.loading import PatchEncoder, encoder_hash
from lrmil.patches import geojson_masks
from lrmil.patches.masks import find_masks, given_mask, read_mask
from lrmil.patches.plan import PatchPlan
from lrmil.prediction.batch import predict_slides
from lrmil.raster import Raster
from lrmil.slides.slide import Slide, open_slide
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from support.runs import ON_CPU, TinyRun, tiny_encoder
from support.slides import write_pyramid

WIDTH, HEIGHT = 1200, 800  # px at 1 um/px: a mask of 150 x 100 cells of 8 um
Ring = list[list[float]]


def box(left: float, top: float, right: float, bottom: float) -> Ring:
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def feature(*rings: Ring, **properties: object) -> dict[str, Any]:
    return {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": list(rings)}}


def collection(*features: object) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


def expected(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Cells of 8 px in boxes of left, top, right, bottom in level-0 px."""
    mask = np.zeros((HEIGHT // 8, WIDTH // 8), bool)
    for left, top, right, bottom in boxes:
        mask[top // 8 : bottom // 8, left // 8 : right // 8] = True
    return mask


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


class TestPicture:
    @pytest.mark.parametrize("size", [(150, 100), (149, 100), (151, 101), (300, 199)])
    def test_of_the_whole_slide(self, slide: Slide, tmp_path: Path, size: tuple[int, int]) -> None:
        picture = Image.new("L", size)
        picture.paste(255, (0, 0, size[0] // 2, size[1]))
        picture.save(tmp_path / "a_mask_use.png")
        raster = read_mask(tmp_path / "a_mask_use.png", slide)
        assert raster.cell_yx == (HEIGHT / size[1], WIDTH / size[0])
        halves = np.array([[100, 50], [100, 700]])
        np.testing.assert_allclose(raster.mean_over(halves, 400.0), [1, 0], atol=0.02)

    @pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
    @pytest.mark.parametrize("value", [1, 255])
    def test_of_any_mode(self, slide: Slide, tmp_path: Path, mode: str, value: int) -> None:
        array = np.zeros((100, 150), np.uint8)
        array[20:40] = value
        Image.fromarray(array).convert("L").save(tmp_path / "l.png")
        grey = Image.fromarray(array)
        path = tmp_path / "m.png"
        (grey.point(lambda x: 255 * (x > 0)).convert("1") if mode == "1" else grey.convert(mode)).save(path)
        np.testing.assert_array_equal(read_mask(path, slide).array, array > 0)

    @pytest.mark.parametrize("size", [(100, 150), (150, 110), (160, 100), (3000, 2000), (3, 2)])
    def test_of_another_slide(self, slide: Slide, tmp_path: Path, size: tuple[int, int]) -> None:
        Image.new("L", size, 255).save(tmp_path / "a.png")
        with pytest.raises(TissueError, match=rf"1200 x 800 px.* {size[0]} x {size[1]} px"):
            read_mask(tmp_path / "a.png", slide)

    def test_broken_or_absurd(self, slide: Slide, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (100, 150), np.uint8)).save(path)
        whole = path.read_bytes()
        bomb = whole[:16] + (1_500_000).to_bytes(4, "big") + (1_000_000).to_bytes(4, "big") + whole[24:]
        for data in (whole[:8], whole[:20], whole[:5000], bomb):
            path.write_bytes(data)
            with pytest.raises(TissueError, match="mask of a ") as found:
                read_mask(path, slide)
            assert "JSON" not in str(found.value)

    @pytest.mark.parametrize("start", [b"II*\0\x08\0\0\0", b"\xff\xd8\xff\xe0\0\x10JFIF", b"\x89HDF\r\n\x1a\n\0"])
    def test_a_file_of_another_kind_is_not_called_json(self, slide: Slide, tmp_path: Path, start: bytes) -> None:
        (tmp_path / "a_mask_use.png").write_bytes(start + bytes(100))
        with pytest.raises(TissueError, match=r"a_mask_use\.png"):
            read_mask(tmp_path / "a_mask_use.png", slide)


class TestOwn:
    def test_an_edited_mask(self, slide: Slide, tmp_path: Path) -> None:
        mask = expected((80, 80, 720, 720))
        path = tmp_path / "a.tissue.ome.zarr"
        raster = Raster.on_lattice(mask, cell_level0=8.0, origin_yx=(0.0, 0.0))
        write_ome_zarr(path, raster, mpp=1.0, mpp_source="test")
        np.testing.assert_array_equal(read_mask(path, slide).array, mask)
        write_ome_zarr(
            path, Raster.on_lattice(mask, cell_level0=16.0, origin_yx=(0.0, 0.0)), mpp=1.0, mpp_source="test"
        )
        with pytest.raises(TissueError, match="2400 x 1600 px"):
            read_mask(path, slide)


class TestFinding:
    SOURCE = SlideSource("a", Path("slides/a.svs"))

    @pytest.mark.parametrize(
        "name",
        [
            "a.geojson",
            "a.svs.geojson",
            "a.geojson.gz",
            "a_mask_use.png",
            "a.svs_mask_use.png",
            "a.svs/a.svs_mask_use.png",
            "contours_geojson/a.geojson",
            "a.tissue.ome.zarr",
        ],
    )
    def test_by_the_names_of_every_tool(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.mkdir() if name.endswith(".zarr") else path.write_text("")
        assert find_masks(tmp_path, [self.SOURCE, SlideSource("b", Path("b.svs"))]) == {"a": path}

    def test_an_edited_mask_counts_before_the_map_beside_it(self, tmp_path: Path) -> None:
        (tmp_path / "a.geojson").write_text("")
        (tmp_path / "a.tissue.ome.zarr").mkdir()
        assert find_masks(tmp_path, [self.SOURCE]) == {"a": tmp_path / "a.tissue.ome.zarr"}

    def test_one_file_is_of_one_slide(self, tmp_path: Path) -> None:
        path = tmp_path / "whatever.json"
        path.write_text("")
        assert find_masks(path, [self.SOURCE]) == {"a": path}
        with pytest.raises(ConfigError, match=r"whatever\.json"):
            find_masks(path, [self.SOURCE, SlideSource("b", Path("b.svs"))])

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"masks at .*masks"):
            find_masks(tmp_path / "masks", [self.SOURCE])

    def test_none_or_two(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"a\.tissue\.ome\.zarr"):
            find_masks(tmp_path, [self.SOURCE])
        for name in ("a.geojson", "a_mask_use.png"):
            (tmp_path / name).write_text("")
        with pytest.raises(ConfigError, match=r"a\.geojson and a_mask_use\.png"):
            find_masks(tmp_path, [self.SOURCE])


class TestCommands:
    @pytest.fixture
    def bundle(self, tiny_run: TinyRun) -> Bundle:
        return load_bundle(tiny_run.folder / "model")

    @pytest.fixture
    def masks(self, slides: list[SlideSource], tmp_path: Path) -> Path:
        """A mask of the left half of the first slide, a broken one of the second, none of the third."""
        folder = tmp_path / "masks"
        folder.mkdir()
        with open_slide(slides[0].path) as slide:
            width, height = slide.dimensions
        (folder / f"{slides[0].slide_id}.geojson").write_text(
            json.dumps(collection(feature(box(0, 0, width / 2, height))))
        )
        (folder / f"{slides[1].slide_id}.geojson").write_text("{")
        return folder

    def test_a_bad_mask_fails_its_slide_alone(
        self, slides: list[SlideSource], bundle: Bundle, masks: Path, tmp_path: Path
    ) -> None:
        given = {slide_id: given_mask(path) for slide_id, path in find_masks(masks, slides).items()}
        out = tmp_path / "out"
        steps = list(predict_slides(slides, bundle, out, ON_CPU, tissue=given))
        rows = steps[-1].result
        assert rows is not None and [row.status for row in rows] == ["ok", "failed", "ok"]
        assert "demo-000.geojson" in rows[0].notes[-1]
        assert rows[1].reason == "tissue" and "demo-001" in rows[1].message
        assert not any(".geojson" in note for note in rows[2].notes)
        assert any(step.message.startswith("demo-001: ") for step in steps), "the console must name the slide"
        again = last(predict_slides(slides[:1], bundle, out, ON_CPU, tissue=given))
        assert again[0].notes == rows[0].notes
        whole = last(predict_slides(slides[:1], bundle, tmp_path / "whole", ON_CPU))
        assert rows[0].n_patches < whole[0].n_patches

    def test_features_are_of_their_mask(self, slides: list[SlideSource], masks: Path, tmp_path: Path) -> None:
        network = tiny_encoder()
        encoder, plan = PatchEncoder(network, torch.device("cpu"), batch_size=8), PatchPlan(mpp=2.0, size=64)
        given = {slide_id: given_mask(path) for slide_id, path in find_masks(masks, slides).items()}

        def extract(**options: Any) -> list[bool]:
            steps = extract_features(slides[:1], encoder, encoder_hash(network), tmp_path / "out", plan, **options)
            return [outcome.computed for outcome in last(steps)]

        assert extract() == [True] and extract() == [False]
        total = read_card(tmp_path / "out/demo-000.zarr").total
        assert extract(tissue=given) == [True] and extract(tissue=given) == [False]
        card = read_card(tmp_path / "out/demo-000.zarr")
        assert card.total < total and any("demo-000.geojson" in note for note in card.notes)
        assert extract() == [True]

    def test_inspect_takes_it_too(
        self, slides: list[SlideSource], masks: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["inspect", str(slides[0].path), "--tissue", str(masks), "--json"]) == 0
        (facts,) = json.loads(capsys.readouterr().out)
        assert "demo-000.geojson" in facts["notes"] and "not_tissue" not in facts
        assert main(["inspect", str(slides[1].path), str(slides[2].path), "--tissue", str(masks), "--json"]) == 1
        broken, free = json.loads(capsys.readouterr().out)
        assert broken["status"] == "failed" and broken["reason"] == "tissue"
        assert free["status"] == "ok" and free["not_tissue"].startswith("glass ")
