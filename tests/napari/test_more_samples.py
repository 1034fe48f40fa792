"""The samples besides the slide: what they make, that they make it once, and that it stands in its window."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lrmil.cli.options import config_of
from lrmil.cli.parser import build_parser
from lrmil.configs import TrainConfig, with_settings
from lrmil.demo import model
from lrmil.errors import LrmilError
from lrmil.slides.discovery import find_slides
from lrmil.slides.opening import open_slide
from napari_lrmil import more_samples
from napari_lrmil.more_samples import run_steps, training_arguments, worklist_steps
from napari_lrmil.session.viewers import session_of
from napari_lrmil.state import folders
from support.runs import TinyRun

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    import napari

MakeViewer = Callable[..., "napari.Viewer"]


@pytest.fixture
def nothing_is_trained(model_folder: Path, own_folders: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A model in the place of the demonstration's; the processes that would have run."""
    shutil.copytree(model_folder, own_folders / "cache" / f"demo-model-{model._key()}")
    asked: list[list[str]] = []
    monkeypatch.setattr(more_samples, "made_by_a_process", lambda arguments, *_: asked.append(arguments) or iter(()))
    return asked


def test_a_worklist_has_eleven_slides_and_a_broken_one(nothing_is_trained: list[list[str]]) -> None:
    cache = folders.cache_folder()
    *_, end = worklist_steps(cache)
    assert end.result is not None and nothing_is_trained == [["demo", "--small", "--out", str(cache)]]
    found = find_slides(end.result[0])
    broken = []
    for path in found:
        try:
            open_slide(path).close()
        except LrmilError:
            broken.append(path.name)
    assert len(found) == 12 and broken == ["sample-12-broken.ome.tif"]
    before = {path: path.stat().st_mtime_ns for path in found}
    list(worklist_steps(cache))
    assert {path: path.stat().st_mtime_ns for path in found} == before, "they are made once"


@pytest.mark.usefixtures("display", "nothing_is_trained")
def test_the_worklist_opens_with_its_model(make_napari_viewer: MakeViewer, qtbot: "QtBot") -> None:
    viewer = make_napari_viewer(show=True)
    (layer,) = viewer.open_sample("napari-lrmil", "synthetic-worklist")
    assert layer.name == "sample-01"
    qtbot.waitUntil(lambda: "Worklist (LRMIL)" in viewer.window.dock_widgets, timeout=120_000)
    worklist, session = viewer.window.dock_widgets["Worklist (LRMIL)"], session_of(viewer)
    qtbot.waitUntil(lambda: len(worklist.table.lines) == 12 and not worklist.scanning, timeout=60_000)
    assert session.bundle is not None
    qtbot.waitUntil(lambda: not session.jobs.busy and not worklist.tools.device.looking, timeout=60_000)


@pytest.mark.usefixtures("display", "nothing_is_trained")
def test_the_finished_run_opens_in_its_window(
    make_napari_viewer: MakeViewer, tiny_run: TinyRun, qtbot: "QtBot"
) -> None:
    cache = folders.cache_folder()
    shutil.copytree(tiny_run.folder, cache / "sample-run")
    (cache / "sample-run/report.html").touch()
    (cache / "sample-cohort").mkdir()
    shutil.copy(tiny_run.labels, cache / "sample-cohort/labels.csv")
    viewer = make_napari_viewer(show=True)
    (layer,) = viewer.open_sample("napari-lrmil", "synthetic-run")
    assert layer.name == "synthetic-positive"
    qtbot.waitUntil(lambda: "Train from folder (LRMIL)" in viewer.window.dock_widgets, timeout=60_000)
    training = viewer.window.dock_widgets["Train from folder (LRMIL)"]
    assert training.cohort.run.text() == str(cache / "sample-run")
    qtbot.waitUntil(training.result.use.isEnabled, timeout=60_000)
    qtbot.waitUntil(lambda: not session_of(viewer).jobs.busy, timeout=60_000)


def test_a_run_is_trained_once_with_the_demonstration_s_settings(
    nothing_is_trained: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "COHORT", {**model.COHORT, "slides": 12})
    cache = folders.cache_folder()
    *_, end = run_steps(cache)
    (arguments,) = nothing_is_trained
    assert end.result == cache / "sample-run" and arguments == training_arguments(cache / "sample-cohort", end.result)
    options = build_parser().parse_args(arguments)
    assert config_of(options) == with_settings(TrainConfig(), model.SETTINGS)
    assert len(list(options.slides.iterdir())) == 12 and options.out == end.result
