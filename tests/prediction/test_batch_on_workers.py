"""Many slides classified by other processes: the same table and files, whichever process is killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from lrmil.errors import RunError
from lrmil.io.atomic import LEFTOVER
from lrmil.io.locks import output_lock
from lrmil.patches.tissue import segment_tissue
from lrmil.prediction import batch_outputs, one
from lrmil.prediction.batch import predict_slides
from lrmil.prediction.files import read_prediction
from lrmil.prediction.table import PredictionRow
from lrmil.raster import Raster
from lrmil.slides.dask_workers import DIED, DaskWorkers
from lrmil.slides.each import IN_PROCESS
from lrmil.slides.opening import open_slide
from lrmil.slides.shards import Shard
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from support.cli import table
from support.each_models import load_model, model_that_waits
from support.each_work import Poisoned
from support.runs import ON_CPU

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL"),
]


def classify(slides: Sequence[SlideSource], out: Path, **options: object) -> list[PredictionRow]:
    return last(predict_slides(slides, load_model(), out, ON_CPU, **options))  # type: ignore[arg-type]


def without_seconds(out: Path) -> list[dict[str, str]]:
    return [row | {"seconds": ""} for row in table(out / "predictions.csv")]


def require_same(out: Path, other: Path) -> None:
    """Require the same files and answers, and that nothing is left of processes that were killed."""
    assert without_seconds(out) == without_seconds(other)
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in other.iterdir())
    assert not [path for path in out.iterdir() if LEFTOVER.fullmatch(path.name)]
    for row in table(out / "predictions.csv"):
        mine, theirs = (read_prediction(folder, row["slide_id"]) for folder in (out, other))
        assert mine is not None and theirs is not None and mine.attention.equals(theirs.attention)


def computed_slides(patch: pytest.MonkeyPatch) -> list[str]:
    """Return a list to which each slide that this process classifies, and does not read, is added."""
    computed: list[str] = []
    real = one.classify_steps
    patch.setattr(one, "classify_steps", lambda slide, *a, **k: computed.append(slide.slide_id) or real(slide, *a, **k))
    return computed


def wait_for(path: Path) -> str:
    for _ in range(2400):
        if path.exists():
            return path.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{path.name} is not written")


def half_mask(source: SlideSource) -> Raster:
    with open_slide(source.path) as slide:
        mask = segment_tissue(slide)
    array = mask.array.copy()
    array[: len(array) // 2] = False
    return Raster(array, mask.to_level0)


def test_the_answers_are_the_same(slides: list[SlideSource], tmp_path: Path, two_workers: DaskWorkers) -> None:
    slides = [slides[1], slides[0], slides[2]]  # not in the order of their names
    slides[1].path.write_bytes(b"no slide")
    steps, rows = {}, {}
    mask = half_mask(slides[2])
    for name, executor in (("here", IN_PROCESS), ("elsewhere", two_workers)):
        made = list(
            predict_slides(
                slides,
                load_model(),
                tmp_path / name,
                ON_CPU,
                tissue={slides[2].slide_id: mask},
                executor=executor,
                load=load_model,
            )
        )
        steps[name] = [(step.done, step.total, step.message) for step in made if step.job == ("predict",)]
        rows[name] = [replace(row, seconds=0) for row in made[-1].result or []]
    assert steps["here"] == steps["elsewhere"] and len(steps["here"]) == 5
    assert rows["here"] == rows["elsewhere"]
    assert [row.status for row in rows["here"]] == ["ok", "failed", "ok"]
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    assert sorted(path.name for path in here.iterdir()) == sorted(path.name for path in elsewhere.iterdir())
    assert without_seconds(here) == without_seconds(elsewhere)
    for slide_id in ("demo-001", "demo-002"):
        mine, theirs = (read_prediction(folder, slide_id) for folder in (here, elsewhere))
        assert mine is not None and theirs is not None and mine.probabilities == theirs.probabilities
        assert np.array_equal(mine.patch_attention, theirs.patch_attention)


def test_the_model_can_be_sent(slides: list[SlideSource], tmp_path: Path, two_workers: DaskWorkers) -> None:
    rows = classify(slides[:2], tmp_path / "sent", executor=two_workers)
    assert rows == classify(slides[:2], tmp_path / "sent") and [row.status for row in rows] == ["ok", "ok"]


def test_a_slide_whose_process_died_every_time_is_a_failed_row(slides: list[SlideSource], tmp_path: Path) -> None:
    out = tmp_path / "out"
    classify(slides[:2], out)
    rows = classify(slides, out, executor=Poisoned({"demo-000"}))
    assert [(row.status, row.message) for row in rows] == [("failed", DIED.message), ("ok", ""), ("ok", "")]
    assert not (out / "demo-000.json").exists()
    assert [row["status"] for row in table(out / "predictions.csv")] == ["failed", "ok", "ok"]
    assert [row.status for row in classify(slides, out)] == ["ok", "ok", "ok"]


def test_a_worker_killed_in_the_middle_of_a_slide_loses_nothing(
    slides: list[SlideSource], tmp_path: Path, two_workers: DaskWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = tmp_path / "begun"
    killer = threading.Thread(target=lambda: os.kill(int(wait_for(begun)), signal.SIGKILL))
    killer.start()
    load = partial(model_that_waits, begun, "demo-001")
    rows = classify(slides, tmp_path / "killed", executor=two_workers, load=load)
    killer.join()
    assert [row.status for row in rows] == ["ok", "ok", "ok"]
    classify(slides, tmp_path / "serial")
    require_same(tmp_path / "killed", tmp_path / "serial")
    computed = computed_slides(monkeypatch)
    assert classify(slides, tmp_path / "killed") == rows and computed == []


def test_after_the_coordinator_is_killed_the_same_call_goes_on(
    slides: list[SlideSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, out = tmp_path / "begun", tmp_path / "out"
    script = f"""
