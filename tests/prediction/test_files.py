"""A prediction on disk says what it said in memory, and is either complete or absent."""

import os
from pathlib import Path

import numpy as np
import pytest

from lrmil.errors import FormatError
from lrmil.io import atomic
from lrmil.models.bundle import Bundle
from lrmil.prediction.files import read_prediction, read_tissue
from lrmil.prediction.inference import predict_steps
from lrmil.prediction.one import predict_one
from lrmil.prediction.prediction import Prediction
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from support.runs import ON_CPU, tiny_bundle


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return tiny_bundle()


@pytest.fixture
def source(cohort: Path) -> SlideSource:
    return SlideSource("demo-001", cohort / "slides/demo-001.ome.tif")


def test_a_prediction_is_read_back(source: SlideSource, bundle: Bundle, tmp_path: Path) -> None:
    said = last(predict_one(source, bundle, tmp_path, ON_CPU))
    read = read_prediction(tmp_path, "demo-001")
    assert read is not None
    same = [name for name in Prediction.__slots__ if name not in ("attention", "patches", "patch_attention")]
    assert {name: getattr(read, name) for name in same} == {name: getattr(said, name) for name in same}
    np.testing.assert_array_equal(read.attention.array, said.attention.array)
    np.testing.assert_allclose(read.attention.to_level0, said.attention.to_level0, rtol=1e-9)
    np.testing.assert_array_equal(read.patches.level0_yx, said.patches.level0_yx)
    np.testing.assert_allclose(read.patch_attention, said.patch_attention, rtol=1e-6)


@pytest.mark.parametrize("damage", ["card", "format", "attention", "key"])
def test_an_incomplete_or_other_prediction_is_none(
    damage: str, source: SlideSource, bundle: Bundle, tmp_path: Path
) -> None:
    list(predict_one(source, bundle, tmp_path, ON_CPU))
    if damage == "card":
        (tmp_path / "demo-001.json").write_text('{"format": "lrmil.predic')
    if damage == "format":
        card = (tmp_path / "demo-001.json").read_text()
        (tmp_path / "demo-001.json").write_text(card.replace("prediction/2", "prediction/1"))
    if damage == "attention":
        atomic.remove(tmp_path / "demo-001.attention.ome.zarr")
    assert read_prediction(tmp_path, "demo-001", keys=["other"] if damage == "key" else ()) is None


def test_a_broken_mask_is_said(tmp_path: Path) -> None:
    assert read_tissue(tmp_path, "a") is None
    (tmp_path / "a.tissue.ome.zarr").mkdir()
    with pytest.raises(FormatError):
        read_tissue(tmp_path, "a")


def test_live_steps_fill_the_attention_in(source: SlideSource, bundle: Bundle) -> None:
    steps = list(predict_steps(source.path, bundle, "cpu", batch_size=4, live=True))
    answers = [step.result for step in steps]
    assert all(answer is not None for answer in answers)
    seen = [len(answer.patches) for answer in answers if answer]
    assert seen[0] == 0 and seen == sorted(seen) and len(set(seen)) > 3
    final = answers[-1]
    assert final is not None and final.status == "ok"
    for answer in filter(None, answers[:-1]):
        assert answer.status == "partial" and answer.probabilities == {} and answer.label == ""
        assert answer.attention.array.shape == final.attention.array.shape
        np.testing.assert_array_equal(answer.attention.to_level0, final.attention.to_level0)
        assert np.count_nonzero(~np.isnan(answer.attention.array)) == len(answer.patches)
        if len(answer.patches):
            assert answer.patch_attention.sum() == pytest.approx(1)
    whole = answers[-2]
    assert whole is not None
    np.testing.assert_allclose(whole.attention.array, final.attention.array, rtol=1e-5)


def test_a_pipe_in_place_of_a_card_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    assert read_prediction(tmp_path, "a") is None
