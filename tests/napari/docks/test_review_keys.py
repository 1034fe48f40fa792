"""A list is reviewed with one key for each slide: it decides, saves and goes on; and none acts by accident."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from lrmil.models.bundle import load_bundle
from lrmil.reviews.log import latest_reviews, read_reviews
from lrmil.slides.discovery import find_slides
from lrmil.steps import last
from napari_lrmil.docks.worklist import Worklist
from napari_lrmil.jobs.classify_list import classify_list
from napari_lrmil.jobs.worker import JobWorker
from napari_lrmil.session.viewers import session_of
from napari_lrmil.state import folders
from napari_lrmil.state.worklist import entries_of
from napari_lrmil.widgets.review_strip import ReviewStrip
from support.events import activate, click, press

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    import napari

pytestmark = pytest.mark.usefixtures("display")
MakeViewer = Callable[..., "napari.Viewer"]
NAMES = ["demo-000", "demo-001", "demo-002"]
WAIT = 60_000


@pytest.fixture(scope="module")
def slides(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "slides"
    folder.mkdir()
    for name in NAMES:
        shutil.copy(cohort / f"slides/{name}.ome.tif", folder)
    return folder


@pytest.fixture(scope="module")
def results(slides: Path, model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    entries, out = entries_of(find_slides(slides)), tmp_path_factory.mktemp("results")
    last(classify_list(entries, entries, load_bundle(model_folder), slides, out, device="cpu"))
    return out


@pytest.fixture
def viewer(make_napari_viewer: MakeViewer, model_folder: Path) -> "napari.Viewer":
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1366, 768)
    session_of(viewer).take_model(model_folder, load_bundle(model_folder))
    return viewer


@pytest.fixture
def worklist(viewer: "napari.Viewer", slides: Path, results: Path, qtbot: "QtBot") -> Iterator[Worklist]:
    shutil.copytree(results, folders.data_folder() / "results")
    _, worklist = viewer.window.add_plugin_dock_widget("napari-lrmil", "Worklist")
    worklist.open_folder(slides)
    qtbot.waitUntil(lambda: sum(line.waits for line in worklist.table.lines) == len(NAMES), timeout=WAIT)
    qtbot.waitUntil(lambda: not worklist.tools.device.looking, timeout=WAIT)
    viewer.window._qt_window.activateWindow()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is viewer.window._qt_window, timeout=WAIT)
    yield worklist
    qtbot.waitUntil(lambda: not JobWorker._worker_set, timeout=WAIT)  # each holds what it reports to


@pytest.fixture
def strip(worklist: Worklist) -> ReviewStrip:
    (strip,) = worklist.window().findChildren(ReviewStrip)
    return strip


class Keyboard:
    """Presses keys in the window, wherever the focus is, and counts them."""

    def __init__(self, worklist: Worklist, qtbot: "QtBot") -> None:
        self.count, self._worklist, self._qtbot = 0, worklist, qtbot

    def press(self, *keys: str | Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        for key in keys:
            self.count += 1
            press(self._worklist, key, modifier=modifier)

    def wait_for(self, name: str) -> None:
        session = self._worklist.session
        self._qtbot.waitUntil(
            lambda: session.reviewing.up is not None and session.shown.prediction.slide_id == name, timeout=WAIT
        )

    def begin(self) -> None:
        """Open the first slide with Enter in the table."""
        table = self._worklist.view
        click(table.viewport())
        table.selectRow(0)
        table.setFocus()
        self.press(Qt.Key.Key_Return)
        self.wait_for(NAMES[0])
        self.count = 0


@pytest.fixture
def keyboard(worklist: Worklist, qtbot: "QtBot") -> Keyboard:
    return Keyboard(worklist, qtbot)


def said(worklist: Worklist) -> list[tuple[str, str, str]]:
    log = read_reviews(worklist.session.review_log)
    assert not log.unreadable
    return [(one.slide_id, one.event, one.decision or "") for one in log.reviews]


def test_a_list_is_reviewed_with_one_key_for_each_slide(
    worklist: Worklist, strip: ReviewStrip, keyboard: Keyboard, qtbot: "QtBot"
) -> None:
    keyboard.begin()
    for name, key, following in zip(NAMES, "AUA", [*NAMES[1:], None], strict=True):
        assert strip.name.text() == name and " %" in strip.answer.text() and strip.isVisible()
        activate(worklist.window())
        focused = QApplication.focusWidget()
        keyboard.press(key)
        if following:
            keyboard.wait_for(following)
        activate(worklist.window())
        assert focused is not None and QApplication.focusWidget() is focused
    assert keyboard.count == len(NAMES)
    decisions = ("agree", "uncertain", "agree")
    decided = [(name, "review", decision) for name, decision in zip(NAMES, decisions, strict=True)]
    assert said(worklist) == decided and worklist.status.text().endswith("3 reviewed")
    keyboard.press("A", "U")
    assert said(worklist) == decided, "nothing is up for review, so no key acts"


def test_an_override_is_o_and_the_digit_of_its_class(
    worklist: Worklist, strip: ReviewStrip, keyboard: Keyboard, qtbot: "QtBot"
) -> None:
    keyboard.begin()
    prediction = worklist.session.shown.prediction
    names = list(prediction.probabilities)
    own, other = (str(1 + names.index(name)) for name in (prediction.label, *set(names) - {prediction.label}))
    keyboard.press(other)
    assert said(worklist) == [], "a digit alone is napari's"
    keyboard.press("O", Qt.Key.Key_Escape, other)
    assert said(worklist) == []
    keyboard.press("O")
    assert f"{other} {names[int(other) - 1]}" in strip.said.text()
    keyboard.press(own)
    assert said(worklist) == [] and "what the model says" in strip.said.text()
    keyboard.press(other)
    keyboard.wait_for(NAMES[1])
    assert said(worklist) == [(NAMES[0], "review", "override")]


def test_z_takes_the_last_one_back_with_its_note(
    worklist: Worklist, strip: ReviewStrip, keyboard: Keyboard, qtbot: "QtBot"
) -> None:
    keyboard.press("Z")
    assert "Nothing to take back" in strip.said.text() and not worklist.session.review_log.exists()
    keyboard.begin()
    qtbot.wait(50)  # until the focus has come back from the slide that was opened
    click(strip.note)
    activate(worklist.window())
    assert strip.note.hasFocus()
    keyboard.press(*"zoAu")
    assert strip.note.text() == "zoAu" and said(worklist) == [], "typing decides nothing"
    keyboard.press(Qt.Key.Key_Return, "U")
    keyboard.wait_for(NAMES[1])
    assert strip.note.text() == ""
    keyboard.press("Z")
    keyboard.wait_for(NAMES[0])
    assert strip.note.text() == "zoAu" and worklist.status.text().endswith("0 reviewed")
    keyboard.press("A")
    keyboard.wait_for(NAMES[1])
    assert said(worklist) == [
        (NAMES[0], event, decision)
        for event, decision in (("review", "uncertain"), ("withdraw", "uncertain"), ("review", "agree"))
    ]
    (latest,) = latest_reviews(read_reviews(worklist.session.review_log).reviews).values()
    assert latest.decision == "agree" and latest.note == "zoAu"


def test_before_the_output_is_shown_no_key_decides(
    worklist: Worklist, strip: ReviewStrip, keyboard: Keyboard, qtbot: "QtBot"
) -> None:
    worklist.session.read_first = True
    table = worklist.view
    table.selectRow(0)
    table.setFocus()
    keyboard.press(Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: worklist.session.shown is not None, timeout=WAIT)
    keyboard.press("A", "U")
    assert said(worklist) == [] and "%" not in strip.answer.text()
    keyboard.press("O", "1")
    keyboard.wait_for(NAMES[0])
    keyboard.press("A")
    qtbot.waitUntil(lambda: len(said(worklist)) == 2, timeout=WAIT)
    assert [event for _, event, _ in said(worklist)] == ["read", "review"]
    assert read_reviews(worklist.session.review_log).reviews[1].human_first


def test_tab_leaves_the_table(worklist: Worklist, keyboard: Keyboard) -> None:
    worklist.view.setFocus()
    worklist.view.selectRow(0)
    keyboard.press(Qt.Key.Key_Tab)
    assert QApplication.focusWidget() is not worklist.view


def test_a_slide_that_is_hidden_is_not_up_for_review(
    worklist: Worklist, strip: ReviewStrip, keyboard: Keyboard
) -> None:
    keyboard.begin()
    worklist.session.chosen.visible = False
    keyboard.press("A")
    assert said(worklist) == [] and not strip.agree.isEnabled()
    worklist.session.chosen.visible = True
    keyboard.press("A")
    assert said(worklist) == [(NAMES[0], "review", "agree")]
