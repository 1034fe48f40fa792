"""The slides of a run opened and encoded by other processes: the same features, whichever of them dies."""

import json
import os
import shutil
import signal
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from lrmil.errors import RunError, Stopped
from lrmil.features.store import read_card
from lrmil.io.atomic import LEFTOVER
from lrmil.models.encoders.loading import encoder_hash, load_encoder
from lrmil.patches import tissue
from lrmil.runs import log, slide_encoding
from lrmil.runs.control import request_stop
from lrmil.runs.slide_encoding import Made, RunEncoder
from lrmil.runs.train import train, train_steps
from lrmil.slides import opening
from lrmil.slides.dask_workers import DIED, DaskWorkers
from lrmil.slides.each import IN_PROCESS
from lrmil.slides.workers import Workers
from support.each_work import Poisoned
from support.runs import TinyRun, stamp_of, tiny_config

pytestmark = pytest.mark.long

LEFT_OUT = shutil.ignore_patterns("shared", "lr")  # trained weights stay: their keys tell if a feature differs


def features_in(run: Path) -> dict[str, list[bytes]]:
    """The content of the features, but for seconds."""
    found = {}
    for path in sorted(run.rglob("*.zarr")):
        arrays = [part.read_bytes() for part in sorted(path.rglob("*")) if part.is_file() and part.parent != path]
        found[path.relative_to(run).as_posix()] = [repr(replace(read_card(path), seconds=0.0)).encode(), *arrays]
    return found


def figures_in(run: Path) -> object:
    def without_seconds(value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {name: without_seconds(of) for name, of in value.items() if name != "seconds_per_slide"}

    return without_seconds(json.loads((run / "metrics.json").read_text()))


def test_stopped_and_with_a_worker_killed_the_features_and_figures_are_the_same(
    tiny_run: TinyRun, tmp_path: Path, two_workers: DaskWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "INTERVAL", 0.0)
    run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run", ignore=LEFT_OUT))
    trained = run / "fold-0/lr_encoder/artefact.json"
    before = stamp_of(trained)
    work = (tiny_run.slides, tiny_run.labels, run, tiny_config())
    steps = train_steps(*work, device="cpu", executor=two_workers)
    next(step for step in steps if step.job == ("LR features",) and step.done == 3)
    request_stop(run)
    with pytest.raises(Stopped):
        list(steps)
    assert 3 <= len(list((run / "shared/lr").glob("*.zarr"))) < 12
    kept = {path: stamp_of(path / "zarr.json") for path in (run / "shared/lr").glob("*.zarr")}
    for step in train_steps(*work, device="cpu", executor=two_workers):
        if step.job == ("HR features",) and step.done == 3:
            os.kill(next(iter(two_workers.client.run(os.getpid).values())), signal.SIGKILL)
    assert {path: stamp_of(path / "zarr.json") for path in kept} == kept
    assert features_in(run) == features_in(tiny_run.folder) and len(features_in(run)) == 4 * 12
    assert figures_in(run) == figures_in(tiny_run.folder) and stamp_of(trained) == before
    assert not [path for path in run.rglob("*") if LEFTOVER.fullmatch(path.name)]


def test_the_tissue_of_a_slide_is_found_once_in_a_run(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, real = list[str](), tissue.find_tissue
    monkeypatch.setattr(tissue, "find_tissue", lambda slide: looks.append(slide.slide_id) or real(slide))
    run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run", ignore=LEFT_OUT))
    train(tiny_run.slides, tiny_run.labels, run, tiny_config(), device="cpu")
    assert sorted(looks) == sorted(path.stem for path in (run / "shared/patches").iterdir()) and len(looks) == 12
    assert features_in(run) == features_in(tiny_run.folder) and len(features_in(run)) == 4 * 12
    for path in (run / "shared/patches").iterdir():
        path.unlink()
    shutil.rmtree(run / "shared/lr")
    looks.clear()
    train(tiny_run.slides, tiny_run.labels, run, tiny_config(), device="cpu")
    assert len(looks) == 12 and features_in(run) == features_in(tiny_run.folder)


def test_a_slide_that_kills_its_worker_is_left_out_and_this_process_never_opens_it(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_run.folder / "shared", tmp_path / "run/shared")
    opened, real = set[str](), opening.open_reader
    monkeypatch.setattr(opening, "open_reader", lambda path: opened.add(path.name) or real(path))
    work = (tiny_run.slides, tiny_run.labels, tmp_path / "run", tiny_config())
    run = train(*work, device="cpu", executor=Poisoned({"demo-003"}))
    assert run.failed == {"demo-003": DIED.message} and len(opened) == 11 and "demo-003.ome.tif" not in opened
    (problem,) = [one for one in json.loads((run.folder / "problems.json").read_text()) if one["slide_id"]]
    assert (problem["slide_id"], problem["message"]) == ("demo-003", DIED.message)


def test_the_processes_of_a_training_share_its_threads(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Enough(Exception):
        pass

    def refuse(*_: object, **named: object) -> None:
        raise Enough(named["threads"])

    monkeypatch.setattr(slide_encoding, "extract_features", refuse)
    monkeypatch.setattr(Workers, "kept", lambda workers: nullcontext(Poisoned(set())))
    work = (tiny_run.slides, tiny_run.labels, tmp_path / "run", tiny_config(threads=7))
    for executor, expected in ((Workers(3), 2), (IN_PROCESS, 7)):
        with pytest.raises(Enough, match=str(expected)):
            train(*work, device="cpu", executor=executor)


class TestRunEncoder:
    """What a worker loads from settings and weights."""

    def test_it_is_the_very_encoder(self, tiny_run: TinyRun) -> None:
        config = tiny_config()
        start = encoder_hash(load_encoder("test_resnet", size=64, pretrained=False))
        assert encoder_hash(RunEncoder(config, Made(), start, "cpu")().encoder) == start
        weights = tiny_run.folder / "fold-0/lr_encoder/encoder.safetensors"
        distilled = read_card(tiny_run.folder / "fold-0/lr/demo-000.zarr").encoder_hash
        loaded = RunEncoder(config, Made(student=True, weights=weights, layers=(0,)), distilled, "cpu")()
        assert encoder_hash(loaded.encoder) == distilled != start and loaded.layers == (0,)
        other = tiny_config(student_encoder="test_convnext")
        own = encoder_hash(load_encoder("test_convnext", size=64, pretrained=False))
        assert encoder_hash(RunEncoder(other, Made(student=True), own, "cpu")().encoder) == own

    def test_another_one_is_refused(self, tiny_run: TinyRun) -> None:
        with pytest.raises(RunError, match="has another encoder"):
            RunEncoder(tiny_config(), Made(), "ab" * 32, "cpu")()
        with pytest.raises(RunError, match="cannot load the encoder"):
            RunEncoder(tiny_config(), Made(weights=tiny_run.folder / "none"), "ab" * 32, "cpu")()
