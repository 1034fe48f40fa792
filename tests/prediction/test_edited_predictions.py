"""A saved answer that someone edited is checked or made again; it never ends a run and never shows nonsense."""

import csv
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrmil.errors import LrmilError
from lrmil.io.raster_zarr import read_ome_zarr, write_ome_zarr
from lrmil.models.bundle import Bundle, load_bundle, save_bundle
from lrmil.prediction.batch import predict_slides
from lrmil.prediction.files import read_prediction, read_tissue
from lrmil.raster import Raster
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from support.hostile import places, put, values, without
from support.runs import ON_CPU, tiny_bundle

NAMES = ("demo-000", "demo-001")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("model") / "model"
    save_bundle(folder, tiny_bundle())
    return load_bundle(folder)


@pytest.fixture(scope="module")
def sources(cohort: Path) -> list[SlideSource]:
    return [SlideSource(name, cohort / f"slides/{name}.ome.tif") for name in NAMES]


@pytest.fixture(scope="module")
def answers(sources: list[SlideSource], bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two answers; read only."""
    out = tmp_path_factory.mktemp("answers")
    last(predict_slides(sources, bundle, out, ON_CPU))
    return out


@pytest.fixture(scope="module")
def work(answers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy whose document is written anew by each example."""
    return Path(shutil.copytree(answers, tmp_path_factory.mktemp("work") / "out"))


def document_of(folder: Path) -> Any:
    return json.loads((folder / f"{NAMES[0]}.json").read_text())


def table(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def told(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """What does not depend on how fast it was, by slide."""
    said = [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
    return sorted(said, key=lambda row: row["slide_id"])


ANSWER_CHANGES: dict[str, dict[str, object]] = {
    "wrong types": {"failed_patches": "3", "timings": [1, 2]},
    "no numbers": {"probabilities": {"no": float("nan"), "yes": float("inf")}},
    "no sum of 1": {"probabilities": {"no": 0.9, "yes": 0.9}},
    "a sum of 0": {"probabilities": {"no": 0.0, "yes": 0.0}},
    "other classes": {"label": "c", "probabilities": {"a": 0.2, "c": 0.8}},
    "a class more": {"label": "no", "probabilities": {"no": 0.5, "yes": 0.3, "maybe": 0.2}},
    "a class less": {"label": "no", "probabilities": {"no": 1.0}},
    "a label that is not the most probable": {"label": "yes", "probabilities": {"no": 0.9, "yes": 0.1}},
    "a task that nobody knows": {"task": {"task": "survival"}},
    "a task without its classes": {"task": {"task": "classification"}},
    "a task of other classes": {"task": {"classes": ["a", "b"]}},
    "absurd counts": {"failed_patches": 10**12},
    "more failures than a model allows": {"failed_patches": 10**6},
    "negative counts": {"failed_patches": -5, "bytes_read": -1},
    "no time": {"timings": {}},
    "an endless time": {"timings": {"total": 1e300}},
    "another state": {"status": "partial"},
    "uncertain": {"status": "uncertain"},
    "another resolution": {"mpp": 0.25},
    "a negative area": {"tissue_mm2": -1.0},
    "another model": {"bundle_sha256": "0" * 64},
    "another slide": {"slide_fingerprint": "0" * 64},
    "notes by the thousand": {"notes": ["x"] * 100_000},
    "a huge text": {"mpp_source": "x" * 10_000_000},
}
DOCUMENTS: dict[str, Callable[[Any], object]] = {
    "a key less": lambda document: without(document, ("prediction", "timings")),
    "a group less": lambda document: without(document, ("grid",)),
    "a negative patch": lambda document: put(document, ("grid", "size"), -64),
    "a patch of another size": lambda document: put(document, ("grid", "size"), 65),
    "another lattice": lambda document: put(document, ("grid", "origin_yx"), [7, 7]),
    "a lattice far away": lambda document: put(document, ("grid", "origin_yx"), [2**32, -(2**32)]),
    "a list": lambda document: [document],
    "a text": lambda document: "prediction",
}
BYTES = {
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"prediction":' * 5000 + b"1" + b"}" * 5000,
    "doubled": b'{"format": "lrmil.prediction/2", "format": "lrmil.prediction/2"}',
    "infinite": b'{"format": "lrmil.prediction/2", "grid": {"mpp": 1e999}}',
    "no UTF-8": b"\xff\xfe{",
    "empty": b"",
    "huge": b"[" + b"1," * 10_000_000 + b"1]",
}


def writing(text: bytes) -> Callable[[Path], None]:
    return lambda out: (out / f"{NAMES[0]}.json").write_bytes(text) and None


def changing(change: Callable[[Any], object]) -> Callable[[Path], None]:
    return lambda out: writing(json.dumps(change(document_of(out))).encode())(out)


def pipe(out: Path) -> None:
    (out / f"{NAMES[0]}.json").unlink()
    os.mkfifo(out / f"{NAMES[0]}.json")


def mapped(change: Callable[[np.ndarray[Any, Any]], object]) -> Callable[[Path], None]:
    """Change the values of the attention map."""

    def changed(out: Path) -> None:
        path = out / f"{NAMES[0]}.attention.ome.zarr"
        array = zarr.open_array(str(path / "0"), mode="r+")
        data = np.asarray(array[...])
        change(data)
        array[...] = data

    return changed


def moved(scale: float, shift: float) -> Callable[[Path], None]:
    def changed(out: Path) -> None:
        path, document = out / f"{NAMES[0]}.attention.ome.zarr", document_of(out)
        raster = read_ome_zarr(path)
        affine = np.array(raster.to_level0) * scale
        affine[:, 2] += shift
        write_ome_zarr(path, Raster(raster.array, affine), mpp=document["prediction"]["mpp"])

    return changed


def changed_by(change: dict[str, object]) -> Callable[[Any], object]:
    return lambda document: {**document, "prediction": {**document["prediction"], **change}}


EDITS: dict[str, Callable[[Path], None]] = {
    **{name: changing(changed_by(change)) for name, change in ANSWER_CHANGES.items()},
    **{name: changing(change) for name, change in DOCUMENTS.items()},
    **{name: writing(text) for name, text in BYTES.items()},
    "a pipe": pipe,
    "no attention": mapped(lambda data: data.fill(np.nan)),
    "infinite attention": mapped(lambda data: data.fill(np.inf)),
    "negative attention": mapped(lambda data: np.negative(data, out=data)),
    "attention of 100": mapped(lambda data: np.multiply(data, 100, out=data)),
    "a map beside the lattice": moved(1.0, 11.0),
    "a map of other cells": moved(2.0, 0.0),
    "a map that lies far away": moved(1.0, 1e15),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_it_is_made_again_and_the_run_goes_on(
    name: str, answers: Path, sources: list[SlideSource], bundle: Bundle, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(answers, tmp_path / "out"))
    EDITS[name](out)
    last(predict_slides(sources, bundle, out, ON_CPU))
    assert told(table(out)) == told(table(answers))
    assert read_prediction(out, NAMES[0], task=bundle.task) is not None


def test_a_document_of_a_version_before_is_read(work: Path, answers: Path) -> None:
    document = document_of(answers)
    for name in ("checksum", "notes"):
        del document["prediction"][name]
    writing(json.dumps(document).encode())(work)
    assert read_prediction(work, NAMES[0]) is not None


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), value=values)
def test_whatever_stands_at_a_place_it_is_sound_or_none(
    data: st.DataObject, value: object, work: Path, answers: Path
) -> None:
    whole = document_of(answers)
    place = data.draw(st.sampled_from(list(places(whole))))
    changed = without(whole, place) if data.draw(st.booleans()) and value is None else put(whole, place, value)
    writing(json.dumps(changed).encode())(work)
    read = read_prediction(work, NAMES[0])
    if read is not None:
        assert sum(read.probabilities.values()) == pytest.approx(1) and read.label in read.probabilities
        assert read.status in ("ok", "uncertain") and read.timings["total"] >= 0
        assert read.patch_attention.sum() == pytest.approx(1, abs=1e-3) and (read.patches.level0_yx < 2**40).all()


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), value=values, array=st.booleans())
def test_whatever_stands_in_the_description_of_a_map_it_is_sound_or_none(
    data: st.DataObject, value: object, array: bool, work: Path, answers: Path
) -> None:
    folder = f"{NAMES[0]}.attention.ome.zarr" + ("/0" if array else "")
    whole = json.loads((answers / folder / "zarr.json").read_text())
    place = data.draw(st.sampled_from(list(places(whole))))
    writing(json.dumps(document_of(answers)).encode())(work)
    (work / folder / "zarr.json").write_text(json.dumps(put(whole, place, value)))
    try:
        read = read_prediction(work, NAMES[0])
        shutil.copytree(work / f"{NAMES[0]}.attention.ome.zarr", work / "x.tissue.ome.zarr", dirs_exist_ok=True)
        with suppress(LrmilError):
            read_tissue(work, "x")
    finally:
        shutil.copy(answers / folder / "zarr.json", work / folder / "zarr.json")
    assert read is None or read.patch_attention.sum() == pytest.approx(1, abs=1e-3)
