"""Review a prediction (agree, override, uncertain, note) into the append-only log; optionally label the slide first."""

from dataclasses import dataclass

from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QWidget,
)

from lrmil.errors import LrmilError
from lrmil.reviews.log import Decision, ReviewKey
from napari_lrmil.session.reviewing import key_of
from napari_lrmil.session.session import Session
from napari_lrmil.state.messages import explain
from napari_lrmil.state.review_log import described, latest_in
from napari_lrmil.state.shown import ShownPrediction
from napari_lrmil.widgets.classify.case_box import CaseBox
from napari_lrmil.widgets.parts import MessageLine, Text, beside, listen, stacked

NOTE_HEIGHT = 64  # px: three lines


@dataclass(frozen=True, slots=True)
class Draft:
    """A decision that is not saved yet; the session keeps its note."""

    decision: Decision | None = None
    label: str = ""


class ReviewBox(QWidget):
    """Form to review the prediction that the session shows."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._key: ReviewKey | None = None
        self._drafts: dict[ReviewKey, Draft] = {}
        self._make_parts()
        self._lay_out()
        self._listen()
        self.refresh()

    @property
    def decision(self) -> Decision | None:
        """The chosen decision; None if there is none yet."""
        return next((name for name, button in self.decisions.items() if button.isChecked()), None)

    def refresh(self) -> None:
        """Show the form for the slide that the session shows."""
        session = self._session
        self._change_slide(session.shown)
        self.read_first.setChecked(session.read_first)
        if not self.reviewer.hasFocus():  # the user is typing
            self.reviewer.setText(session.reviewer)
        self._update()

    def record_label(self) -> None:
        """Record the reader's own label, then show the output."""
        self._take_reviewer()
        shown = self._session.shown
        if shown is None or not shown.complete:
            return
        if self.own.currentIndex() < 1:
            self.message.warn("No label is chosen. Choose your label, then record it.")
            return
        self.message.say("")
        try:
            self._session.reviewing.record_own(shown, self.own.currentText())
        except LrmilError as error:
            self.message.warn(explain(error))

    def save(self) -> None:
        """Write the review to the log. If that fails, the form keeps its content."""
        self._take_reviewer()
        shown, decision = self._session.shown, self.decision
        if shown is None or not shown.complete or not self._session.revealed:
            return
        if decision is None:
            self.message.warn("No decision is chosen. Press Agree, Override or Uncertain, then save.")
            return
        try:
            self._session.reviewing.decide(shown, decision, self.classes.currentText())
        except LrmilError as error:
            self.message.warn(explain(error))

    def _make_parts(self) -> None:
        self.read_first = QCheckBox("Read first: hide the output")
        self.read_first.setToolTip("Hides the model's output until you have recorded your own label of the slide")
        self.own = QComboBox()
        self.own.setAccessibleName("Your label")
        self.own.setToolTip("Your own label of the slide, before you see the model's output")
        self.record = QPushButton("Record and show the output")
        self.agree, self.override, self.uncertain = (QPushButton(name) for name in ("Agree", "Override", "Uncertain"))
        self.decisions: dict[Decision, QPushButton] = {
            "agree": self.agree,
            "override": self.override,
            "uncertain": self.uncertain,
        }
        self._group = QButtonGroup(self)
        for button in self.decisions.values():
            button.setCheckable(True)
            self._group.addButton(button)
        self.classes_label = QLabel("Correct class")
        self.classes = QComboBox()
        self.classes.setAccessibleName("Correct class")
        self.classes.setToolTip("The class that you give the slide in place of the model's")
        self.note = QPlainTextEdit()
        self.note.setAccessibleName("Note")
        self.note.setToolTip("Kept with the review; nothing that names the patient")
        self.note.setPlaceholderText("Note (nothing that names the patient)")
        self.note.setFixedHeight(NOTE_HEIGHT)
        self.note.setStyleSheet("QPlainTextEdit { border: 1px solid rgba(128, 128, 128, 160); border-radius: 2px; }")
        self.note.setTabChangesFocus(True)
        self.reviewer = QLineEdit(self._session.reviewer)
        self.reviewer.setAccessibleName("Reviewer")
        self.reviewer.setToolTip("Name or number that your reviews carry; may be empty")
        self.reviewer.setPlaceholderText("reviewer, may be empty")
        self.save_button = QPushButton("Save (Ctrl+Enter)")
        self.saved, self.message = Text(), MessageLine()
        self.case = CaseBox(self._session)

    def _lay_out(self) -> None:
        self.blind = stacked(
            QWidget(),
            Text("The model's output is hidden until you have recorded your own label."),
            beside(QLabel("Your label"), self.own),
            self.record,
        )
        self.review = stacked(
            QWidget(),
            beside(*self.decisions.values()),
            beside(self.classes_label, self.classes),
            self.note,
            self.save_button,
        )
        stacked(
            self,
            beside(QLabel("Reviewer"), self.reviewer),
            self.read_first,
            self.blind,
            self.review,
            self.case,
            self.message,  # below the buttons, which stay where they are
            self.saved,
        )

    def _listen(self) -> None:
        session = self._session
        listen(session.shown_changed, self.refresh)
        listen(session.revealed_changed, self.refresh)
        listen(session.reviewing.note_changed, self._show_note)
        listen(session.reviewing.saved, self._clear)
        listen(session.reviewing.withdrawn, self._show_withdrawn)
        self.note.textChanged.connect(self._take_note)
        self.read_first.toggled.connect(self._set_read_first)
        self.reviewer.editingFinished.connect(self._take_reviewer)
        self.record.clicked.connect(self.record_label)
        self.save_button.clicked.connect(self.save)
        self._group.buttonToggled.connect(self._update)
        for key in ("Ctrl+Return", "Ctrl+Enter"):
            QShortcut(QKeySequence(key), self).activated.connect(self._act)

    def _take_note(self) -> None:
        self._session.reviewing.note = self.note.toPlainText()

    def _show_note(self) -> None:
        if self.note.toPlainText() != self._session.reviewing.note:
            self.note.setPlainText(self._session.reviewing.note)

    def _clear(self) -> None:
        self.message.say("")
        self._set(Draft())

    def _show_withdrawn(self, _shown: ShownPrediction) -> None:
        self._update()

    def _act(self) -> None:
        (self.save if self._session.revealed else self.record_label)()

    def _change_slide(self, shown: ShownPrediction | None) -> None:
        """Keep the draft of the previous slide, and restore that of the new one."""
        key = None if shown is None or not shown.complete else key_of(shown)
        if key == self._key:
            return
        if self._key is not None:
            self._drafts[self._key] = Draft(self.decision, self.classes.currentText())
        self._key = key
        self.message.say("")
        if shown is not None and key is not None:
            self._fill_classes(shown)
            self._set(self._drafts.pop(key, Draft()))
        else:
            self._set(Draft())

    def _fill_classes(self, shown: ShownPrediction) -> None:
        names = list(shown.prediction.probabilities)
        self.own.clear()
        self.own.addItems(["choose", *names])
        self.agree.setText(f"Agree: {shown.prediction.label}")
        self.classes.clear()
        self.classes.addItems([name for name in names if name != shown.prediction.label])

    def _set(self, draft: Draft) -> None:
        self._group.setExclusive(False)  # an exclusive group always keeps one button pressed
        for name, button in self.decisions.items():
            button.setChecked(name == draft.decision)
        self._group.setExclusive(True)
        self._show_note()
        if draft.label:
            self.classes.setCurrentText(draft.label)

    def _update(self) -> None:
        shown, session = self._session.shown, self._session
        complete = shown is not None and shown.complete
        self.blind.setVisible(not session.revealed)
        self.review.setVisible(session.revealed)
        self.blind.setEnabled(complete)
        self.review.setEnabled(complete)
        if not complete:
            self.agree.setText("Agree")
        overriding = self.decision == "override"
        self.classes.setEnabled(overriding)
        self.classes_label.setEnabled(overriding)
        self.saved.setText(self._last_saved(shown) if shown is not None and complete else "")
        self.saved.setVisible(bool(self.saved.text()))

    def _last_saved(self, shown: ShownPrediction) -> str:
        review = latest_in(self._session.review_log).get(key_of(shown))
        if review is None or not self._session.revealed:
            return ""
        by = f", by {review.reviewer}" if review.reviewer else ""
        return f"reviewed: {described(review, timed=True)}{by}"

    def _set_read_first(self, on: bool) -> None:  # noqa: FBT001 - a slot
        if on != self._session.read_first:
            self._session.read_first = on

    def _take_reviewer(self) -> None:
        reviewer = self.reviewer.text().strip()
        if reviewer != self._session.reviewer:
            self._session.take_reviewer(reviewer)
