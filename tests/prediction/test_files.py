"""A prediction on disk says what it said in memory, and is either complete or absent."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from lrmil.errors import FormatError
from lrmil.io import atomic
from lrmil.io.raster_zarr import write_ome_zarr
from lrmil.models.bundle import Bundle
from lrmil.prediction.files import read_prediction, read_tissue, write_prediction
from lrmil.prediction.inference import predict_steps
from lrmil.prediction.one import predict_one
from lrmil.prediction.prediction import Prediction
from lrmil.raster import Raster
from lrmil.slides.opening import open_source
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


def written_again(out: Path, source: SlideSource, prediction: Prediction, key: str) -> None:
    """Write the same answer as a process does that was thought dead."""
    with open_source(source) as slide:
        write_prediction(out, source.slide_id, prediction, slide, key=key)


def test_the_same_answer_is_there_whenever_a_late_process_that_writes_it_is_killed(
    source: SlideSource, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = last(predict_one(source, bundle, tmp_path, ON_CPU))
    key = json.loads((tmp_path / f"{source.slide_id}.json").read_text())["key"]
    names = sorted(path.name for path in tmp_path.iterdir())
    real, survived = atomic.put_in_place, []
    for allowed in range(5):
        left = iter(range(allowed))

        def killed(temporary: Path, path: Path, left: Iterator[int] = left) -> None:
            if path.parent == tmp_path and next(left, None) is None:
                raise KeyboardInterrupt
            real(temporary, path)

        monkeypatch.setattr(atomic, "put_in_place", killed)
        with suppress(KeyboardInterrupt):
            written_again(tmp_path, source, first, key)
            survived.append(allowed)
        stored = read_prediction(tmp_path, source.slide_id, keys=[key], task=bundle.task)
        assert stored is not None and stored.attention.equals(first.attention)
        assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert survived[0] == 3, "picture, tiles and card are replaced; the map stays"


def test_a_map_that_is_not_that_of_the_answer_is_replaced(source: SlideSource, bundle: Bundle, tmp_path: Path) -> None:
    first = last(predict_one(source, bundle, tmp_path, ON_CPU))
    key = json.loads((tmp_path / f"{source.slide_id}.json").read_text())["key"]
    values = np.where(np.isnan(first.attention.array), np.nan, 0.0)
    values[tuple(np.argwhere(~np.isnan(values))[0])] = 1.0
    place = tmp_path / f"{source.slide_id}.attention.ome.zarr"
    shutil.rmtree(place)
    write_ome_zarr(place, Raster(values, first.attention.to_level0), mpp=first.mpp, mpp_source=first.mpp_source)
    other = read_prediction(tmp_path, source.slide_id, keys=[key])
    assert other is not None and not other.attention.equals(first.attention)
    written_again(tmp_path, source, first, key)
    stored = read_prediction(tmp_path, source.slide_id, keys=[key])
    assert stored is not None and stored.attention.equals(first.attention)
