"""One slide: its answer is made once, and again for another mask."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lrmil.errors import OverwriteError, SlideError, TissueError
from lrmil.models.bundle import Bundle
from lrmil.patches.drawn_regions import Regions
from lrmil.patches.tissue import GivenMask, Within, segment_tissue
from lrmil.prediction import exports, one
from lrmil.prediction.files import read_tissue
from lrmil.prediction.inference import predict
from lrmil.prediction.one import predict_one
from lrmil.prediction.options import PredictOptions
from lrmil.prediction.prediction import Prediction
from lrmil.raster import Raster
from lrmil.slides.inputs import Inputs
from lrmil.slides.opening import open_slide
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from support.runs import ON_CPU, stamp_of, tiny_bundle


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return tiny_bundle()


@pytest.fixture
def source(cohort: Path) -> SlideSource:
    return SlideSource("demo-001", cohort / "slides/demo-001.ome.tif")


def part_of_tissue(source: SlideSource, share: float) -> Raster:
    """The tissue in the upper part of a slide."""
    with open_slide(source.path) as slide:
        mask = segment_tissue(slide)
    rows = np.arange(len(mask.array))[:, None]
    return Raster(mask.array & (rows < share * len(mask.array)), mask.to_level0)


def test_what_is_there_is_not_made_again(source: SlideSource, bundle: Bundle, tmp_path: Path) -> None:
    list(predict_one(source, bundle, tmp_path, ON_CPU))
    stamp = stamp_of(tmp_path / "demo-001.json")
    assert len(list(predict_one(source, bundle, tmp_path, ON_CPU))) == 1
    assert stamp_of(tmp_path / "demo-001.json") == stamp
    list(predict_one(source, bundle, tmp_path, PredictOptions(device="cpu", uncertain_below=0.99)))
    assert stamp_of(tmp_path / "demo-001.json") != stamp


def test_the_seconds_count_opening_and_writing_and_are_the_stored_ones(
    source: SlideSource, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, draw = one.open_source, exports.overlay_png
    monkeypatch.setattr(one, "open_source", lambda *given: time.sleep(0.1) or opened(*given))
    monkeypatch.setattr(exports, "overlay_png", lambda *given, **named: time.sleep(0.2) or draw(*given, **named))
    said = last(predict_one(source, bundle, tmp_path, ON_CPU))
    stages = {name: seconds for name, seconds in said.timings.items() if name != "total"}
    assert list(stages) == ["open", "tissue", "patches", "mil", "write"]
    assert stages["open"] >= 0.1 and stages["write"] >= 0.2
    assert said.timings["total"] == pytest.approx(sum(stages.values()), abs=0.05)
    again = last(predict_one(source, bundle, tmp_path, ON_CPU))
    assert again.timings == said.timings


def test_a_given_mask_is_kept_and_taken_up_again(source: SlideSource, bundle: Bundle, tmp_path: Path) -> None:
    with open_slide(source.path) as slide:
        whole = segment_tissue(slide)
    half = Raster(whole.array & (np.arange(whole.array.shape[1]) < whole.array.shape[1] // 2), whole.to_level0)
    said = last(predict_one(source, bundle, tmp_path, ON_CPU, tissue=half))
    assert said.tissue_source == "given" and predict(source.path, bundle, "cpu").tissue_source == "segmented"
    cell_mm = half.cell_yx[0] * said.mpp / 1000
    assert said.tissue_mm2 == pytest.approx(half.array.sum() * cell_mm**2)
    read = read_tissue(tmp_path, "demo-001")
    assert read is not None and read.array.dtype == bool
    np.testing.assert_array_equal(read.array, half.array)
    np.testing.assert_allclose(read.to_level0, half.to_level0, rtol=1e-9)
    again = last(predict_one(source, bundle, tmp_path / "again", ON_CPU, tissue=read))
    assert again.probabilities == said.probabilities and len(again.patches) == len(said.patches)


def test_another_mask_is_another_prediction(source: SlideSource, bundle: Bundle, tmp_path: Path) -> None:
    with open_slide(source.path) as slide:
        mask = segment_tissue(slide)
    automatic = last(predict_one(source, bundle, tmp_path, ON_CPU))
    less = mask.array.copy()
    less[: less.shape[0] // 2] = False
    edited = last(predict_one(source, bundle, tmp_path, ON_CPU, tissue=Raster(less, mask.to_level0)))
    assert len(edited.patches) < len(automatic.patches)
    last(predict_one(source, bundle, tmp_path, ON_CPU))
    assert read_tissue(tmp_path, "demo-001") is None, "the mask of the prediction before must not stay"


@pytest.mark.parametrize("change", ["uncertain_below", "subtract_bounds", "mpp"])
def test_an_answer_under_other_options_is_not_taken_up(
    source: SlideSource, bundle: Bundle, tmp_path: Path, change: str
) -> None:
    list(predict_one(source, bundle, tmp_path, ON_CPU))
    stamp, options = stamp_of(tmp_path / "demo-001.json"), ON_CPU
    if change == "mpp":
        source = source._replace(mpp=0.5)  # as the file says, but now someone else says so
    else:
        options = replace(ON_CPU, **{change: 1.0 if change == "uncertain_below" else True})  # type: ignore[arg-type]
    said = last(predict_one(source, bundle, tmp_path, options))
    assert stamp_of(tmp_path / "demo-001.json") != stamp
    assert (said.status, said.mpp_source == "override") == (
        "uncertain" if change == "uncertain_below" else "ok",
        change == "mpp",
    )


def test_the_origin_of_a_mask_is_noted(source: SlideSource, bundle: Bundle, tmp_path: Path) -> None:
    mask = GivenMask(lambda _: part_of_tissue(source, 0.5), "The tissue is from elsewhere.")
    said = last(predict_one(source, bundle, tmp_path, ON_CPU, tissue=mask))
    assert "The tissue is from elsewhere." in said.notes and said.tissue_source == "given"
    assert len(list(predict_one(source, bundle, tmp_path, ON_CPU, tissue=mask))) == 1


def test_a_file_in_the_way_is_told_before_the_work(source: SlideSource, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "demo-001.png").write_text("mine")
    with pytest.raises(OverwriteError, match=r"demo-001\.png"):
        next(predict_one(source, bundle, tmp_path, ON_CPU))
    list(predict_one(source, bundle, tmp_path / "out", ON_CPU))
    card = tmp_path / "out/demo-001.json"
    changed = replace(bundle, sha256="ef" * 32)
    with pytest.raises(OverwriteError, match=r"demo-001\.json"):
        next(predict_one(source, changed, tmp_path / "out", ON_CPU, inputs=Inputs([source], [card])))
    with pytest.raises(SlideError, match="at most 220"):
        next(predict_one(source._replace(slide_id="x" * 221), bundle, tmp_path / "out", ON_CPU))


class TestRegions:
    """An answer in regions counts for these alone."""

    def regions(self, source: SlideSource, share: float) -> Regions:
        """The upper part of a slide."""
        with open_slide(source.path) as slide:
            width, height = slide.dimensions
        bottom = share * height
        return Regions.of([[(0, 0), (0, width), (bottom, width), (bottom, 0)]])

    def test_only_tissue_in_them_counts(self, source: SlideSource, bundle: Bundle) -> None:
        regions = self.regions(source, 0.5)
        found = predict(source.path, bundle, "cpu", regions=regions)
        by_mask = predict(source.path, bundle, "cpu", tissue=part_of_tissue(source, 0.5))
        assert found.probabilities == by_mask.probabilities
        assert found.tissue_mm2 == pytest.approx(by_mask.tissue_mm2, rel=0.05)  # the cells on the edge
        assert found.tissue_source == "segmented" and found.regions == regions.used
        assert "Only tissue inside 1 region counts." in found.notes
        both = predict(source.path, bundle, "cpu", tissue=part_of_tissue(source, 0.25), regions=regions)
        quarter = predict(source.path, bundle, "cpu", tissue=part_of_tissue(source, 0.25))
        assert (both.probabilities, both.tissue_source) == (quarter.probabilities, "given")

    def test_the_same_are_not_read_again_and_others_are(
        self, source: SlideSource, bundle: Bundle, tmp_path: Path
    ) -> None:
        half, less = (Within(None, self.regions(source, share)) for share in (0.5, 0.4))
        outside = Within(None, Regions.of(without=[half.regions.areas[0].rings[0]]))
        sizes = []
        for given in (None, half, less, outside, None):
            steps = list(predict_one(source, bundle, tmp_path, ON_CPU, tissue=given))
            assert len(steps) > 1
            (again,) = list(predict_one(source, bundle, tmp_path, ON_CPU, tissue=given))
            assert again.result.regions == steps[-1].result.regions == (given and given.regions.used)
            assert again.result.probabilities == steps[-1].result.probabilities
            sizes.append(len(again.result.patches))
        whole, upper, _, lower, last_of_all = sizes
        assert whole == last_of_all and 0 < upper < whole and 0 < lower < whole

    def test_a_saved_mask_counts_in_them_and_not_instead_of_them(
        self, source: SlideSource, bundle: Bundle, tmp_path: Path
    ) -> None:
        options = replace(ON_CPU, saved_masks=True)
        less = Within(part_of_tissue(source, 0.5), self.regions(source, 0.2))
        in_regions = last(predict_one(source, bundle, tmp_path, options, tissue=less))
        whole = last(predict_one(source, bundle, tmp_path, options))
        assert whole.regions is None and whole.tissue_source == "given"
        assert len(whole.patches) > len(in_regions.patches)

    def test_no_tissue_in_them_fails_with_words(self, source: SlideSource, bundle: Bundle) -> None:
        corner = Regions.of([[(0, 0), (0, 9), (9, 9), (9, 0)], [(0, 9), (0, 18), (9, 18)]])
        with pytest.raises(TissueError, match="no tissue inside 2 regions"):
            predict(source.path, bundle, "cpu", regions=corner)


class TestSavedMasks:
    """What a window asks for: a mask beside the answer, which a reader may have edited, is used before any other."""

    def again(self, source: SlideSource, bundle: Bundle, out: Path, **options: Raster) -> tuple[Prediction, bool]:
        """The answer, and whether it was made anew."""
        steps = list(predict_one(source, bundle, out, replace(ON_CPU, saved_masks=True), **options))
        assert steps[-1].result is not None
        return steps[-1].result, len(steps) > 1

    def test_it_is_used_before_a_given_one(self, source: SlideSource, bundle: Bundle, tmp_path: Path) -> None:
        half, less = part_of_tissue(source, 0.5), part_of_tissue(source, 0.25)
        first = last(predict_one(source, bundle, tmp_path, ON_CPU, tissue=half))
        for options in ({}, {"tissue": less}):
            found, is_new = self.again(source, bundle, tmp_path, **options)
            assert not is_new and found.probabilities == first.probabilities
        assert len(last(predict_one(source, bundle, tmp_path, ON_CPU, tissue=less)).patches) < len(first.patches)

    def test_an_edited_one_makes_the_answer_anew_once(
        self, source: SlideSource, bundle: Bundle, tmp_path: Path
    ) -> None:
        first = last(predict_one(source, bundle, tmp_path, ON_CPU, tissue=part_of_tissue(source, 0.5)))
        last(predict_one(source, bundle, tmp_path / "other", ON_CPU, tissue=part_of_tissue(source, 0.25)))
        name = "demo-001.tissue.ome.zarr"
        shutil.rmtree(tmp_path / name)
        shutil.copytree(tmp_path / "other" / name, tmp_path / name)
        edited, is_new = self.again(source, bundle, tmp_path)
        assert is_new and 0 < len(edited.patches) < len(first.patches)
        same, is_new = self.again(source, bundle, tmp_path)
        assert not is_new and same.probabilities == edited.probabilities

    def test_one_laid_beside_an_answer_without_mask_is_used(
        self, source: SlideSource, bundle: Bundle, tmp_path: Path
    ) -> None:
        whole = last(predict_one(source, bundle, tmp_path, ON_CPU))
        last(predict_one(source, bundle, tmp_path / "other", ON_CPU, tissue=part_of_tissue(source, 0.5)))
        name = "demo-001.tissue.ome.zarr"
        shutil.copytree(tmp_path / "other" / name, tmp_path / name)
        found, is_new = self.again(source, bundle, tmp_path)
        assert is_new and found.tissue_source == "given" and len(found.patches) < len(whole.patches)
