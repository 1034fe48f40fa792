"""What is wrong with a slide or a folder of the worklist stands in its row or above the table, and nowhere else."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QDockWidget, QMainWindow

from lrmil.models.bundle import load_bundle
from lrmil.steps import Step
from napari_lrmil.docks.worklist import Worklist
from napari_lrmil.session.session import Session
from napari_lrmil.state.messages import REMEDY_HERE, reworded
from napari_lrmil.state.worklist_memory import list_file
from napari_lrmil.widgets.worklist.line import CLASS, MESSAGE, PROBABILITY, SLIDE, STATUS
from support.slides import overwrite, segment_of, write_pyramid

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

Finish = Callable[[Session], None]
Open = Callable[[Path, int], None]
PATIENCE = 60_000
TISSUE = np.clip(np.random.default_rng(0).normal((200, 130, 180), 25, (1024, 1024, 3)), 1, 255).astype(np.uint8)
LEVEL_1 = "Level 1 is damaged. The finer level 0 was read instead in"


@pytest.fixture
def worklist(viewer: ViewerModel, session: Session, model_folder: Path, qtbot: "QtBot") -> Worklist:
    """The dock with a model and no folder."""
    session.bundle, session.model_folder = load_bundle(model_folder), model_folder
    worklist = Worklist(viewer)
    qtbot.addWidget(worklist)
    return worklist


@pytest.fixture
def read(worklist: Worklist, qtbot: "QtBot") -> Open:
    """Open a folder and wait until so many slides are listed."""

    def read(folder: Path, count: int) -> None:
        worklist.open_folder(folder)
        qtbot.waitUntil(lambda: len(worklist.table.lines) == count, timeout=PATIENCE)
        qtbot.waitUntil(lambda: not worklist.scanning, timeout=PATIENCE)

    return read


@pytest.fixture
def slides(cohort: Path, tmp_path: Path) -> Path:
    """A folder with one good slide."""
    (tmp_path / "slides").mkdir()
    shutil.copy(cohort / "slides" / "demo-000.ome.tif", tmp_path / "slides")
    return tmp_path / "slides"


@pytest.fixture
def damaged(slides: Path) -> Path:
    """The folder with a second slide, of which a level is damaged."""
    path = slides / "level.tif"
    write_pyramid(path, TISSUE, tile=64, factors=(4, 16))
    for index in range(16):
        offset, count = segment_of(path, 1, index)
        overwrite(path, offset, b"x" * count)
    return slides


def cells(worklist: Worklist, column: int) -> dict[str, str]:
    return {line.entry.path.name: line.text(column) for line in worklist.table.lines}


def tip(worklist: Worklist, name: str, role: Qt.ItemDataRole = Qt.ItemDataRole.ToolTipRole) -> object:
    row = list(cells(worklist, SLIDE)).index(name)
    return worklist.table.data(worklist.table.index(row, MESSAGE), role)


def test_what_is_no_slide_is_one_failed_row_and_the_rest_is_classified(
    worklist: Worklist, slides: Path, read: Open, finish: Finish
) -> None:
    (slides / "a folder.svs").mkdir()
    (slides / "a loop.svs").symlink_to(slides / "a loop.svs")
    (slides / "nowhere.svs").symlink_to(slides / "gone.svs")
    read(slides, 4)
    told: list[str] = []
    worklist.session.jobs.failed.connect(told.append)
    states = {"a folder.svs": "failed", "a loop.svs": "failed", "demo-000.ome.tif": "ok", "nowhere.svs": "failed"}
    for _ in range(2):
        worklist.classify_all()
        finish(worklist.session)
        assert cells(worklist, STATUS) == states and not told
    messages = cells(worklist, MESSAGE)
    assert (
        all(name in messages[name] for name in states if states[name] == "failed") and len(set(messages.values())) > 2
    )
    read(slides, 4)  # as at the next start
    assert cells(worklist, STATUS) == states and cells(worklist, MESSAGE) == messages


def test_a_slide_that_becomes_a_folder_while_the_list_runs_is_one_failed_row(
    worklist: Worklist, slides: Path, read: Open, finish: Finish
) -> None:
    shutil.copy(slides / "demo-000.ome.tif", slides / "aaa.tif")
    read(slides, 2)
    (slides / "aaa.tif").unlink()
    (slides / "aaa.tif").mkdir()
    worklist.classify_all()
    finish(worklist.session)
    assert cells(worklist, STATUS) == {"aaa.tif": "failed", "demo-000.ome.tif": "ok"}


def test_a_slide_without_um_per_px_says_what_to_do_in_the_window_and_doing_it_helps(
    worklist: Worklist, slides: Path, read: Open, finish: Finish, qtbot: "QtBot"
) -> None:
    write_pyramid(slides / "bare.tif", TISSUE, None)
    read(slides, 2)
    worklist.classify_all()
    finish(worklist.session)
    said = cells(worklist, MESSAGE)["bare.tif"]
    assert said.endswith(REMEDY_HERE) and "--mpp" not in said and "Python" not in said
    worklist.open_slide(worklist.table.lines[0].entry)
    qtbot.waitUntil(lambda: "bare" in worklist.session.viewer.layers, timeout=PATIENCE)
    worklist.session.classify(worklist.session.viewer.layers["bare"], device="cpu", mpp=0.5)
    finish(worklist.session)
    assert cells(worklist, STATUS)["bare.tif"] == "ok" and REMEDY_HERE not in cells(worklist, MESSAGE)["bare.tif"]
    worklist.classify_all()
    finish(worklist.session)
    assert cells(worklist, STATUS)["bare.tif"] == "ok"


def test_how_a_damaged_slide_was_read_stands_in_its_row_and_in_the_table_beside(
    worklist: Worklist, damaged: Path, read: Open, finish: Finish
) -> None:
    read(damaged, 2)
    worklist.classify_all()
    finish(worklist.session)
    said = cells(worklist, MESSAGE)
    assert cells(worklist, STATUS)["level.tif"] == "ok" and said["level.tif"].startswith(LEVEL_1)
    assert said["demo-000.ome.tif"] == "" and tip(worklist, "demo-000.ome.tif") is None
    assert tip(worklist, "level.tif") == f"<qt>{said['level.tif']}</qt>"
    assert "1 with notes" in worklist.message.text()
    with list_file(worklist.session.preferences.results, damaged, ".csv").open(newline="", encoding="utf-8") as file:
        rows = {row["slide_id"]: row for row in csv.DictReader(file)}
    assert reworded(rows["level"]["notes"]) == said["level.tif"] and rows["level"]["message"] == ""
    read(damaged, 2)  # as at the next start
    assert cells(worklist, MESSAGE) == said


def test_a_tip_shows_a_name_as_it_is(worklist: Worklist, slides: Path, read: Open) -> None:
    (slides / "<b>x<b>.tif").write_bytes(b"no slide")
    read(slides, 2)
    row = list(cells(worklist, SLIDE)).index("<b>x<b>.tif")
    shown = worklist.table.data(worklist.table.index(row, SLIDE), Qt.ItemDataRole.ToolTipRole)
    assert str(shown).endswith("&lt;b&gt;x&lt;b&gt;.tif</qt>")


def test_what_was_said_of_a_folder_goes_when_another_is_opened(
    worklist: Worklist, slides: Path, tmp_path: Path, read: Open, finish: Finish
) -> None:
    (tmp_path / "empty").mkdir()
    read(slides, 1)
    worklist.classify_all()
    finish(worklist.session)
    assert "1 of 1" in worklist.message.text()
    read(tmp_path / "empty", 0)
    assert worklist.message.text() == "" and worklist.status.text() == "No slides."
    worklist.message.warn("an old error")
    read(slides, 1)
    assert worklist.message.text() == ""


def test_another_folder_cannot_be_chosen_while_a_job_runs(
    worklist: Worklist, slides: Path, read: Open, finish: Finish
) -> None:
    read(slides, 1)
    seen: list[tuple[bool, str]] = []
    button = worklist.tools.choose_folder
    worklist.session.jobs.stepped.connect(lambda _: seen.append((button.isEnabled(), button.toolTip())))
    worklist.classify_all()
    finish(worklist.session)
    assert len(set(seen)) == 1 and not seen[0][0] and seen[0][1] != "", "the tip says why"
    assert button.isEnabled() and button.toolTip() == ""


def test_progress_of_a_list_is_not_shown_over_another(
    worklist: Worklist, slides: Path, tmp_path: Path, read: Open, finish: Finish, qtbot: "QtBot"
) -> None:
    shutil.copytree(slides, tmp_path / "other")
    read(slides, 1)
    seen: list[str] = []

    def change(step: Step[object]) -> None:
        if worklist.folder == slides:
            worklist.open_folder(tmp_path / "other")
        else:
            seen.append(worklist.progress.format())

    worklist.session.jobs.stepped.connect(change)
    worklist.classify_all()
    finish(worklist.session)
    worklist.session.jobs.stepped.disconnect(change)
    qtbot.waitUntil(lambda: cells(worklist, STATUS) == {"demo-000.ome.tif": "new"}, timeout=PATIENCE)
    assert set(seen) == {"classify 1 slides of slides"}
    assert "1 of 1" in worklist.message.text() and "of slides" in worklist.message.text(), "the folder is named"


def test_in_a_window_of_1500_px_slide_answer_and_message_are_seen_and_failed_rows_are_red(
    worklist: Worklist, slides: Path, read: Open, finish: Finish, qtbot: "QtBot"
) -> None:
    (slides / "text.svs").write_bytes(b"no slide")
    read(slides, 2)
    window, dock = QMainWindow(), QDockWidget("Worklist")
    qtbot.addWidget(window)
    dock.setWidget(worklist)
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    window.setCentralWidget(QMainWindow())
    window.resize(1500, 950)
    window.show()
    qtbot.waitExposed(window)
    worklist.classify_all()
    finish(worklist.session)
    header = worklist.view.horizontalHeader()
    room = worklist.view.viewport().width()  # type: ignore[union-attr]
    for column in (SLIDE, STATUS, CLASS, PROBABILITY, MESSAGE):
        assert header.sectionViewportPosition(column) + header.sectionSize(column) <= room  # type: ignore[union-attr]
    assert header.sectionSize(MESSAGE) >= 130  # type: ignore[union-attr]
    background = Qt.ItemDataRole.BackgroundRole
    assert tip(worklist, "text.svs", background) == QColor("#7a2e2e")
    assert tip(worklist, "demo-000.ome.tif", background) is None
    worklist.setParent(None)  # the window must not take it along


def test_a_wide_table_gives_the_message_what_is_left(worklist: Worklist, qtbot: "QtBot") -> None:
    worklist.resize(1400, 500)
    worklist.show()
    qtbot.waitExposed(worklist)
    assert worklist.view.horizontalHeader().length() == worklist.view.viewport().width()  # type: ignore[union-attr]


def test_a_folder_that_is_not_there_is_said(worklist: Worklist, slides: Path, read: Open, qtbot: "QtBot") -> None:
    read(slides, 1)
    worklist.open_folder(slides / "nowhere")
    assert worklist.status.text() == "No slides."
    qtbot.waitUntil(lambda: str(slides / "nowhere") in worklist.message.text(), timeout=PATIENCE)
    assert not worklist.table.lines and not worklist.tools.run_all.isEnabled()


def test_a_message_of_an_earlier_job_goes_when_the_next_one_begins(worklist: Worklist) -> None:
    worklist.session.jobs.failed.emit("Cannot read the slide.")
    assert worklist.message.text() == "Cannot read the slide."
    worklist.session.jobs.began.emit()
    assert worklist.message.isHidden()
