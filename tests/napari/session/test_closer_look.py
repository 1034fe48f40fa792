"""Look closer: offered where it may help, asked with one press, answered beside what the student had said."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt

from lrmil.models.bundle import Bundle, save_bundle
from lrmil.prediction.files import read_prediction
from napari_lrmil.docks.classify import ClassifySlide
from napari_lrmil.session.session import Session
from napari_lrmil.state.worklist import Entry, with_prediction
from napari_lrmil.widgets.review_strip import answer_in_words
from support.teachers import teaching

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from pytestqt.qtbot import QtBot

Finish = Callable[[Session], None]


@pytest.fixture
def opened(viewer: "ViewerModel", session: Session, cohort: Path, qtbot: "QtBot") -> ClassifySlide:
    widget = ClassifySlide(viewer)
    qtbot.addWidget(widget)
    widget.show()
    widget.slides.open_file(str(cohort / "slides/demo-001.ome.tif"))
    return widget


def classified(widget: ClassifySlide, bundle: Bundle, folder: Path, finish: Finish) -> None:
    save_bundle(folder, bundle)
    widget.session.asks_about_models = False  # several are tried in one window
    widget.model.path.setText(str(folder))
    widget.model.load()
    finish(widget.session)
    widget.start()
    finish(widget.session)
    assert widget.session.shown is not None, widget.message.text()


def press(widget: ClassifySlide, qtbot: "QtBot") -> None:
    qtbot.mouseClick(widget.result.closer, Qt.MouseButton.LeftButton)


def test_one_press_asks_the_teacher(opened: ClassifySlide, tmp_path: Path, finish: Finish, qtbot: "QtBot") -> None:
    classified(opened, teaching(), tmp_path / "model", finish)
    button, session = opened.result.closer, opened.session
    before = session.shown
    assert before is not None and before.prediction.status == "uncertain"
    assert button.isVisible() and button.isEnabled() and "2 regions with most attention" in button.toolTip()
    assert "8 patches at 1 um/px" in button.toolTip()
    press(opened, qtbot)
    assert session.jobs.busy and not button.isEnabled()
    assert session.shown is before  # the student's answer stays until the teacher answers
    finish(session)
    after = session.shown
    assert after is not None and answer_in_words(after, revealed=True).endswith("%, escalated")
    assert answer_in_words(before, revealed=True).endswith("%, uncertain")
    assert after is not None and after.prediction.status == "escalated" and not button.isVisible()
    facts = opened.result.facts.text()
    assert "escalated: the teacher looked closer" in facts
    assert f"At low resolution: {before.prediction.label}" in facts and "more than one class is plausible" in facts
    assert facts.count("The teacher looked closer at 2 regions") == 1
    stored = read_prediction(after.out, "demo-001")
    assert stored is not None and stored.status == "escalated"
    opened.start()  # a press of Classify does not lose it
    finish(session)
    assert session.shown is not None and session.shown.prediction.escalation == after.prediction.escalation
    entry = Entry(after.source.path, "demo-001")
    row = with_prediction(entry, after.prediction, after.prediction.bundle_sha256)
    assert (row.status, row.done) == ("escalated", True)


def test_it_is_not_offered_where_it_cannot_help(
    opened: ClassifySlide, tmp_path: Path, finish: Finish, qtbot: "QtBot"
) -> None:
    assert not opened.result.closer.isVisible()
    classified(opened, replace(teaching(), teacher=None, teacher_networks=None), tmp_path / "without", finish)
    assert not opened.result.closer.isVisible()
    classified(opened, teaching(student=(0.5, 0.5)), tmp_path / "sure", finish)
    assert not opened.result.closer.isVisible()
    classified(opened, teaching(teacher=(0.0, 0.0)), tmp_path / "both", finish)
    assert opened.result.closer.isVisible()
    opened.session.read_first = True
    assert not opened.result.closer.isVisible()  # it would tell that the answer is uncertain
    opened.session.read_first = False
    press(opened, qtbot)
    finish(opened.session)
    shown = opened.session.shown
    assert shown is not None and shown.prediction.status == "uncertain" and shown.prediction.escalation is not None
    assert not opened.result.closer.isVisible()  # once is enough


def test_a_model_that_was_replaced_is_not_asked(
    opened: ClassifySlide, tmp_path: Path, finish: Finish, qtbot: "QtBot"
) -> None:
    classified(opened, teaching(), tmp_path / "model", finish)
    before = opened.session.shown
    save_bundle(tmp_path / "model", teaching(regions=1))
    press(opened, qtbot)
    finish(opened.session)
    assert "was replaced since it was loaded" in opened.message.text()
    assert opened.session.shown is before and opened.result.closer.isEnabled()