from functools import partial
from pathlib import Path
from lrmil.prediction.batch import predict_slides
from lrmil.slides.source import SlideSource
from lrmil.slides.workers import Workers
from lrmil.steps import last
from support.each_models import load_model, model_that_waits
from support.runs import ON_CPU
slides = [SlideSource(name, Path(path)) for name, path in {[(one.slide_id, str(one.path)) for one in slides]}]
load = partial(model_that_waits, Path({str(begun)!r}), "demo-001")
last(predict_slides(slides, load_model(), Path({str(out)!r}), ON_CPU, executor=Workers(1), load=load))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    coordinator = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment)
    wait_for(begun)
    coordinator.kill()
    coordinator.communicate(timeout=30)  # ends when no process is left that may write
    computed = computed_slides(monkeypatch)
    classify(slides, out)
    assert computed == ["demo-001", "demo-002"]
    classify(slides, tmp_path / "serial")
    require_same(out, tmp_path / "serial")


def test_a_worker_without_the_output_folder_ends_the_run(
    slides: list[SlideSource], tmp_path: Path, two_workers: DaskWorkers
) -> None:
    steps = predict_slides(slides, load_model(), tmp_path / "out", ON_CPU, executor=two_workers, load=load_model)
    next(iter(steps))
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="does not see the output folder"):
        list(steps)


def test_shards_beside_each_other_and_then_a_plain_call(
    slides: list[SlideSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_outputs, "output_lock", partial(output_lock, patience=0.1))
    out, computed = tmp_path / "shards", computed_slides(monkeypatch)
    one_of_two = predict_slides(slides, load_model(), out, ON_CPU, shard=Shard(1, 2))
    next(iter(one_of_two))
    (row,) = classify(slides, out, shard=Shard(2, 2))
    assert row.slide_id == "demo-001" and computed == ["demo-001"]
    with pytest.raises(RunError, match="writing into the output folder"):
        classify(slides, out)
    assert [row.slide_id for row in last(one_of_two)] == ["demo-000", "demo-002"]
    assert sorted(computed) == ["demo-000", "demo-001", "demo-002"] and not (out / "predictions.csv").exists()
    computed.clear()
    classify(slides, out)
    assert computed == []
    classify(slides, tmp_path / "serial")
    require_same(out, tmp_path / "serial")
