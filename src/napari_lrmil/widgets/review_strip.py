"""The review strip: the slide, what the model says of it, and one key for each decision, in view at all times."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut, QShowEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QSizePolicy,
    QTextEdit,
    QVBoxLayout,
    QWidget,
)

from lrmil.errors import LrmilError
from lrmil.reviews.log import Decision
from napari_lrmil.layers.slides import file_of
from napari_lrmil.session.reviewing import key_of
from napari_lrmil.session.session import Session
from napari_lrmil.state.messages import explain
from napari_lrmil.state.review_log import described, latest_in
from napari_lrmil.state.shown import ShownPrediction
from napari_lrmil.widgets.parts import listen

if TYPE_CHECKING:
    from napari.viewer import Viewer

TITLE = "Review (LRMIL)"
KEYS = {
    "A": "agree, save, go on",
    "U": "uncertain, save, go on",
    "O, then a digit": "override with that class, save, go on",
    "Z": "take the last review back",
}
LARGE = 1.5  # of the usual font
NAME_WIDTH, NOTE_WIDTH = 160, 160  # px, at least
MAX_DIGIT = 9
OVERRIDE, OWN_LABEL = "Override (O)", "Your label (O)"
NONE_UP = "No slide is up for review."


class ReviewStrip(QWidget):
    """Decides, saves and goes on with one key: A agree, U uncertain, O and a digit override, Z takes the last one back.

    Keys act only while a slide is up for review, and never while one types.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._choosing = False
        self.name, self.answer, self.said = QLabel(), QLabel(), QLabel()
        self.agree, self.uncertain = QPushButton("Agree (A)"), QPushButton("Uncertain (U)")
        self.override, self.back = QPushButton(OWN_LABEL), QPushButton("Take back (Z)")
        self.next = QPushButton("Next")
        self.note = QLineEdit()
        self._lay_out()
        self._listen()
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the slide that is up for review, or why none is."""
        session, shown = self._session, self._session.shown
        up, chosen = session.reviewing.up, session.chosen
        file = None if chosen is None else file_of(chosen)
        self.name.setText("No slide" if chosen is None else chosen.name)
        self.name.setToolTip(str(file or ""))
        earlier = ", with another tissue mask" if session.masks.differs and session.revealed else ""
        self.answer.setText(answer_in_words(shown, revealed=session.revealed) + earlier)
        self.said.setText(self._words(shown))
        self._choosing = self._choosing and self._may_choose
        for digit in self._digits:
            digit.setEnabled(self._choosing)
        self._escape.setEnabled(self._choosing)
        for button in (self.agree, self.uncertain):
            button.setEnabled(up is not None)
        self.override.setEnabled(self._may_choose)
        self.override.setText(OVERRIDE if session.revealed else OWN_LABEL)
        self.note.setEnabled(up is not None)
        self._show_note()

    def decide(self, decision: Decision, label: str = "") -> None:
        """Save a decision on the slide that is up for review; the worklist goes on from there."""
        shown = self._session.reviewing.up
        if shown is None:
            self.said.setText(NONE_UP)
            return
        focused = QApplication.focusWidget()
        self._choosing = False
        try:
            self._session.reviewing.decide(shown, decision, label)
        except LrmilError as error:
            self.said.setText(explain(error))
        self.refresh()
        if focused is self.note or (focused is not None and self.isAncestorOf(focused)):
            self._leave()

    def _lay_out(self) -> None:
        font = self.name.font()
        font.setPointSizeF(font.pointSizeF() * LARGE)
        font.setBold(True)
        self.name.setFont(font)
        self.name.setStyleSheet(f"font-size: {font.pointSizeF():.0f}pt; font-weight: bold;")  # napari's wins
        for label in (self.name, self.answer, self.said):
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.note.setPlaceholderText("Note (nothing that names the patient); Enter leaves it")
        self.note.setMinimumWidth(NOTE_WIDTH)
        self.name.setMinimumWidth(NAME_WIDTH)
        first, second = QHBoxLayout(), QHBoxLayout()
        for part, stretch in ((self.name, 3), (self.answer, 3), (self.said, 4)):
            first.addWidget(part, stretch)
        for part in (self.agree, self.override, self.uncertain, self.back):
            second.addWidget(part)
        second.addWidget(self.note, 1)
        second.addWidget(self.next)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 2, 6, 2)
        column.setSpacing(2)
        column.addLayout(first)
        column.addLayout(second)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Give the button with two texts the room of the longer one, so that those beside it stay; Qt calls this."""
        super().showEvent(event)
        text, longest = self.override.text(), 0
        for one in (OVERRIDE, OWN_LABEL):
            self.override.setText(one)
            longest = max(longest, self.override.sizeHint().width())
        self.override.setText(text)
        self.override.setMinimumWidth(longest)

    def _listen(self) -> None:
        session = self._session
        for signal in (
            session.shown_changed,
            session.revealed_changed,
            session.chosen_changed,
            session.on_screen_changed,
            session.mask_changed,
            session.reviewed,
            session.reviewing.withdrawn,
            session.viewer.layers.events.renamed,
        ):
            listen(signal, self.refresh)
        listen(session.reviewing.note_changed, self._show_note)
        self.agree.clicked.connect(lambda: self.decide("agree"))
        self.uncertain.clicked.connect(lambda: self.decide("uncertain"))
        self.override.clicked.connect(self._choose)
        self.back.clicked.connect(self._take_back)
        self.next.clicked.connect(session.reviewing.next_asked.emit)
        self.note.textEdited.connect(self._take_note)
        self.note.returnPressed.connect(self._leave)
        keys = {"A": self.agree.click, "U": self.uncertain.click, "O": self._choose, "Z": self._take_back}
        for key, action in keys.items():
            self._bind(key, action)
        self._digits = [self._bind(str(digit), partial(self._take_class, digit)) for digit in range(1, MAX_DIGIT + 1)]
        self._escape = self._bind("Escape", self._stop_choosing)

    def _bind(self, key: str, action: Callable[[], None]) -> QShortcut:
        shortcut = QShortcut(QKeySequence(key), self)
        shortcut.setAutoRepeat(False)  # a key that is held decides once
        shortcut.activated.connect(lambda: None if _is_typing() else action())
        return shortcut

    @property
    def _may_choose(self) -> bool:
        """Whether a class can be chosen: as the override, or as the reader's own label before the output is shown."""
        shown, session = self._session.shown, self._session
        return session.reviewing.up is not None or (shown is not None and shown.complete and not session.revealed)

    def _names(self) -> list[str]:
        shown = self._session.shown
        return [] if shown is None else list(shown.prediction.probabilities)[:MAX_DIGIT]

    def _choose(self) -> None:
        self._choosing = self._may_choose
        self.refresh()
        if not self._choosing:
            self.said.setText(NONE_UP)

    def _stop_choosing(self) -> None:
        self._choosing = False
        self.refresh()

    def _take_class(self, digit: int) -> None:
        names, shown = self._names(), self._session.shown
        if shown is None or digit > len(names):
            return
        label = names[digit - 1]
        if not self._session.revealed:
            self._choosing = False
            try:
                self._session.reviewing.record_own(shown, label)
            except LrmilError as error:
                self.said.setText(explain(error))
        elif label == shown.prediction.label:
            self.said.setText(f"{label} is what the model says. Press A to agree, or another digit.")
        else:
            self.decide("override", label)

    def _take_back(self) -> None:
        try:
            review = self._session.reviewing.take_back()
        except LrmilError as error:
            self.said.setText(explain(error))
            return
        self.refresh()
        self.said.setText(f"Taken back: {review.slide_id}, {described(review)}")

    def _take_note(self, text: str) -> None:
        self._session.reviewing.note = text

    def _show_note(self) -> None:
        if self.note.text() != self._session.reviewing.note.replace("\n", " "):
            self.note.setText(self._session.reviewing.note.replace("\n", " "))

    def _leave(self) -> None:
        """Give the keyboard back to the window: a key must not reach a button that has just been pressed."""
        self.setFocus()

    def _words(self, shown: ShownPrediction | None) -> str:
        session = self._session
        if self._choosing:
            return "Press " + ", ".join(f"{number} {name}" for number, name in enumerate(self._names(), 1))
        if shown is None or not shown.complete:
            return ""
        if not session.on_screen:
            return "The slide is hidden."
        review = latest_in(session.review_log).get(key_of(shown)) if session.revealed else None
        by = f", by {review.reviewer}" if review is not None and review.reviewer else ""
        return "Not reviewed" if review is None else f"Reviewed: {described(review, timed=True)}{by}"


