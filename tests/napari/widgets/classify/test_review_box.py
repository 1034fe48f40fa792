"""A reader's word on a prediction: saved once chosen, blind first on demand, never lost, and exported with the case."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from napari.components import ViewerModel
from qtpy.QtGui import QDesktopServices, QShortcut

from lrmil.models.bundle import Bundle, load_bundle
from lrmil.prediction.one import predict_one
from lrmil.prediction.prediction import Prediction
from lrmil.reviews.log import Review, read_reviews
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from napari_lrmil.session import session as session_module
from napari_lrmil.session.session import Session
from napari_lrmil.session.viewers import session_of
from napari_lrmil.state.preferences import Preferences
from napari_lrmil.state.shown import ShownPrediction
from napari_lrmil.widgets.classify.overlay_box import OverlayBox
from napari_lrmil.widgets.classify.result_box import ResultBox
from napari_lrmil.widgets.classify.review_box import ReviewBox
from support.runs import ON_CPU

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

Show = Callable[..., ShownPrediction]


@pytest.fixture(scope="module")
def bundle(model_folder: Path) -> Bundle:
    return load_bundle(model_folder)


@pytest.fixture(scope="module")
def predictions(cohort: Path, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ShownPrediction]:
    found = {}
    for name in ("demo-001", "demo-002"):
        source = SlideSource(name, cohort / "slides" / f"{name}.ome.tif")
        out = tmp_path_factory.mktemp(name)
        found[name] = ShownPrediction(last(predict_one(source, bundle, out, ON_CPU)), source, out)
    return found


@pytest.fixture
def box(session: Session, bundle: Bundle, qtbot: "QtBot") -> ReviewBox:
    session.bundle = bundle
    box = ReviewBox(session)
    qtbot.addWidget(box)
    box.show()
    return box


@pytest.fixture
def show(session: Session, predictions: dict[str, ShownPrediction]) -> Show:
    """Show the prediction of a slide; `changes` are made to it."""

    def show(name: str = "demo-001", **changes: object) -> ShownPrediction:
        shown = predictions[name]
        shown = replace(shown, prediction=replace(shown.prediction, **changes))  # type: ignore[arg-type]
        session.show(shown)
        return shown

    return show


def log(session: Session) -> tuple[Review, ...]:
    return read_reviews(session.review_log).reviews


def another(prediction: Prediction) -> str:
    return next(name for name in prediction.probabilities if name != prediction.label)


def test_nothing_can_be_reviewed_before_the_slide_is_read(box: ReviewBox, show: Show, session: Session) -> None:
    assert not box.review.isEnabled() and not box.case.export_button.isEnabled()
    show(status="partial", label="", probabilities={})
    assert not box.review.isEnabled() and not box.case.export_button.isEnabled()
    box.agree.click()
    box.save()
    assert not session.review_log.exists()
    show()
    assert box.review.isEnabled() and box.case.export_button.isEnabled()


@pytest.mark.parametrize("decision", ["agree", "override", "uncertain"])
def test_each_decision_is_saved_with_what_it_is_about(
    box: ReviewBox, show: Show, session: Session, bundle: Bundle, decision: str, qtbot: "QtBot"
) -> None:
    prediction = show().prediction
    session.blinding = replace(session.blinding, changed_at=session.blinding.changed_at - 30)
    saved: list[bool] = []
    session.reviewed.connect(lambda: saved.append(True))
    assert box.agree.text() == f"Agree: {prediction.label}" and not box.classes.isEnabled()
    box.decisions[decision].click()  # type: ignore[index]
    assert box.classes.isEnabled() == (decision == "override")
    box.note.setPlainText("two foci\nat the edge")
    box.reviewer.setText(" AB ")
    box.save_button.click()
    (entry,) = log(session)
    assert (entry.event, entry.decision, entry.note, entry.reviewer) == (
        "review",
        decision,
        "two foci\nat the edge",
        "AB",
    )
    labels = {"agree": prediction.label, "override": another(prediction), "uncertain": ""}
    assert entry.human_label == labels[decision] and not entry.human_first
    assert entry.key == (prediction.slide_fingerprint, bundle.sha256)
    assert entry.output_probabilities == prediction.probabilities and entry.output_label == prediction.label
    assert 30 <= entry.seconds_viewed < 60  # type: ignore[operator]
    assert saved == [True] and box.note.toPlainText() == "" and box.decision is None
    words = ", ".join(word for word in (decision, entry.human_label) if word)
    assert box.saved.text().startswith(f"reviewed: {words}, ") and box.saved.text().endswith("by AB")


def test_a_decision_is_asked_for_and_the_keys_save(box: ReviewBox, show: Show, session: Session) -> None:
    """The shortcut itself is fired: which window has the keyboard is not ours to say on a display without a manager."""
    keys = {shortcut.key().toString(): shortcut for shortcut in box.findChildren(QShortcut)}
    show()
    box.note.setPlainText("why")
    keys["Ctrl+Return"].activated.emit()
    assert "decision" in box.message.text() and box.message.isVisible() and not session.review_log.exists()
    box.uncertain.click()
    keys["Ctrl+Return"].activated.emit()
    assert [entry.note for entry in log(session)] == ["why"] and not box.message.isVisible()


def test_a_log_that_cannot_be_written_loses_nothing(box: ReviewBox, show: Show, session: Session) -> None:
    session.review_log.mkdir(parents=True)  # a folder where the file should be: nobody can append to it
    show()
    box.override.click()
    box.note.setPlainText("a long thought")
    box.save()
    assert str(session.review_log) in box.message.text() and box.message.isVisible()
    assert box.note.toPlainText() == "a long thought" and box.decision == "override"
    session.review_log.rmdir()
    box.save()
    assert log(session)[0].note == "a long thought" and not box.message.isVisible()


def test_a_note_that_is_too_long_is_kept_and_said(box: ReviewBox, show: Show, session: Session) -> None:
    show()
    box.agree.click()
    box.note.setPlainText("x" * 10_001)
    box.save()
    assert "10001" in box.message.text() and len(box.note.toPlainText()) == 10_001


def test_what_is_not_saved_waits_with_its_slide(box: ReviewBox, show: Show) -> None:
    first = show("demo-001").prediction
    box.override.click()
    box.note.setPlainText("to be thought over")
    show("demo-002")
    assert box.decision is None and box.note.toPlainText() == ""
    box.uncertain.click()
    show("demo-001")
    assert box.decision == "override" and box.note.toPlainText() == "to be thought over"
    assert box.classes.currentText() == another(first)


def test_the_last_review_of_this_slide_and_model_is_told(box: ReviewBox, show: Show, qtbot: "QtBot") -> None:
    show()
    for button in (box.uncertain, box.agree):
        button.click()
        box.save()
    assert box.saved.text().startswith("reviewed: agree")
    show("demo-002")
    assert box.saved.text() == "" and not box.saved.isVisible()
    show("demo-001", bundle_sha256="ab" * 32)
    assert box.saved.text() == ""


def test_a_blind_read_hides_the_output_and_both_words_are_logged(
    box: ReviewBox, show: Show, session: Session, qtbot: "QtBot"
) -> None:
    result, overlay = ResultBox(session), OverlayBox(session)
    qtbot.addWidget(result)
    qtbot.addWidget(overlay)
    drawn: list[bool] = []
    session.viewer.layers.events.inserted.connect(lambda event: drawn.append(True))
    box.read_first.click()
    prediction = show().prediction
    assert not session.revealed and not drawn and overlay.layer is None and not result.bars
    assert box.blind.isVisible() and not box.review.isVisible() and not box.case.export_button.isEnabled()
    box.save()
    box.record.click()
    assert "label" in box.message.text() and not session.review_log.exists()
    box.own.setCurrentText(another(prediction))
    box.record.click()
    assert session.revealed and overlay.layer is not None and set(result.bars) == set(prediction.probabilities)
    assert box.review.isVisible() and not box.blind.isVisible() and not box.message.isVisible()
    box.agree.click()
    box.save()
    read, review = log(session)
    assert (read.event, read.human_label, read.human_first) == ("read", another(prediction), True)
    assert (review.event, review.decision, review.human_first) == ("review", "agree", True)
    assert read.seconds_viewed is None and review.seconds_viewed is not None and review.seconds_viewed < 30


def test_a_slide_that_was_read_is_not_hidden_again_except_from_another_reader(
    box: ReviewBox, show: Show, session: Session
) -> None:
    session.read_first = True
    show()
    box.own.setCurrentIndex(1)
    box.record.click()
    show("demo-002")
    assert not session.revealed
    show("demo-001")
    assert session.revealed
    box.reviewer.setText("CD")
    box.reviewer.editingFinished.emit()
    assert not session.revealed and box.blind.isVisible()


def test_an_output_that_was_seen_before_is_never_recorded_as_unseen(
    box: ReviewBox, show: Show, session: Session
) -> None:
    show()
    box.read_first.click()
    assert not session.revealed
    box.own.setCurrentIndex(1)
    box.record.click()
    box.agree.click()
    box.save()
    assert [entry.human_first for entry in log(session)] == [False, False]


def test_a_read_that_cannot_be_recorded_does_not_reveal(box: ReviewBox, show: Show, session: Session) -> None:
    session.review_log.mkdir(parents=True)
    session.read_first = True
    show()
    box.own.setCurrentIndex(1)
    box.record.click()
    assert not session.revealed and str(session.review_log) in box.message.text() and box.own.currentIndex() == 1


def test_the_preferences_give_the_reader_and_whether_to_read_first(
    predictions: dict[str, ShownPrediction], qtbot: "QtBot", monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = Preferences(read_first=True, reviewer="EF")
    monkeypatch.setattr(session_module, "read_preferences", lambda: chosen)
    viewer = ViewerModel()
    session = session_of(viewer)
    box = ReviewBox(session)
    qtbot.addWidget(box)
    session.show(predictions["demo-001"])
    assert box.read_first.isChecked() and box.reviewer.text() == "EF" and not session.revealed
    box.own.setCurrentIndex(1)
    box.record_label()
    assert [entry.reviewer for entry in log(session)] == ["EF"]


def test_the_case_is_exported_with_its_review_and_its_page_opened(
    box: ReviewBox,
    show: Show,
    session: Session,
    tmp_path: Path,
    finish: Callable[[Session], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    show()
    box.uncertain.click()
    box.note.setPlainText("seen twice")
    box.save()
    box.case.ask_for_folder = lambda: None  # type: ignore[method-assign]
    box.case.export_button.click()
    assert not session.jobs.busy and not box.case.open_button.isVisible()
    out = tmp_path / "case"
    box.case.ask_for_folder = lambda: out  # type: ignore[method-assign]
    box.case.export_button.click()
    assert session.jobs.busy and not box.case.export_button.isEnabled()
    finish(session)
    assert sorted(path.name for path in out.iterdir()) == [
        f"demo-001.{end}" for end in ("csv", "geojson", "html", "png")
    ]
    assert "seen twice" in (out / "demo-001.csv").read_text() and "seen twice" in (out / "demo-001.html").read_text()
    assert json.loads((out / "demo-001.geojson").read_text())["features"]
    assert (
        box.case.open_button.isVisible() and str(out) in box.case.message.text() and box.case.export_button.isEnabled()
    )
    box.case.open_button.click()
    assert opened == [str(out / "demo-001.html")]
    show("demo-002")
    assert not box.case.open_button.isVisible()


def test_an_export_that_fails_says_why(
    box: ReviewBox, show: Show, session: Session, tmp_path: Path, finish: Callable[[Session], None]
) -> None:
    show()
    (tmp_path / "file").write_text("")
    box.case.ask_for_folder = lambda: tmp_path / "file"  # type: ignore[method-assign]
    box.case.export()
    finish(session)
    assert (
        "file" in box.case.message.text()
        and not box.case.open_button.isVisible()
        and box.case.export_button.isEnabled()
    )


def test_the_case_of_another_model_is_not_exported_with_this_models_card(box: ReviewBox, show: Show) -> None:
    show(bundle_sha256="ab" * 32)
    assert box.review.isEnabled() and not box.case.export_button.isEnabled()
