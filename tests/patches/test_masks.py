"""Tissue masks of other tools are read as they mean them; those of another slide, and broken ones, are refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lrmil.cli import main
from lrmil.errors import TissueError
from lrmil.features.extraction import extract_features
from lrmil.features.store import read_card
from lrmil.io.raster_zarr import write_ome_zarr
from lrmil.models.bundle import Bundle, load_bundle
from lrmil.models.encoders.loading import PatchEncoder, encoder_hash
from lrmil.patches.masks import find_masks, given_mask, read_mask
from lrmil.patches.plan import PatchPlan
from lrmil.prediction.batch import predict_slides
from lrmil.raster import Raster
from lrmil.slides.opening import open_slide
from lrmil.slides.slide import Slide
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from support.outlines import HEIGHT, WIDTH, box, collection, expected, feature
from support.runs import ON_CPU, TinyRun, tiny_encoder
from support.slides import write_pyramid


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pixels = np.full((HEIGHT, WIDTH, 3), 243, np.uint8)
    return write_pyramid(tmp_path_factory.mktemp("slides") / "a.ome.tif", pixels, 1.0, factors=(4,))


@pytest.fixture
def slide(slide_path: Path) -> Slide:
    return open_slide(slide_path)


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
        assert any("demo-000.geojson" in note for note in rows[0].notes)
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
