"""Choose the slide, a layer of the viewer or a file, and show its resolution."""

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from lrmil.errors import LrmilError
from lrmil.slides.resolution import PLAUSIBLE_MPP, REMEDY
from lrmil.slides.source import EXTENSIONS
from napari_lrmil.layers.build import KEY
from napari_lrmil.layers.reader import read_slides
from napari_lrmil.layers.slides import slides_in
from napari_lrmil.session.following import fit
from napari_lrmil.session.opened_slide import set_mpp
from napari_lrmil.session.session import Session
from napari_lrmil.widgets.parts import Text, listen

if TYPE_CHECKING:
    from napari.layers import Image

NO_SLIDE = "No slide is open: drop one on the viewer, or press Open."


class SlideBox(QWidget):
    """List of the viewer's slides, and the um/px of the chosen one."""

    changed = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.layers = QComboBox()
        self.layers.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.layers.setToolTip("The slide to classify: drop a file on the viewer, or open one.")
        self.layers.setAccessibleName("Slide")
        self.open = QPushButton("Open...")
        self.resolution = Text()
        self.mpp = QDoubleSpinBox()
        self.mpp.setRange(0.0, PLAUSIBLE_MPP[1])
        self.mpp.setDecimals(4)
        self.mpp.setSingleStep(0.05)
        self.mpp.setSpecialValueText("type it")
        self.mpp_label = QLabel("um/px of level 0")
        self.mpp.setAccessibleName("um/px of level 0")
        self.mpp.setToolTip("Side of a pixel at full resolution in microns, as the scanner states it; 0.25 at 40x")
        self.apply = QPushButton("Set")
        self._asked_for: tuple[int, float | None] | None = None
        self._listed: list[Image] = []
        first, second = QHBoxLayout(), QHBoxLayout()
        first.addWidget(self.layers, 1)
        first.addWidget(self.open)
        for part in (self.mpp_label, self.mpp, self.apply):
            second.addWidget(part)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(first)
        column.addWidget(self.resolution)
        column.addLayout(second)
        self.open.clicked.connect(self._ask_for_file)
        self.apply.clicked.connect(self._set_mpp)
        self.layers.currentIndexChanged.connect(self._choose)
        events = session.viewer.layers.events
        for signal in (events.inserted, events.removed, events.renamed, session.chosen_changed):
            listen(signal, self.refresh)
        self.refresh()

    @property
    def layer(self) -> "Image | None":
        """The chosen layer."""
        return self._session.chosen

    def refresh(self, _event: object = None) -> None:
        """List the viewer's slides again, and mark the one that the user is on."""
        slides, chosen = slides_in(self._session.viewer.layers), self.layer
        self._listed = slides
        with QSignalBlocker(self.layers):
            self.layers.clear()
            self.layers.addItems([layer.name for layer in slides])
            self.layers.setCurrentIndex(-1 if chosen is None else slides.index(chosen))
        self._show_resolution()

    def _choose(self, row: int) -> None:
        if 0 <= row < len(self._listed):
            self._session.choose(self._listed[row])

    def open_file(self, path: str) -> None:
        """Open a slide as a layer; an error is shown as a message."""
        self._session.jobs.began.emit()
        try:
            for data, keywords, _ in read_slides(path):
                self._session.viewer.add_image(data, **keywords)
        except LrmilError as error:
            self._session.jobs.failed.emit(str(error))

    def take_typed(self) -> bool:
        """Apply um/px that were typed but not set.

        Returns
        -------
        bool
            False if the value is refused; a message says why.
        """
        layer = self.layer
        if layer is None or self.mpp.isHidden():
            return True
        self.mpp.interpretText()
        typed = self.mpp.value()
        return typed in (0.0, layer.metadata[KEY]["mpp"]) or self._set_mpp()

    def _show_resolution(self) -> None:
        layer = self.layer
        about = layer.metadata.get(KEY, {}) if layer is not None else {}
        unknown = bool(about) and about.get("mpp") is None
        typed = about.get("mpp_source") == "override"
        for part in (self.mpp, self.mpp_label, self.apply):
            part.setVisible(unknown or typed)
        if self._asked_for != (id(layer), about.get("mpp")):  # keep what the user is typing
            self._asked_for = id(layer), about.get("mpp")
            self.mpp.setValue(about["mpp"] if typed else 0.0)
        self.resolution.setText(_resolution(about) if layer is not None else NO_SLIDE)
        self.changed.emit()

    def _set_mpp(self) -> bool:
        layer = self.layer
        if layer is None:
            return False
        self._session.jobs.began.emit()
        try:
            set_mpp(self._session.viewer.layers, layer, self.mpp.value())
        except LrmilError as error:
            self._session.jobs.failed.emit(str(error).replace(REMEDY, "Type another; a 20x scan has about 0.5."))
            return False
        self._session.choose(layer)  # an answer that was made at another um/px is not that of this slide
        fit(self._session.viewer, layer)
        return True

    def _ask_for_file(self) -> None:
        patterns = " ".join(f"*{extension}" for extension in EXTENSIONS)
        path, _ = QFileDialog.getOpenFileName(self, "Open a slide", "", f"Slides ({patterns});;All files (*)")
        if path:
            self.open_file(path)


def _resolution(about: dict[str, Any]) -> str:
    if not about:
        return "Opened by another reader; its resolution is read from the file."
    if about["mpp"] is None:
        return "\n".join([f"{about['mpp_problem']} Type it below: a model needs it.", *about.get("notes", [])])
    width, height = about["dimensions"]
    facts = f"{about['mpp']:.4g} um/px ({about['mpp_source']}), {width:,} x {height:,} px"
    return "\n".join([facts, *about.get("notes", [])])
