"""Choose the slide: a layer of the viewer, or a file; and say its resolution."""

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
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
from lrmil.resolution import PLAUSIBLE_MPP
from lrmil.slide_files import EXTENSIONS
from napari_lrmil.layers import KEY
from napari_lrmil.reader import read_slides
from napari_lrmil.session import Session
from napari_lrmil.widgets.parts import Text, listen

if TYPE_CHECKING:
    from napari.layers import Image


class SlideBox(QWidget):
    """The image layers of the viewer, and the um/px of the chosen one."""

    changed = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.layers = QComboBox()
        self.layers.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.layers.setToolTip("The slide to classify: drop a file on the viewer, or open one.")
        self.open = QPushButton("Open...")
        self.resolution = Text()
        self.mpp = QDoubleSpinBox()
        self.mpp.setRange(0.0, PLAUSIBLE_MPP[1])
        self.mpp.setDecimals(4)
        self.mpp.setSingleStep(0.05)
        self.mpp.setSpecialValueText("type it")
        self.mpp_label = QLabel("um/px of level 0")
        self.apply = QPushButton("Set")
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
        self.layers.currentIndexChanged.connect(self._show_resolution)
        events = session.viewer.layers.events
        listen(events.inserted, self.refresh)
        listen(events.removed, self.refresh)
        self.refresh()

    @property
    def layer(self) -> "Image | None":
        """The chosen layer."""
        name = self.layers.currentText()
        return next((one for one in self._slides() if one.name == name), None)

    def refresh(self, event: object = None) -> None:
        """Take the viewer's layers anew; a slide that was added last is chosen."""
        names = [layer.name for layer in self._slides()]
        known = [self.layers.itemText(i) for i in range(self.layers.count())]
        if names != known:
            new = [name for name in names if name not in known]
            chosen = new[-1] if new else self.layers.currentText()
            self.layers.blockSignals(True)
            self.layers.clear()
            self.layers.addItems(names)
            self.layers.setCurrentText(chosen if chosen in names else (names[-1] if names else ""))
            self.layers.blockSignals(False)
        self._show_resolution()

    def open_file(self, path: str) -> None:
        """Open a slide as a layer; what is wrong with it is said."""
        try:
            for data, keywords, _ in read_slides(path):
                self._session.viewer.add_image(data, **keywords)
        except LrmilError as error:
            self._session.failed.emit(str(error))

    def _slides(self) -> list["Image"]:
        from napari.layers import Image

        found = [one for one in self._session.viewer.layers if isinstance(one, Image) and one.rgb]
        return [one for one in found if one.metadata.get(KEY, {}).get("path") or one.source.path]

    def _show_resolution(self) -> None:
        layer = self.layer
        about = layer.metadata.get(KEY, {}) if layer is not None else {}
        unknown = layer is not None and bool(about) and about.get("mpp") is None
        for part in (self.mpp, self.mpp_label, self.apply):
            part.setVisible(unknown)
        if layer is None:
            self.resolution.setText("No slide is open: drop one on the viewer, or press Open.")
        elif unknown:
            self.resolution.setText(
                "This slide does not state its microns per pixel, and a model needs them: type them."
            )
        elif about:
            width, height = about["dimensions"]
            facts = f"{about['mpp']:.4g} um/px ({about['mpp_source']}), {width:,} x {height:,} px"
            self.resolution.setText("\n".join([facts, *about.get("notes", [])]))
        else:
            self.resolution.setText("Opened by another reader; its resolution is read from the file.")
        self.changed.emit()

    def _set_mpp(self) -> None:
        layer, mpp = self.layer, self.mpp.value()
        if layer is None or not PLAUSIBLE_MPP[0] <= mpp <= PLAUSIBLE_MPP[1]:
            low, high = PLAUSIBLE_MPP
            self._session.failed.emit(f"Expected {low:g} to {high:g} um/px. Got {mpp:g}; a 20x scan has about 0.5.")
            return
        self._session.set_mpp(layer, mpp)
        self._show_resolution()

    def _ask_for_file(self) -> None:
        patterns = " ".join(f"*{extension}" for extension in EXTENSIONS)
        path, _ = QFileDialog.getOpenFileName(self, "Open a slide", "", f"Slides ({patterns});;All files (*)")
        if path:
            self.open_file(path)