def show_strip(session: Session, viewer: "Viewer") -> ReviewStrip | None:
    """Show the strip above the canvas of a viewer, once for each; None without a window."""
    window = getattr(viewer, "window", None)
    if window is None:
        return None
    made = _STRIPS.get(session)
    strip = None if made is None else made()
    if strip is None or not isalive(strip):
        strip = ReviewStrip(session)
        _STRIPS[session] = ref(strip)
        window.add_dock_widget(strip, name=TITLE, area="top")
    elif (dock := strip.parentWidget()) is not None:
        dock.show()
    return strip


def answer_in_words(shown: ShownPrediction | None, *, revealed: bool) -> str:
    """Return what the strip says of a prediction.

    Parameters
    ----------
    shown
        The prediction; None if there is none.
    revealed
        Whether the reader may see the output.
    """
    if shown is None:
        return "not classified"
    if not shown.complete:
        return "still reading"
    if not revealed:
        return "output hidden until your own label is recorded"
    prediction = shown.prediction
    values = {one.name: one.text for one in prediction.task.shown(prediction.probabilities)}
    said = f"{prediction.label} {values.get(prediction.label, '')}".strip()
    return said if prediction.status == "ok" else f"{said}, {prediction.status}"


def _is_typing() -> bool:
    focused = QApplication.focusWidget()
    writable = isinstance(focused, QLineEdit | QPlainTextEdit | QTextEdit) and not focused.isReadOnly()
    return writable or isinstance(focused, QAbstractSpinBox)


_STRIPS: "WeakKeyDictionary[Session, ref[ReviewStrip]]" = WeakKeyDictionary()
