"""Another model replaces the one with answers on the screen only after a question, and one press undoes it.

In a window, with a mouse and a keyboard.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog

from lrmil.models.bundle import Bundle, load_bundle, save_bundle
from napari_lrmil.docks.classify import ClassifySlide
from napari_lrmil.widgets.questions import NOT_AGAIN
from support.events import answering, click

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    import napari

pytestmark = pytest.mark.usefixtures("display")
MakeViewer = Callable[..., "napari.Viewer"]
WAIT = 60_000


@pytest.fixture
def viewer(make_napari_viewer: MakeViewer) -> "napari.Viewer":
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1366, 768)
    return viewer


@pytest.fixture
def present(model_folder: Path) -> Bundle:
    return load_bundle(model_folder)


@pytest.fixture
def other(present: Bundle, tmp_path: Path) -> Path:
    save_bundle(tmp_path / "other", replace(present, license="MIT"))
    return tmp_path / "other"


@pytest.fixture
def dock(viewer: "napari.Viewer", cohort: Path, model_folder: Path, present: Bundle, qtbot: "QtBot") -> ClassifySlide:
    """A slide has been classified."""
    _, dock = viewer.window.add_plugin_dock_widget("napari-lrmil", "Classify slide")
    dock.session.take_model(model_folder, present)
    viewer.open(str(cohort / "slides/demo-001.ome.tif"), plugin="napari-lrmil")
    qtbot.waitUntil(lambda: not dock.device.looking, timeout=WAIT)
    click(dock.run)
    qtbot.waitUntil(lambda: not dock.session.jobs.busy and not dock.gallery.reading, timeout=WAIT)
    assert dock.session.shown is not None, dock.message.text()
    return dock


def enter(dock: ClassifySlide, folder: Path, qtbot: "QtBot", asked: Callable[[], object] = lambda: True) -> None:
    """Type a model folder, press Enter, and wait for the question, if one is expected."""
    dock.model.path.selectAll()
    QTest.keyClicks(dock.model.path, str(folder))
    QTest.keyClick(dock.model.path, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: not dock.session.jobs.busy and bool(asked()), timeout=WAIT)


def test_another_model_is_asked_about_once_and_one_press_goes_back(
    dock: ClassifySlide, present: Bundle, other: Path, model_folder: Path, qtbot: "QtBot"
) -> None:
    session, answer = dock.session, dock.session.shown
    assert not dock.model.back.isVisible()
    asked = answering("Cancel")
    enter(dock, other, qtbot, asked)
    assert len(asked()) == 1 and "Back to" in asked()[0]
    assert session.bundle.sha256 == present.sha256 and session.shown is answer
    assert dock.model.path.text() == str(model_folder) and not dock.model.back.isVisible()

    asked = answering("Use other")
    enter(dock, other, qtbot, asked)
    assert len(asked()) == 1 and session.model_folder == other and session.shown is None
    click(dock.run)
    qtbot.waitUntil(lambda: not session.jobs.busy, timeout=WAIT)
    newer = session.shown
    assert newer.prediction.bundle_sha256 == session.bundle.sha256 != present.sha256

    for shown in (answer, newer):  # the press goes back, and back again
        assert dock.model.back.text().startswith("Back to ")
        click(dock.model.back)
        assert session.shown is shown and session.bundle.sha256 == shown.prediction.bundle_sha256
        assert dock.model.path.text() == str(session.model_folder)


def test_a_refused_model_classifies_nothing_and_who_is_tired_of_the_question_is_spared_it(
    dock: ClassifySlide, other: Path, model_folder: Path, qtbot: "QtBot"
) -> None:
    session, answer = dock.session, dock.session.shown
    asked = answering("Cancel", tick=NOT_AGAIN)
    dock.model.path.selectAll()
    QTest.keyClicks(dock.model.path, str(other))
    click(dock.run)
    qtbot.waitUntil(lambda: bool(asked()) and not session.jobs.busy, timeout=WAIT)
    assert session.shown is answer, "a no is never remembered, and nothing was classified"
    asked = answering("Use other", tick=NOT_AGAIN)
    enter(dock, other, qtbot, asked)
    assert len(asked()) == 1 and session.model_folder == other
    click(dock.model.back)
    enter(dock, other, qtbot)
    assert session.model_folder == other and session.shown is None


def test_a_model_that_was_trained_again_into_its_folder_is_another_model(
    dock: ClassifySlide, present: Bundle, model_folder: Path, tmp_path: Path, qtbot: "QtBot"
) -> None:
    save_bundle(tmp_path / "model", present)
    enter(dock, tmp_path / "model", qtbot)
    assert dock.session.shown is not None and not dock.model.back.isVisible(), "a copy is the same model"
    save_bundle(tmp_path / "model", replace(present, license="MIT"))
    asked = answering(f"Use {tmp_path.name}/model")
    enter(dock, tmp_path / "model", qtbot, asked)
    assert len(asked()) == 1 and present.sha256[:12] in dock.model.back.text()
    click(dock.model.back)
    assert dock.session.bundle.sha256 == present.sha256 and dock.session.shown is not None


def test_the_folder_of_a_run_stands_for_its_model(
    dock: ClassifySlide, present: Bundle, tmp_path: Path, qtbot: "QtBot"
) -> None:
    save_bundle(tmp_path / "run/model", present)
    enter(dock, tmp_path / "run", qtbot)
    assert dock.session.model_folder == tmp_path / "run/model" and not dock.message.isVisible()
    assert dock.model.path.text() == str(tmp_path / "run/model") and not dock.model.waiting.isVisible()


def test_the_answers_of_a_list_count_too(
    viewer: "napari.Viewer",
    dock: ClassifySlide,
    cohort: Path,
    other: Path,
    qtbot: "QtBot",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, worklist = viewer.window.add_plugin_dock_widget("napari-lrmil", "Worklist")
    worklist.open_folder(cohort / "slides")
    qtbot.waitUntil(lambda: not worklist.scanning and not worklist.tools.device.looking, timeout=WAIT)
    assert [line.entry.slide_id for line in worklist.table.lines if line.waits] == ["demo-001"]
    viewer.layers.clear()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(other))
    for words in ("Cancel", "Use other"):
        asked = answering(words)
        click(worklist.tools.choose_model)
        qtbot.waitUntil(lambda asked=asked: bool(asked()) and not worklist.scanning, timeout=WAIT)
        assert len(asked()) == 1
    qtbot.waitUntil(lambda: not any(line.waits for line in worklist.table.lines), timeout=WAIT)
    click(worklist.tools.back)
    qtbot.waitUntil(lambda: any(line.waits for line in worklist.table.lines), timeout=WAIT)
