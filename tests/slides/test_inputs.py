"""No output takes the place of an input, or lies in one; masks, tables and finished runs of before are kept."""

import csv
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from lrmil import cli
from lrmil.errors import OutputError, OverwriteError
from lrmil.models.bundle import Bundle, load_bundle, save_bundle
from lrmil.patches.tissue import segment_tissue
from lrmil.prediction import files
from lrmil.prediction.batch import predict_slides
from lrmil.prediction.files import is_mask_edited, read_prediction, read_tissue
from lrmil.prediction.one import predict_one
from lrmil.prediction.options import PredictOptions
from lrmil.prediction.table import PredictionRow
from lrmil.raster import Raster
from lrmil.slides.inputs import Inputs
from lrmil.slides.opening import open_slide
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from support.runs import ON_CPU, TinyRun, tiny_bundle, tiny_encoder
from support.slides import write_ome_zarr_slide

CPU = ("--device", "cpu")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs") / "model"
    save_bundle(folder, tiny_bundle())
    return folder


@pytest.fixture(scope="module")
def bundle(model: Path) -> Bundle:
    return load_bundle(model)


@pytest.fixture
def slide(cohort: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(cohort / "slides/demo-000.ome.tif", tmp_path / "a.ome.tif"))


def lrmil(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def picture(path: Path, slide: Path) -> Path:
    """A slide that is a PNG."""
    Image.fromarray(tifffile.imread(slide)).save(path)
    return path


class TestInputs:
    def test_an_input_and_what_lies_in_it_are_hit(self, tmp_path: Path) -> None:
        (tmp_path / "model/encoder").mkdir(parents=True)
        (tmp_path / "labels.csv").write_text("x")
        read = Inputs(others=[tmp_path / "model", tmp_path / "labels.csv", None])
        for name in ("model", "model/x.json", "model/new/x.json", "labels.csv", "new/../labels.csv"):
            assert read.hit_by(tmp_path / name) is not None, name
        for name in ("models", "labels.csv2", "x.json", "new/model", "."):
            assert read.hit_by(tmp_path / name) is None, name

    @pytest.mark.parametrize("link", [os.symlink, os.link])
    def test_also_through_links(self, tmp_path: Path, link: Callable[[Path, Path], None]) -> None:
        (tmp_path / "labels.csv").write_text("x")
        link(tmp_path / "labels.csv", tmp_path / "other.csv")
        assert Inputs(others=[tmp_path / "labels.csv"]).hit_by(tmp_path / "other.csv") is not None
        assert Inputs(others=[tmp_path / "other.csv"]).hit_by(tmp_path / "labels.csv") is not None

    def test_also_through_linked_folders(self, tmp_path: Path) -> None:
        (tmp_path / "model").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "model")
        (tmp_path / "circle").symlink_to(tmp_path / "circle")
        assert Inputs(others=[tmp_path / "model"]).hit_by(tmp_path / "link/x.json") is not None
        assert Inputs(others=[tmp_path / "link"]).hit_by(tmp_path / "model/x.json") is not None
        assert Inputs(others=[tmp_path / "circle"]).hit_by(tmp_path / "model/x.json") is None

    def test_every_file_of_a_slide_counts(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        for name in ("a.mrxs", "a/Slidedat.ini", "b.vms", "b.jpg", "dicom/1.dcm", "c.zarr/zarr.json"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("ImageFile=b.jpg\n" if name == "b.vms" else "x")
        slides = [SlideSource(name, tmp_path / name) for name in ("a.mrxs", "b.vms", "dicom", "c.zarr")]
        read = Inputs(slides)
        hit = ("a.mrxs", "a", "a/x.json", "a/Slidedat.ini", "b.jpg", "dicom/x.json", "c.zarr", "c.zarr/x/y.json")
        assert [name for name in hit if read.hit_by(tmp_path / name) is None] == []
        assert read.hit_by(tmp_path / "a.json") is None and read.hit_by(tmp_path / "c.json") is None


class TestSlidesAsOutputs:
    def test_a_png_slide_is_not_replaced_by_its_overlay(self, slide: Path, model: Path, tmp_path: Path) -> None:
        folder = tmp_path / "pictures"
        folder.mkdir()
        before = picture(folder / "a.png", slide).read_bytes()
        options = ["--model", model, "--mpp", "0.5", *CPU]
        assert lrmil("predict", folder / "a.png", slide.rename(tmp_path / "b.ome.tif"), "--out", folder, *options) == 1
        good, failed = sorted(rows_of(folder / "predictions.csv"), key=lambda row: row["status"], reverse=True)
        assert (failed["status"], failed["reason"], good["status"]) == ("failed", "output", "ok")
        assert "the input 'a.png'" in failed["message"]
        assert lrmil("case", folder / "a.png", "--out", folder, *options) == 1
        assert (folder / "a.png").read_bytes() == before
        assert not [path.name for path in folder.glob("a.*") if path.name != "a.png"]

    def test_nor_another_slide_of_the_call(self, slide: Path, model: Path, tmp_path: Path) -> None:
        """The overlay of a.ome.tif would take the place of a.png, which is another slide."""
        (tmp_path / "x").mkdir()
        before = picture(tmp_path / "x/b.png", slide).read_bytes()
        shutil.copy(slide, tmp_path / "b.ome.tif")
        options = ["--out", tmp_path / "x", "--model", model, "--mpp", "0.5", *CPU]
        assert lrmil("predict", tmp_path / "b.ome.tif", slide, tmp_path / "x/b.png", *options) == 1
        assert (tmp_path / "x/b.png").read_bytes() == before

    def test_a_zarr_slide_is_not_replaced_by_its_features(
        self, slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("lrmil.models.encoders.loading.load_encoder", lambda *_, **__: tiny_encoder())
        write_ome_zarr_slide(tmp_path / "z/a.zarr", tifffile.imread(slide))
        before = content(tmp_path / "z")
        options = ["--encoder", "test", "--patch-size", "64", *CPU]
        assert lrmil("extract", tmp_path / "z/a.zarr", *options, "--out", tmp_path / "z") == 1
        assert lrmil("extract", tmp_path / "z/a.zarr", *options, "--out", tmp_path / "z/a.zarr/features") == 1
        after = content(tmp_path / "z")
        assert after.pop(".lrmil.lock") == b"" and after == before

    @pytest.mark.parametrize("where", ["", "new", "encoder"])
    def test_nothing_is_written_into_a_model(
        self, slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str
    ) -> None:
        used = Path(shutil.copytree(model, tmp_path / "model"))
        before = content(tmp_path)
        for command in ("predict", "case"):
            assert lrmil(command, slide, "--model", used, "--out", used / where, *CPU) == 1
            assert "the input 'model'" in capsys.readouterr().err
        assert content(tmp_path) == before and not (used / "new").exists()

    def test_a_table_that_is_read_is_not_written(
        self, slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "out"
        assert lrmil("predict", slide, "--model", model, "--out", out, *CPU) == 0
        before = content(out)
        table = out / "predictions.csv"
        assert lrmil("predict", slide, "--model", model, "--out", out, "--mpp-table", table, *CPU) == 1
        assert "the input 'predictions.csv'" in capsys.readouterr().err
        assert lrmil("evaluate", slide.parent, table, "--model", model, "--out", out, *CPU) == 1
        assert "the input 'predictions.csv'" in capsys.readouterr().err
        assert content(out) == before


class TestFailedSlides:
    @pytest.mark.parametrize("kind", ["broken", "gone"])
    def test_files_of_the_user_stay(self, slide: Path, model: Path, tmp_path: Path, kind: str) -> None:
        slide.write_bytes(slide.read_bytes()[:5000])
        if kind == "gone":
            slide.unlink()
        for ending in ("json", "geojson", "png", "csv", "html"):
            (tmp_path / f"a.{ending}").write_text("the user's")
        assert lrmil("predict", slide, "--model", model, "--out", tmp_path, *CPU) == 1
        assert {(tmp_path / f"a.{ending}").read_text() for ending in ("json", "geojson", "png", "csv", "html")} == {
            "the user's"
        }

    @pytest.mark.parametrize("ending", ["json", "geojson", "png", "attention.ome.zarr"])
    def test_one_in_the_way_is_named_and_the_others_go_on(
        self, slide: Path, bundle: Bundle, tmp_path: Path, ending: str
    ) -> None:
        out = tmp_path / "out"
        out.mkdir()
        (out / f"a.{ending}").write_text("the user's")
        other = Path(shutil.copy(slide, tmp_path / "b.ome.tif"))
        sources = [SlideSource("a", slide), SlideSource("b", other)]
        failed, good = last(predict_slides(sources, bundle, out, ON_CPU))
        assert (failed.status, failed.reason, good.status) == ("failed", "output", "ok")
        assert f"did not write the file 'a.{ending}'" in failed.message and str(tmp_path) not in failed.message
        assert [path.name for path in out.glob("a.*")] == [f"a.{ending}"]
        (out / f"a.{ending}").unlink()
        assert [row.status for row in last(predict_slides(sources, bundle, out, ON_CPU))] == ["ok", "ok"]

    def test_a_damaged_card_is_kept_and_made_again(self, slide: Path, bundle: Bundle, tmp_path: Path) -> None:
        for text in ("", "[]", '{"format": "lrm'):
            last(predict_slides([SlideSource("a", slide)], bundle, tmp_path / "out", ON_CPU))
            (tmp_path / "out/a.json").write_text(text)
            (row,) = last(predict_slides([SlideSource("a", slide)], bundle, tmp_path / "out", ON_CPU))
            assert row.status == "ok" and read_prediction(tmp_path / "out", "a") is not None
        assert sorted(path.read_text() for path in (tmp_path / "out").glob("a-*.json")) == ["", "[]", '{"format": "lrm']


class TestMasks:
    @pytest.fixture
    def mask(self, slide: Path) -> Raster:
        with open_slide(slide) as opened:
            found = segment_tissue(opened)
        half = np.arange(found.array.shape[1]) < found.array.shape[1] // 2
        return Raster(found.array & half, found.to_level0)

    @staticmethod
    def edit(folder: Path) -> dict[str, bytes]:
        """As another program does it."""
        import zarr

        array = zarr.open_array(folder / "0", mode="r+")
        array[:3] = 1.0
        return content(folder)

    @staticmethod
    def predict(
        slide: Path, bundle: Bundle, out: Path, mask: Raster | None = None, below: float = 0.0
    ) -> PredictionRow:
        tissue = {} if mask is None else {"a": mask}
        steps = predict_slides(
            [SlideSource("a", slide)], bundle, out, PredictOptions(device="cpu", uncertain_below=below), tissue=tissue
        )
        return last(steps)[0]

    def test_an_edited_one_stays(self, slide: Path, bundle: Bundle, mask: Raster, tmp_path: Path) -> None:
        out = tmp_path / "out"
        place = out / "a.tissue.ome.zarr"
        self.predict(slide, bundle, out, mask)
        assert not is_mask_edited(out, "a")
        edited = self.edit(place)
        assert is_mask_edited(out, "a")
        assert self.predict(slide, bundle, out).status == "ok" and content(place) == edited
        slide.write_bytes(b"")
        assert self.predict(slide, bundle, out).status == "failed" and content(place) == edited

    def test_another_one_does_not_take_its_place(
        self, slide: Path, bundle: Bundle, mask: Raster, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        self.predict(slide, bundle, out, mask)
        edited = self.edit(out / "a.tissue.ome.zarr")
        for _ in range(2):
            row = self.predict(slide, bundle, out, mask, below=0.9)
            assert (row.status, row.reason) == ("failed", "output") and "was edited" in row.message
            assert content(out / "a.tissue.ome.zarr") == edited
        used = read_tissue(out, "a")
        assert self.predict(slide, bundle, out, used).status == "ok"
        assert content(out / "a.tissue.ome.zarr") == edited and not is_mask_edited(out, "a")

    def test_one_that_is_no_longer_used_is_put_aside_once(
        self, slide: Path, bundle: Bundle, mask: Raster, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        self.predict(slide, bundle, out, mask)
        before = content(out / "a.tissue.ome.zarr")
        for _ in range(2):
            self.predict(slide, bundle, out)
            assert read_tissue(out, "a") is None and content(out / "a.tissue-1.ome.zarr") == before
            self.predict(slide, bundle, out, mask)
            assert content(out / "a.tissue.ome.zarr") == before
        assert not (out / "a.tissue-2.ome.zarr").exists()
        other = Raster(~mask.array, mask.to_level0)
        self.predict(slide, bundle, out, other)
        used = read_tissue(out, "a")
        assert used is not None and np.array_equal(used.array, other.array)

    def test_one_of_an_earlier_version_is_never_deleted(
        self, slide: Path, bundle: Bundle, mask: Raster, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        self.predict(slide, bundle, out, mask)
        card = json.loads((out / "a.json").read_text())
        del card["tissue_content"]
        (out / "a.json").write_text(json.dumps(card))
        before = content(out / "a.tissue.ome.zarr")
        self.predict(slide, bundle, out)
        assert content(out / "a.tissue.ome.zarr") == before
        self.predict(slide, bundle, out, Raster(~mask.array, mask.to_level0))
        assert content(out / "a.tissue-1.ome.zarr") == before

    def test_edited_in_place_and_given_again(
        self, slide: Path, bundle: Bundle, model: Path, mask: Raster, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        last(predict_one(SlideSource("a", slide), bundle, out, ON_CPU, tissue=mask))
        edited = self.edit(out / "a.tissue.ome.zarr")
        assert lrmil("predict", slide, "--model", model, "--out", out, "--tissue", out, *CPU) == 0
        assert content(out / "a.tissue.ome.zarr") == edited


class TestTables:
    def test_lines_of_another_model_are_kept_beside(self, slide: Path, bundle: Bundle, tmp_path: Path) -> None:
        out, sources = tmp_path / "out", [SlideSource("a", slide)]
        last(predict_slides(sources, bundle, out, ON_CPU))
        before = (out / "predictions.csv").read_bytes()
        for _ in range(2):
            last(predict_slides(sources, replace(bundle, sha256="cd" * 32), out, ON_CPU))
            assert (out / "predictions-1.csv").read_bytes() == before and not (out / "predictions-2.csv").exists()
            assert [row["model"] for row in rows_of(out / "predictions.csv")] == ["cd" * 32]

    def test_so_are_lines_that_a_person_changed_or_added(self, slide: Path, bundle: Bundle, tmp_path: Path) -> None:
        out, sources = tmp_path / "out", [SlideSource("a", slide)]
        last(predict_slides(sources, bundle, out, ON_CPU))
        before = (out / "predictions.csv").read_text()
        for number, edited in enumerate(
            (before.replace(",ok,", ",uncertain,"), before + before.split("\n")[1] + "\n"), 1
        ):
            (out / "predictions.csv").write_text(edited)
            last(predict_slides(sources, bundle, out, ON_CPU))
            assert (out / "predictions.csv").read_text() == before
            assert (out / f"predictions-{number}.csv").read_text() == edited
        last(predict_slides(sources, bundle, out, ON_CPU))
        assert not (out / "predictions-3.csv").exists()

    @pytest.mark.long
    def test_that_of_a_run_is_not_put_aside(
        self, tiny_run: TinyRun, slide: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
        before = (run / "predictions.csv").read_bytes()
        assert lrmil("predict", slide, "--model", model, "--out", run, *CPU) == 1
        assert "belongs to a training run" in capsys.readouterr().err
        assert (run / "predictions.csv").read_bytes() == before

    @pytest.mark.parametrize("kind", ["folder", "link"])
    def test_what_is_no_file_is_refused(self, slide: Path, bundle: Bundle, tmp_path: Path, kind: str) -> None:
        out = tmp_path / "out"
        (out / "kept").mkdir(parents=True)
        if kind == "link":
            (out / "predictions.csv").symlink_to(out / "kept")
        else:
            (out / "predictions.csv").mkdir()
            (out / "predictions.csv/x").write_text("the user's")
        with pytest.raises(OverwriteError, match=f"did not write the {kind} 'predictions.csv'"):
            last(predict_slides([SlideSource("a", slide)], bundle, out, ON_CPU))
        assert not list(out.glob("a.*"))


@pytest.mark.parametrize("part", ["write_overlay", "write_ome_zarr", "write_tiles", "place_mask"])
def test_an_answer_stays_whole_where_a_disk_is_full_before_the_next_one_is(
    slide: Path, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OutputError("Expected room.")

    out, source = tmp_path / "out", SlideSource("a", slide)
    last(predict_one(source, bundle, out, ON_CPU))
    before = content(out)
    with monkeypatch.context() as patch:
        patch.setattr(files, part, full)
        with pytest.raises(OutputError):
            last(predict_one(source, bundle, out, PredictOptions(device="cpu", uncertain_below=0.9)))
    assert content(out) == before and len(list(out.iterdir())) == 4, "nor is anything left over"
    last(predict_one(source, bundle, out, PredictOptions(device="cpu", uncertain_below=0.9)))
    assert content(out)["a.json"] != before["a.json"]
