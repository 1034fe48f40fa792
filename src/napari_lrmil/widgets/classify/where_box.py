"""Choose where on the slide it is classified, and import regions that were drawn elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet, ref

from napari.layers.base import ActionType
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLabel, QPushButton, QWidget

from lrmil.errors import LrmilError
from napari_lrmil.layers.drawn_regions import drawn_on
from napari_lrmil.session.session import Session
from napari_lrmil.session.where import Where, import_regions
from napari_lrmil.widgets.parts import listen

if TYPE_CHECKING:
    from napari.layers import Image, Shapes

WHOLE = "whole slide"
IMPORT = (
    "Annotations by QuPath (GeoJSON), to classify the slide inside or outside of them; those of a class Ignore* or "
    "Exclude are left out. You can also draw polygons, rectangles or ellipses in a Shapes layer of napari."
)


class WhereBox(QWidget):
    """The parts of the chosen slide that its layers of shapes give, hidden without any; each slide has its own choice.

    Attributes
    ----------
    bring
        The button that imports regions, which stands elsewhere.
    """

    changed = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._choices: WeakKeyDictionary[Image, tuple[ref[Shapes], bool]] = WeakKeyDictionary()
        self._listed: list[Where | None] = []
        self._known: WeakSet[Shapes] = WeakSet()
        self.parts = QComboBox()
        self.parts.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.parts.setToolTip("The tissue that counts: all of it, or that inside or outside the shapes of a layer.")
        self.parts.setAccessibleName("Where")
        self.bring = QPushButton("Import regions...")
        self.bring.setToolTip(IMPORT)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("Where"))
        row.addWidget(self.parts, 1)
        self.parts.currentIndexChanged.connect(self._choose)
        self.bring.clicked.connect(self._ask_for_file)
        events = session.viewer.layers.events
        for signal in (events.inserted, events.removed, events.renamed, session.chosen_changed):
            listen(signal, self.refresh)
        self.refresh()

    @property
    def where(self) -> Where | None:
        """The part that is chosen, None for the whole slide."""
        row = self.parts.currentIndex()
        return self._listed[row] if 0 <= row < len(self._listed) else None

    def refresh(self, _event: object = None) -> None:
        """List the parts of the chosen slide again, and mark the one that was chosen for it."""
        slide = self._session.chosen
        shapes = [] if slide is None else drawn_on(self._session.viewer.layers, slide)
        for layer in shapes:
            if layer not in self._known:
                self._known.add(layer)
                listen(layer.events.data, self._drawn)
        self._listed = [None, *(Where(layer, inside) for layer in shapes for inside in (True, False))]
        kept = None if slide is None else self._choices.get(slide)
        chosen = kept and (kept[0](), kept[1])
        with QSignalBlocker(self.parts):
            self.parts.clear()
            self.parts.addItems([_words(where) for where in self._listed])
            rows = [row for row, one in enumerate(self._listed) if one is not None and one == chosen]
            self.parts.setCurrentIndex(rows[0] if rows else 0)
        self.bring.setEnabled(slide is not None)
        self.setVisible(bool(shapes))
        self.changed.emit()

    def differs(self) -> bool:
        """Return whether the answer that is shown was made in other regions than those that are chosen now."""
        shown, slide, where = self._session.shown, self._session.chosen, self.where
        if shown is None or shown.drawn is None or not shown.complete or slide is None or where is None:
            return False
        try:
            return where.drawn(slide).regions.sha256 != shown.drawn.regions.sha256
        except LrmilError:
            return True

    def import_file(self, path: Path) -> None:
        """Add the regions of a file as a layer, and choose their inside; an error is shown as a message."""
        slide = self._session.chosen
        if slide is None:
            return
        self._session.jobs.began.emit()
        try:
            shapes = import_regions(self._session.viewer, slide, path)
        except LrmilError as error:
            self._session.jobs.failed.emit(str(error))
            return
        self._choices[slide] = ref(shapes), True
        self.refresh()

    def _choose(self, row: int) -> None:
        slide = self._session.chosen
        if slide is None or not 0 <= row < len(self._listed):
            return
        where = self._listed[row]
        if where is None:
            self._choices.pop(slide, None)
        else:
            self._choices[slide] = ref(where.shapes), where.inside
        self.changed.emit()

    def _drawn(self, event: object) -> None:
        if getattr(event, "action", None) in (ActionType.ADDED, ActionType.REMOVED, ActionType.CHANGED):
            self.changed.emit()

    def _ask_for_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Import regions", "", "GeoJSON (*.geojson *.json *.gz);;All files (*)"
        )
        if path:
            self.import_file(Path(path))


def _words(where: Where | None) -> str:
    return WHOLE if where is None else f"{'inside' if where.inside else 'outside'}: {where.shapes.name}"
