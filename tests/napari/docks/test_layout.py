"""At 1366 x 768 the docks stand side by side, what decides is in view without scrolling, and nothing moves by itself.

In a window, with a mouse and a keyboard.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import QPoint, QRect, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDockWidget, QPushButton, QScrollArea, QWidget

from lrmil.models.bundle import load_bundle
from napari_lrmil.docks.classify import ClassifySlide
from napari_lrmil.docks.worklist import Worklist
from napari_lrmil.session.viewers import session_of
from napari_lrmil.state import folders
from napari_lrmil.widgets.parts import scrolling_column
from napari_lrmil.widgets.review_strip import ReviewStrip
from support.events import click

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    import napari

pytestmark = pytest.mark.usefixtures("display")
MakeViewer = Callable[..., "napari.Viewer"]
SIZE = (1366, 768)
WAIT = 60_000
SETTLED = 60  # ms


@pytest.fixture
def open_docks(
    make_napari_viewer: MakeViewer, model_folder: Path, cohort: Path, tmp_path: Path, qtbot: "QtBot"
) -> Callable[[], tuple["napari.Viewer", ClassifySlide, Worklist]]:
    """Opens a window with both docks and a list of one slide."""
    (tmp_path / "slides").mkdir()
    shutil.copy(cohort / "slides/demo-001.ome.tif", tmp_path / "slides")

    def docks() -> tuple["napari.Viewer", ClassifySlide, Worklist]:
        viewer = make_napari_viewer(show=True)
        viewer.window._qt_window.resize(*SIZE)
        session_of(viewer).take_model(model_folder, load_bundle(model_folder))
        _, classify = viewer.window.add_plugin_dock_widget("napari-lrmil", "Classify slide")
        _, worklist = viewer.window.add_plugin_dock_widget("napari-lrmil", "Worklist")
        worklist.open_folder(tmp_path / "slides")
        qtbot.waitUntil(
            lambda: not (worklist.scanning or worklist.tools.device.looking or classify.device.looking), timeout=WAIT
        )
        qtbot.wait(SETTLED)
        return viewer, classify, worklist

    return docks


def run(worklist: Worklist, classify: ClassifySlide, qtbot: "QtBot") -> None:
    """Open the slide of the list, and classify it."""
    worklist.open_slide(worklist.table.lines[0].entry)
    qtbot.waitUntil(lambda: worklist.session.chosen is not None, timeout=WAIT)
    click(classify.run)
    qtbot.waitUntil(lambda: not worklist.session.jobs.busy and not classify.gallery.reading, timeout=WAIT)
    assert worklist.session.shown is not None, classify.message.text()
    qtbot.wait(SETTLED)


def in_view(widget: QWidget, *, height: int | None = None) -> bool:
    """Return whether all of a widget, or its upper part, is in the window and in the area that scrolls it."""
    part = QRect(0, 0, widget.width(), height or widget.height())
    return widget.isVisible() and widget.visibleRegion().boundingRect().contains(part)


def at(widget: QWidget) -> QPoint:
    return widget.mapTo(widget.window(), QPoint(0, 0))


def area_of(viewer: "napari.Viewer", widget: QWidget) -> Qt.DockWidgetArea:
    return viewer.window._qt_window.dockWidgetArea(dock_of(widget))


def dock_of(widget: QWidget) -> QDockWidget:
    parent = widget.parentWidget()
    while not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent


def test_with_both_docks_what_decides_is_in_view(
    open_docks: Callable[[], tuple["napari.Viewer", ClassifySlide, Worklist]], qtbot: "QtBot"
) -> None:
    viewer, classify, worklist = open_docks()
    run(worklist, classify, qtbot)
    window = viewer.window._qt_window
    assert (window.width(), window.height()) == SIZE, "it was not pushed over the edge of the screen"
    (strip,) = window.findChildren(ReviewStrip)
    for part in (strip.name, strip.agree, strip.override, strip.uncertain, strip.back, strip.next, strip.note):
        assert in_view(part)
    for part in (classify.run, classify.cancel, classify.model.summary, *classify.result.bars.values()):
        assert in_view(part)
    assert in_view(classify.result.facts, height=classify.result.facts.fontMetrics().height())
    assert in_view(classify.review.reviewer) and in_view(worklist.tools.run_all) and in_view(worklist.status)
    assert worklist.view.viewport().height() >= 2 * worklist.view.rowHeight(0)
    assert min(viewer.canvas.size) > 250
    assert classify.model.card.isHidden()
    click(classify.model.details)
    assert classify.model.card.isVisible()


def test_the_docks_stand_where_they_were_and_the_choices_are_kept(
    open_docks: Callable[[], tuple["napari.Viewer", ClassifySlide, Worklist]], qtbot: "QtBot"
) -> None:
    viewer, classify, worklist = open_docks()
    assert area_of(viewer, worklist) == Qt.DockWidgetArea.BottomDockWidgetArea
    window = viewer.window._qt_window
    window.resizeDocks([dock_of(worklist)], [310], Qt.Orientation.Vertical)
    window.resizeDocks([dock_of(classify)], [460], Qt.Orientation.Horizontal)
    qtbot.wait(SETTLED)
    heights = dock_of(worklist).height(), dock_of(classify).width()
    click(classify.model.details)
    classify.review.reviewer.setFocus()
    QTest.keyClicks(classify.review.reviewer, "Dr A")
    QTest.keyClick(classify.review.reviewer, Qt.Key.Key_Return)
    classify.review.read_first.click()
    click(worklist.tools.go_on)
    viewer.close()

    viewer, classify, worklist = open_docks()
    assert (dock_of(worklist).height(), dock_of(classify).width()) == pytest.approx(heights, abs=4)
    assert classify.session.reviewer == classify.review.reviewer.text() == "Dr A"
    assert classify.session.read_first and classify.review.read_first.isChecked()
    assert classify.model.card.isVisible() and not worklist.tools.go_on.isChecked()
    viewer.close()

    folders.remember("place of Worklist", "right 400")  # as if it had been moved there
    viewer, classify, worklist = open_docks()
    assert area_of(viewer, worklist) == Qt.DockWidgetArea.RightDockWidgetArea
    assert viewer.window._qt_window.tabifiedDockWidgets(dock_of(worklist)) == [dock_of(classify)]
    assert worklist.height() > 500


def test_what_one_presses_stays_under_the_mouse(
    open_docks: Callable[[], tuple["napari.Viewer", ClassifySlide, Worklist]], qtbot: "QtBot"
) -> None:
    _, classify, worklist = open_docks()
    session = classify.session
    run(worklist, classify, qtbot)
    (strip,) = classify.window().findChildren(ReviewStrip)
    (area,) = (one for one in classify.findChildren(QScrollArea) if one.parentWidget() is classify)
    fixed = [classify.run, classify.cancel, classify.tissue, classify.review.agree, worklist.tools.run_all]
    fixed += [worklist.view, strip.agree, strip.uncertain, strip.back, strip.next]
    before = [at(part) for part in fixed]
    classify.window().activateWindow()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is classify.window(), timeout=WAIT)

    def check(why: str) -> None:
        qtbot.wait(SETTLED)
        moved = [(now - then).manhattanLength() for now, then in zip(map(at, fixed), before, strict=True)]
        assert max(moved) <= 2, why
        assert area.verticalScrollBar().value() == 0, f"{why}: the column scrolled by itself"

    for button in (classify.tissue, classify.run):
        click(button)
        assert session.jobs.busy and classify.cancel.hasFocus(), "a button with the focus was disabled"
        check("a job began")
        qtbot.waitUntil(lambda: not session.jobs.busy and not classify.gallery.reading, timeout=WAIT)
        assert classify.run.hasFocus()
        check("a job ended")
    for message in (classify.message, worklist.message):
        message.warn("Cannot read the slide, for a reason that takes more than one line to say. " * 3)
        check("a message came")
        message.say("")
    session.read_first = True
    session.read_first = False
    check("the output was hidden for a while")
    session.show(None)
    check("there is no result")


def test_a_dock_is_never_narrower_than_what_has_grown_in_it(qtbot: "QtBot") -> None:
    """Long names of classes widen buttons after the dock was laid out; nothing may be cut at the right."""
    owner, button = QWidget(), QPushButton("Agree")
    qtbot.addWidget(owner)
    scrolling_column(owner, [button])
    owner.show()
    before = owner.minimumSizeHint().width()
    button.setMinimumWidth(before + 300)
    qtbot.waitUntil(lambda: owner.minimumSizeHint().width() >= before + 300, timeout=5_000)
