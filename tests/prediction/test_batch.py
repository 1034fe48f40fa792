"""Many slides into a folder: a table in order, evidence for each, bad ones as rows, finished ones passed over."""

import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lrmil.errors import ConfigError, OverwriteError
from lrmil.features.slide_features import EXTRACTION_VERSION
from lrmil.io.raster_zarr import read_ome_zarr
from lrmil.models.bundle import Bundle
from lrmil.patches.tissue import segment_tissue
from lrmil.prediction import one
from lrmil.prediction.batch import predict_slides
from lrmil.prediction.inference import predict
from lrmil.prediction.options import PredictOptions
from lrmil.prediction.table import PredictionRow
from lrmil.raster import Raster
from lrmil.slides.opening import open_slide
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from support.runs import ON_CPU, stamp_of, tiny_bundle
from support.slides import overwrite, segment_of

pytestmark = pytest.mark.long

COLUMNS = ["slide_id", "status", "label", "prob_no", "prob_yes", "mpp", "mpp_source", "n_patches"]
COLUMNS += ["failed_patches", "seconds", "reason", "checksum", "notes", "model", "message"]
PREDICTION_FILES = (".json", ".attention.ome.zarr", ".geojson", ".png")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return replace(tiny_bundle(), sha256="ab" * 32)


@pytest.fixture
def slides(slides: list[SlideSource]) -> list[SlideSource]:
    """Not in the order of their names: answers come in the order that was asked for."""
    return [slides[1], slides[0], slides[2]]


def classify(slides: list[SlideSource], bundle: Bundle, out: Path, **options: float) -> list[PredictionRow]:
    return last(predict_slides(slides, bundle, out, replace(ON_CPU, **options)))  # type: ignore[arg-type]


