"""One slide: its answer is made once, and again for another mask."""

from pathlib import Path

import numpy as np
import pytest

from lrmil.models.bundle import Bundle
from lrmil.patches.tissue import segment_tissue
from lrmil.prediction.files import read_tissue
from lrmil.prediction.inference import predict
from lrmil.prediction.one import predict_one
from lrmil.prediction.options import PredictOptions
from lrmil.raster import Raster
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


def test_what_is_there_is_not_made_again(source: SlideSource, bundle: Bundle, tmp_path: Path) -> None:
    list(predict_one(source, bundle, tmp_path, ON_CPU))
    stamp = stamp_of(tmp_path / "demo-001.json")
    assert len(list(predict_one(source, bundle, tmp_path, ON_CPU))) == 1
    assert stamp_of(tmp_path / "demo-001.json") == stamp
    list(predict_one(source, bundle, tmp_path, PredictOptions(device="cpu", uncertain_below=0.99)))
    assert stamp_of(tmp_path / "demo-001.json") != stamp


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
