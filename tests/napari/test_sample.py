"""The sample: a slide at once, then a model made by a process, then the classified slide."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from napari.components import ViewerModel

from lrmil.demo import model
from lrmil.slides.source import SlideSource
from napari_lrmil import sample
from napari_lrmil.sample import make_demo_model, open_sample
from napari_lrmil.session.session import Session
from napari_lrmil.state import folders

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

Finish = Callable[[Session], None]
SAMPLE = SlideSource("synthetic-positive", Path("synthetic-positive.ome.tif"))


@pytest.fixture
def made(model_folder: Path, own_folders: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model in the place of the demonstration's, so that none is trained."""
    import shutil

    target = own_folders / "cache" / f"demo-model-{model._key()}"
    shutil.copytree(model_folder, target)
    return target


def test_the_slide_is_opened_at_once() -> None:
    ((data, keywords, kind),) = open_sample()
    assert kind == "image" and data[0].shape == (3072, 3072, 3) and keywords["scale"] == (0.5, 0.5)
    assert (folders.cache_folder() / "synthetic-positive.ome.tif").is_file()


@pytest.mark.long
def test_the_slide_is_classified_when_the_model_is_there(
    viewer: ViewerModel, session: Session, made: Path, qtbot: "QtBot"
) -> None:
    ((data, keywords, _),) = open_sample()
    viewer.add_image(data, **keywords)
    make_demo_model(session, SAMPLE._replace(path=Path(keywords["metadata"]["lrmil"]["path"])))
    qtbot.waitUntil(lambda: session.shown is not None and session.shown.complete, timeout=120_000)
    assert session.model_folder == made and viewer.canvas.overlays.scale_bar.visible


def test_a_making_that_fails_is_said(session: Session, finish: Finish, monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen
    failing = [sys.executable, "-c", "import sys; sys.exit('lrmil demo: the disk is full')"]
    monkeypatch.setattr(sample.subprocess, "Popen", lambda command, **options: real(failing, **options))
    said: list[str] = []
    session.jobs.failed.connect(said.append)
    make_demo_model(session, SAMPLE)
    finish(session)
    assert len(said) == 1 and "the disk is full" in said[0] and session.bundle is None


def test_cancelling_ends_the_process(
    session: Session, finish: Finish, monkeypatch: pytest.MonkeyPatch, qtbot: "QtBot"
) -> None:
    real, started = subprocess.Popen, []

    def start(command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
        started.append(real([sys.executable, "-c", "import time; time.sleep(600)"], **options))
        return started[0]

    monkeypatch.setattr(sample.subprocess, "Popen", start)
    make_demo_model(session, SAMPLE)
    qtbot.waitUntil(lambda: bool(started), timeout=20_000)
    session.jobs.cancel()
    finish(session)
    assert started[0].poll() is not None