def table(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == COLUMNS
        return list(reader)


def test_the_table_has_a_row_a_slide_in_order(slides: list[SlideSource], bundle: Bundle, tmp_path: Path) -> None:
    rows = classify(slides, bundle, tmp_path / "out")
    found = table(tmp_path / "out")
    assert [row["slide_id"] for row in found] == ["demo-001", "demo-000", "demo-002"]
    for row, source, line in zip(rows, slides, found, strict=True):
        result = predict(source.path, bundle, "cpu")
        assert row.probabilities == pytest.approx(result.probabilities, abs=1e-6)
        assert [float(line["prob_no"]), float(line["prob_yes"])] == pytest.approx(
            list(result.probabilities.values()), abs=1e-5
        )
        assert (line["status"], line["label"], line["mpp"], line["message"]) == ("ok", result.label, "0.5", "")
        assert (line["mpp_source"], line["failed_patches"]) == (result.mpp_source, "0")
        assert int(line["n_patches"]) == len(result.patches) and float(line["seconds"]) > 0


def test_each_slide_has_its_evidence(slides: list[SlideSource], bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "out"
    classify(slides[:1], bundle, out)
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [".lrmil.lock", "predictions.csv", *(f"demo-001{ending}" for ending in PREDICTION_FILES)]
    )
    result = predict(slides[0].path, bundle, "cpu")
    raster = read_ome_zarr(out / "demo-001.attention.ome.zarr")
    np.testing.assert_allclose(raster.array, result.attention.array, rtol=1e-4)
    np.testing.assert_allclose(raster.to_level0, result.attention.to_level0)
    features = json.loads((out / "demo-001.geojson").read_text())["features"]
    assert len(features) == len(result.patches)
    for feature, corner, value in zip(features, result.patches.level0_yx.tolist(), result.patch_attention, strict=True):
        assert feature["geometry"]["coordinates"][0][0] == corner[::-1]
        assert feature["properties"]["measurements"]["attention"] == pytest.approx(value, rel=1e-4)
        assert "classification" not in feature["properties"]  # that of the slide is not one of its patches
    with Image.open(out / "demo-001.png") as picture:
        assert picture.width >= 200
    card = json.loads((out / "demo-001.json").read_text())
    said = card["prediction"]
    assert said["slide_fingerprint"] == result.slide_fingerprint and said["bundle_sha256"] == bundle.sha256


def test_finished_slides_are_passed_over(
    slides: list[SlideSource], bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    first = classify(slides[:2], bundle, out)
    before = {path: stamp_of(path) for path in out.glob("demo-00*")}
    computed: list[str] = []
    real = one.classify_steps
    monkeypatch.setattr(
        one,
        "classify_steps",
        lambda slide, *a, **k: computed.append(slide.slide_id) or real(slide, *a, **k),
    )
    rows = classify(slides, bundle, out)
    assert computed == ["demo-002"] and rows[:2] == first and len(table(out)) == 3
    assert before == {path: stamp_of(path) for path in before}


@pytest.mark.parametrize("change", ["model", "file", "mpp", "uncertain_below", "reading"])
def test_other_inputs_are_computed_again(
    slides: list[SlideSource], bundle: Bundle, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    classify(slides[:1], bundle, out)
    before = stamp_of(out / "demo-001.json")
    source, options = slides[0], {}
    if change == "model":
        bundle = replace(bundle, sha256="cd" * 32)
    elif change == "file":
        shutil.copy(slides[1].path, source.path)
    elif change == "mpp":
        source = source._replace(mpp=0.6)
    elif change == "reading":
        monkeypatch.setattr(one, "EXTRACTION_VERSION", EXTRACTION_VERSION + 1)
    else:
        options = {"uncertain_below": 1.0}
    (row,) = classify([source], bundle, out, **options)
    assert stamp_of(out / "demo-001.json") != before
    assert row.status == ("uncertain" if change == "uncertain_below" else "ok")
    assert row.mpp == (0.6 if change == "mpp" else 0.5)


def test_a_bad_slide_is_a_row_and_stops_nothing(slides: list[SlideSource], bundle: Bundle, tmp_path: Path) -> None:
    whole = slides[0].path.read_bytes()
    slides[0].path.write_bytes(whole[: len(whole) // 3])
    slides[1].path.unlink()
    rows = classify(slides, bundle, tmp_path / "out")
    assert [row.status for row in rows] == ["failed", "failed", "ok"]
    bad, missing, good = table(tmp_path / "out")
    assert "truncated" in bad["message"] and "There is no slide" in missing["message"] and not good["message"]
    assert bad["label"] == bad["prob_yes"] == bad["mpp"] == "" and bad["status"] == "failed"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        [".lrmil.lock", "predictions.csv", *(f"demo-002{ending}" for ending in PREDICTION_FILES)]
    )


def test_a_slide_that_is_mended_is_classified_next_time(
    slides: list[SlideSource], bundle: Bundle, tmp_path: Path
) -> None:
    whole = slides[0].path.read_bytes()
    slides[0].path.write_bytes(whole[:5000])
    assert classify(slides[:1], bundle, tmp_path / "out")[0].status == "failed"
    slides[0].path.write_bytes(whole)
    assert classify(slides[:1], bundle, tmp_path / "out")[0].status == "ok"


def test_what_was_stopped_leaves_a_table_of_what_is_done(
    slides: list[SlideSource], bundle: Bundle, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    steps = predict_slides(slides, bundle, out, ON_CPU)
    for step in steps:
        if step.job == ("predict",) and step.done == 1:
            break
    steps.close()  # type: ignore[attr-defined]
    assert [row["slide_id"] for row in table(out)] == ["demo-001"]
    (out / ".x.lrmil-0123456789abcdef.tmp").write_text("half")
    (out / ".demo-000.png.tmp").write_text("the user's")
    classify(slides, bundle, out)
    assert len(table(out)) == 3 and [path.name for path in out.glob(".*.tmp")] == [".demo-000.png.tmp"]


def test_a_wrong_device_is_one_error_and_no_row(slides: list[SlideSource], bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cuda:99"):
        last(predict_slides(slides, bundle, tmp_path / "out", PredictOptions(device="cuda:99")))
    assert not (tmp_path / "out").exists()


class TestDamagedAndMended:
    """A large file is hashed by samples: that it was mended between them is told by when it was written."""

    @pytest.fixture
    def slide(self, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr("lrmil.io.hashing.SAMPLE_BYTES", 16)
        return Path(shutil.copy(cohort / "slides/demo-001.ome.tif", tmp_path / "demo-001.ome.tif"))

    def damage(self, slide: Path) -> bytes:
        """Zero a segment of the level that is read, for which level 0 stands in, and give the bytes there were."""
        whole = slide.read_bytes()
        with open_slide(slide) as opened:
            before = opened.fingerprint
        offset, count = segment_of(slide, 1, 0)
        overwrite(slide, offset, bytes(count))
        with open_slide(slide) as opened:
            assert opened.fingerprint == before
        return whole

    def test_a_mended_slide_is_classified_again(self, slide: Path, bundle: Bundle, tmp_path: Path) -> None:
        out, source = tmp_path / "out", SlideSource("demo-001", slide)
        (intact,) = classify([source], bundle, tmp_path / "intact")
        whole = self.damage(slide)
        (damaged,) = classify([source], bundle, out)
        before = stamp_of(out / "demo-001.json")
        assert classify([source], bundle, out) == [damaged] and stamp_of(out / "demo-001.json") == before
        slide.write_bytes(whole)
        (mended,) = classify([source], bundle, out)
        assert "Level 1 is damaged" in " ".join(damaged.notes) and not mended.notes
        assert mended.probabilities == intact.probabilities

    def test_also_when_its_time_is_that_of_the_source(self, slide: Path, bundle: Bundle, tmp_path: Path) -> None:
        """As cp -p and rsync -a copy."""
        out, source, time = tmp_path / "out", SlideSource("demo-001", slide), slide.stat()
        whole = self.damage(slide)
        os.utime(slide, ns=(time.st_atime_ns, time.st_mtime_ns))
        assert classify([source], bundle, out)[0].notes
        slide.write_bytes(whole)
        os.utime(slide, ns=(time.st_atime_ns, time.st_mtime_ns))
        assert not classify([source], bundle, out)[0].notes

    def test_an_intact_slide_that_is_copied_is_passed_over(self, slide: Path, bundle: Bundle, tmp_path: Path) -> None:
        out, source = tmp_path / "out", SlideSource("demo-001", slide)
        classify([source], bundle, out)
        before = stamp_of(out / "demo-001.json")
        slide.write_bytes(slide.read_bytes())
        classify([source], bundle, out)
        assert stamp_of(out / "demo-001.json") == before


class TestTable:
    def test_lines_of_earlier_calls_stay(self, slides: list[SlideSource], bundle: Bundle, tmp_path: Path) -> None:
        out = tmp_path / "out"
        classify(slides[:2], bundle, out)
        before = table(out)
        classify(slides[2:], bundle, out)
        found = table(out)
        assert [row["slide_id"] for row in found] == ["demo-001", "demo-000", "demo-002"] and found[:2] == before

    def test_a_stopped_call_shortens_no_table(self, slides: list[SlideSource], bundle: Bundle, tmp_path: Path) -> None:
        out = tmp_path / "out"
        classify(slides, bundle, out)
        before = table(out)
        steps = predict_slides(slides, bundle, out, ON_CPU)
        for step in steps:
            if step.done == 1:
                break
        steps.close()  # type: ignore[attr-defined]
        assert table(out) == before

    def test_a_line_whose_answer_was_deleted_goes(
        self, slides: list[SlideSource], bundle: Bundle, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"
        classify(slides[:2], bundle, out)
        (out / "demo-000.json").unlink()
        classify(slides[2:], bundle, out)
        assert [row["slide_id"] for row in table(out)] == ["demo-001", "demo-002"]

    @pytest.mark.parametrize("content", [b"slide_id,status\na,ok\n", b"\xff\x00\xfe", b'"', b""])
    def test_another_table_is_put_aside(
        self, slides: list[SlideSource], bundle: Bundle, tmp_path: Path, content: bytes
    ) -> None:
        out = tmp_path / "out"
        for number in (1, 2):
            out.mkdir(exist_ok=True)
            (out / "predictions.csv").write_bytes(content)
            classify(slides[:1], bundle, out)
            assert (out / f"predictions-{number}.csv").read_bytes() == content and len(table(out)) == 1

    def test_each_line_names_its_model(self, slides: list[SlideSource], bundle: Bundle, tmp_path: Path) -> None:
        out = tmp_path / "out"
        classify(slides[:1], bundle, out)
        slides[1].path.write_bytes(b"")
        classify(slides[1:2], replace(bundle, sha256="cd" * 32), out)
        assert [row["model"] for row in table(out)] == ["ab" * 32, "cd" * 32]


def test_a_name_that_is_too_long_stops_nothing(slides: list[SlideSource], bundle: Bundle, tmp_path: Path) -> None:
    name = "切片" * 40
    source = SlideSource(name, Path(shutil.copy(slides[0].path, tmp_path / f"{name}.tif")))
    rows = classify([slides[0], source, slides[1]], bundle, tmp_path / "out")
    assert [row.status for row in rows] == ["ok", "failed", "ok"] and rows[1].reason == "name"
    assert "at most 220 bytes" in rows[1].message and "Got 240" in rows[1].message
    longest = SlideSource("x" * 220, slides[2].path)
    assert classify([longest], bundle, tmp_path / "out")[0].status == "ok"


def test_a_slide_that_is_named_twice_is_no_twin(slides: list[SlideSource], bundle: Bundle, tmp_path: Path) -> None:
    link = tmp_path / "linked"
    link.symlink_to(slides[0].path.parent)
    twice = [slides[0], slides[0]._replace(path=link / slides[0].path.name)]
    assert [row.status for row in classify(twice, bundle, tmp_path / "out")] == ["ok", "ok"]
    assert len(table(tmp_path / "out")) == 1


def test_the_answer_of_a_slide_that_is_not_there_now_stays(
    slides: list[SlideSource], bundle: Bundle, tmp_path: Path
) -> None:
    out, source = tmp_path / "out", slides[0]
    classify(slides[:1], bundle, out)
    before = [stamp_of(out / f"{source.slide_id}{ending}") for ending in PREDICTION_FILES]
    source.path.rename(tmp_path / "elsewhere")  # as a disk that is not mounted
    (row,) = classify(slides[:1], bundle, out)
    assert row.status == "failed"
    assert [stamp_of(out / f"{source.slide_id}{ending}") for ending in PREDICTION_FILES] == before
    (tmp_path / "elsewhere").rename(source.path)
    (row,) = classify(slides[:1], bundle, out)
    assert (
        row.status == "ok" and [stamp_of(out / f"{source.slide_id}{ending}") for ending in PREDICTION_FILES] == before
    )


def test_the_answer_of_a_slide_that_is_bad_now_goes(slides: list[SlideSource], bundle: Bundle, tmp_path: Path) -> None:
    out, source = tmp_path / "out", slides[0]
    classify(slides[:1], bundle, out)
    (out / f"{source.slide_id}.txt").write_text("mine")
    source.path.write_bytes(source.path.read_bytes()[:5000])
    steps = list(predict_slides(slides[:1], bundle, out, ON_CPU))
    assert [step.message for step in steps if "truncated" in step.message], "the reason is told while others are read"
    assert [path.name for path in out.glob(f"{source.slide_id}*")] == [f"{source.slide_id}.txt"]


def test_the_answer_stays_where_a_file_of_the_user_is_in_the_way_of_the_next(
    slides: list[SlideSource], bundle: Bundle, tmp_path: Path
) -> None:
    out, source = tmp_path / "out", slides[0]
    classify(slides[:1], bundle, out)
    before = stamp_of(out / f"{source.slide_id}.json")
    (out / f"{source.slide_id}.png").write_text("mine")
    (row,) = classify(slides[:1], replace(bundle, sha256="cd" * 32), out)
    assert (row.status, row.reason) == ("failed", "output")
    assert stamp_of(out / f"{source.slide_id}.json") == before
    assert (out / f"{source.slide_id}.png").read_text() == "mine"


def test_nothing_is_written_into_an_input(slides: list[SlideSource], bundle: Bundle, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for out in (model, model / "out"):
        with pytest.raises(OverwriteError):
            last(predict_slides(slides[:1], bundle, out, ON_CPU, inputs=[model]))
    assert list(model.iterdir()) == []


def half_mask(source: SlideSource) -> Raster:
    with open_slide(source.path) as slide:
        mask = segment_tissue(slide)
    array = mask.array.copy()
    array[: len(array) // 2] = False
    return Raster(array, mask.to_level0)
