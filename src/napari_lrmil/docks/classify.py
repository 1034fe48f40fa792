"""The dock widget "Classify slide": slide, model, device, run; then result, attention and review."""

from typing import TYPE_CHECKING
from weakref import ref

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget
from superqt import QCollapsible

from lrmil.steps import Step
from napari_lrmil.layers.slides import file_of, is_of
from napari_lrmil.session.closer_look import look_closer
from napari_lrmil.session.opened_slide import FoundTissue, hide_masks, is_painted, masks_of, put_tissue
from napari_lrmil.widgets.classify.gallery import Gallery
from napari_lrmil.widgets.classify.model_box import ModelBox
from napari_lrmil.widgets.classify.overlay_box import OverlayBox
from napari_lrmil.widgets.classify.overview import Overview
from napari_lrmil.widgets.classify.result_box import ResultBox
from napari_lrmil.widgets.classify.review_box import ReviewBox
from napari_lrmil.widgets.classify.slide_box import SlideBox
from napari_lrmil.widgets.classify.where_box import WhereBox
from napari_lrmil.widgets.device_box import DeviceBox
from napari_lrmil.widgets.parts import MessageLine, begin, beside, keeping_room, listen, scrolling_column, titled
from napari_lrmil.widgets.questions import agreed
from napari_lrmil.widgets.review_strip import KEYS as REVIEW_KEYS
from napari_lrmil.widgets.review_strip import show_strip
from napari_lrmil.widgets.session_dock import SessionDock

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari.layers import Image

KEYS = {
    "H": "overlay on or off",
    ",": "overlay fainter",
    ".": "overlay stronger",
    "N": "next patch",
    "Shift+N": "previous patch",
}
OPACITY_STEP = 10  # percentage points
REPLACE_MASK = (
    "The tissue mask of this slide was painted by hand. Find the tissue again in its place? Ctrl+Z undoes it."
)
PAINT = "Paint (key 2) or erase (key 1) in the layer 'tissue', then press Classify. It uses your mask."
NO_TISSUE = "No tissue was found on this slide."
UNDO = "Ctrl+Z in that layer brings your painted mask back."
EARLIER_MASK = "The tissue mask is another one than this answer was made with. Press Classify to use it."
EARLIER_REGIONS = "The regions are others than this answer was made in. Press Classify to use them."
STOPPING = "Stopping after the current batch of patches."


class ClassifySlide(SessionDock):
    """Shows and controls the session of the viewer. A widget that is opened again shows the same session."""

    def __init__(self, napari_viewer: "Viewer", parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        session = self.session
        self._about: ref[Image] | None = None  # the slide that the message is about
        self._asked_for: ref[Image] | None = None  # the slide whose classification was started here
        self.slides = SlideBox(session)
        self.model = ModelBox(session)
        self.device = DeviceBox(session.preferences.device)
        self.tissue = QPushButton("Find tissue (to view or edit)")
        self.tissue.setToolTip("Adds the tissue mask as a layer. Paint or erase in it, then press Classify. Optional.")
        self.where = WhereBox(session)
        self.run = QPushButton("Classify")
        self.cancel = QPushButton("Cancel")
        self.progress = QProgressBar()
        self.message = MessageLine()
        self.earlier_mask = MessageLine()
        self.result = ResultBox(session)
        self.overlay = OverlayBox(session)
        self.gallery = Gallery(session)
        self.overview = Overview(session, self.slides)
        self.review = ReviewBox(session)
        scrolling_column(
            self,
            [
                titled("Slide", self.slides, beside(self.tissue, self.where.bring), self.where),
                titled("Model", self.model, self.device),
                titled("Result", self.earlier_mask, self.result, steady=True),
                titled("Review", self.review),
                titled("Where the model looked", self.overlay, self.gallery),
                titled("Where you are", self.overview),
                _keys(),
            ],
            below=[self.message, keeping_room(self.progress), beside(self.run, self.cancel)],
        )
        show_strip(session, session.viewer)
        self._listen()
        self._bind_keys()
        self._choose()
        self._say_mask()
        self.device.look()
        session.recall_model()

    def start(self) -> None:
        """Classify the chosen slide."""
        layer = self.slides.layer
        if layer is None:
            self.message.warn("No slide is chosen. Drop one on the viewer, or press Open.")
            return
        layer.visible = True
        if self.slides.take_typed():
            self.model.when_taken(lambda: self._classify(layer))

    def look_closer(self) -> None:
        """Let the teacher look closer at the chosen slide."""
        layer = self.slides.layer
        if layer is not None and self.slides.take_typed():
            look_closer(self.session, layer, device=self.device.device)

    def find_tissue(self) -> None:
        """Add the tissue mask of the chosen slide as a layer; a painted one is replaced only after a question."""
        layer = self.slides.layer
        if layer is None or not self.slides.take_typed():
            return
        painted = [mask for mask in masks_of(self.session.viewer.layers, file_of(layer)) if is_painted(mask)]
        if not painted or agreed(self, REPLACE_MASK, "Find the tissue again"):
            self.session.find_tissue(layer, on_result=self._add_tissue)

    def _classify(self, layer: "Image") -> None:
        if layer is self.session.chosen:  # the model may have been loaded for it first, which takes seconds
            self._asked_for = ref(layer)
            self.session.classify(layer, device=self.device.device, where=self.where.where)

    def _listen(self) -> None:
        session = self.session
        listen(session.jobs.began, self._clear)
        listen(session.jobs.failed, self.message.warn)
        listen(session.notice, self.message.say)
        listen(session.jobs.stepped, self._show_step)
        listen(session.jobs.job_changed, self._job_changed)
        listen(session.mask_changed, self._say_mask)
        listen(session.shown_changed, self._say_mask)
        self.where.changed.connect(self._say_mask)
        listen(session.model_changed, self._update_buttons)
        self.slides.changed.connect(self._choose)
        self.model.path.textChanged.connect(self._update_buttons)
        self.run.clicked.connect(self.start)
        self.cancel.clicked.connect(self._cancel)
        self.tissue.clicked.connect(self.find_tissue)
        self.result.closer.clicked.connect(self.look_closer)

    def _bind_keys(self) -> None:
        actions = {
            "H": self.overlay.toggle,
            ",": lambda: self.overlay.change_opacity(-OPACITY_STEP),
            ".": lambda: self.overlay.change_opacity(OPACITY_STEP),
            "N": lambda: self.gallery.step(1),
            "Shift+N": lambda: self.gallery.step(-1),
        }
        for key, action in actions.items():
            QShortcut(QKeySequence(key), self).activated.connect(action)

    def _job_changed(self) -> None:
        if not self.session.jobs.busy:
            self.message.take_back(STOPPING)
            self._hide_masks()
        self._update_buttons()

    def _hide_masks(self) -> None:
        """Leave the slide to its answer: of the mask, which has done its work, the outline would be on top."""
        layer, self._asked_for = self._asked_for and self._asked_for(), None
        shown = self.session.shown
        if layer is not None and shown is not None and shown.complete and is_of(layer, shown.source):
            hide_masks(self.session.viewer, layer)

    def _say_mask(self) -> None:
        found = {EARLIER_MASK: self.session.masks.differs, EARLIER_REGIONS: self.where.differs()}
        self.earlier_mask.say(" ".join(sentence for sentence, differs in found.items() if differs))

    def _update_buttons(self) -> None:
        busy, ready = self.session.jobs.busy, self.slides.layer is not None
        has_model = self.session.bundle is not None or self.model.typed is not None
        self._keep_focus(busy=busy)
        self.run.setEnabled(ready and not busy and has_model)
        self.run.setToolTip("" if has_model else "Choose a model folder first.")
        self.tissue.setEnabled(ready and not busy)
        self.cancel.setEnabled(busy)
        self.progress.setVisible(busy)
        if busy:
            begin(self.progress, self.session.jobs.job_name)

    def _keep_focus(self, *, busy: bool) -> None:
        """Move the focus from a button that is about to be disabled: Qt's choice would scroll the column."""
        self.cancel.setEnabled(True)
        self.run.setEnabled(True)
        before, after = ((self.run, self.tissue), self.cancel) if busy else ((self.cancel,), self.run)
        if any(button.hasFocus() for button in before):
            after.setFocus()

    def _choose(self) -> None:
        layer = self.slides.layer
        if layer is not (self._about and self._about()):
            self._clear()
        self._about = None if layer is None else ref(layer)
        self._update_buttons()

    def _clear(self) -> None:
        """Hide the message about the last action or another slide."""
        self.message.say("")

    def _show_step(self, step: Step[object]) -> None:
        if step.total:
            self.progress.setRange(0, step.total)
            self.progress.setValue(step.done)
            self.progress.setFormat(f"{step.done} of {step.total} {step.unit}")

    def _cancel(self) -> None:
        self.session.jobs.cancel()
        self.message.say(STOPPING)

    def _add_tissue(self, found: FoundTissue) -> None:
        undo = put_tissue(self.session.viewer, found)
        none = [] if found.tissue.array.any() else [NO_TISSUE]
        self.message.say(" ".join([*none, PAINT, *([UNDO] if undo else [])]))


def _keys() -> QWidget:
    folded = QCollapsible("Keys")
    inside = QWidget()
    column = QVBoxLayout(inside)
    for key, meaning in {**KEYS, **REVIEW_KEYS, "Ctrl+Enter": "save the review in this form"}.items():
        label = QLabel(f"{key}: {meaning}")
        label.setTextFormat(Qt.TextFormat.PlainText)
        column.addWidget(label)
    folded.addWidget(inside)
    return folded
