"""Pictures of the patches with the highest and lowest attention; a click moves the camera there."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import (
    QHBoxLayout,
    QListView,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QTabBar,
    QVBoxLayout,
    QWidget,
)

from lrmil.errors import SlideError
from lrmil.prediction.attention import ends
from lrmil.slides.opening import open_slide
from lrmil.steps import Step
from napari_lrmil.jobs.latest import LatestJob
from napari_lrmil.layers.build import KEY, patches_layer
from napari_lrmil.session.session import Session
from napari_lrmil.state.messages import explain
from napari_lrmil.state.shown import ShownPrediction
from napari_lrmil.widgets.parts import Text, listen

if TYPE_CHECKING:
    from napari.layers import Shapes

SIDE = 80  # px of a picture: three stand side by side in a narrow dock
CELL = QSize(SIDE + 8, SIDE + 26)
EDGE = 2  # px on the screen, at any zoom
MAX_EDGE = 1 / 8  # of the side of a patch: seen from afar, lines must not fill their square
AROUND = 3  # a patch fills a third of the canvas after a jump
End = Literal["highest", "lowest"]
Picture = tuple[int, NDArray[np.uint8] | None]


class Gallery(QWidget):
    """Numbered pictures, and squares with the same numbers on the slide."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._positions: dict[End, NDArray[np.int64]] = {}
        self._icons: dict[int, QIcon] = {}
        self._reading = LatestJob(self)
        self.ends = QTabBar()
        for name in ("Highest attention", "Lowest attention"):
            self.ends.addTab(name)
        self.list = QListWidget()
        self.list.setAccessibleName("Patches by attention")
        self.list.setViewMode(QListView.ViewMode.IconMode)
        self.list.setResizeMode(QListView.ResizeMode.Adjust)
        self.list.setMovement(QListView.Movement.Static)
        self.list.setIconSize(QSize(SIDE, SIDE))
        self.list.setGridSize(CELL)
        self.list.setMinimumHeight(3 * CELL.height() + 6)
        self.previous, self.next = QPushButton("Previous (Shift+N)"), QPushButton("Next (N)")
        self.note = Text()
        row = QHBoxLayout()
        row.addWidget(self.previous)
        row.addWidget(self.next)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for part in (self.ends, self.list, self.note):
            column.addWidget(part)
        column.addLayout(row)
        self.ends.currentChanged.connect(self._fill)
        self.list.itemClicked.connect(self._jump_to)
        self.list.itemActivated.connect(self._jump_to)
        self.next.clicked.connect(lambda: self.step(1))
        self.previous.clicked.connect(lambda: self.step(-1))
        listen(session.shown_changed, self.refresh)
        listen(session.revealed_changed, self.refresh)
        listen(session.on_screen_changed, self._show_squares)
        listen(session.viewer.scene.camera.events.zoom, self._fit_edges)
        self.refresh()

    @property
    def end(self) -> End:
        """Whether patches of the highest or of the lowest attention are shown."""
        return "lowest" if self.ends.currentIndex() else "highest"

    @property
    def reading(self) -> bool:
        """True while pictures are being read."""
        return self._reading.running

    @property
    def layer(self) -> "Shapes | None":
        """The layer of numbered squares."""
        layers = self._session.viewer.layers
        return next((one for one in layers if one.metadata.get(KEY, {}).get("gallery")), None)

    def refresh(self) -> None:
        """Choose the patches of the prediction that is shown, and read their pictures in a thread."""
        shown = self._session.shown
        self._reading.forget()
        if shown is None or not shown.complete or not self._session.revealed:
            self._positions, self._icons = {}, {}
            self._fill()
            return
        count = self._session.preferences.top_patches
        highest, lowest = ends(shown.prediction.patch_attention, count)
        self._positions, self._icons = {"highest": highest, "lowest": lowest}, {}
        self._fill()
        self._read_pictures(shown, [*highest.tolist(), *lowest.tolist()])

    def step(self, by: int) -> None:
        """Go to the next (1) or previous (-1) patch; the first follows the last."""
        if self.list.count():
            row = self.list.currentRow()
            self.list.setCurrentRow((row + by) % self.list.count() if row >= 0 else 0)
            self._jump_to(self.list.currentItem())

    def _fill(self) -> None:
        shown = self._session.shown
        chosen = self._positions.get(self.end, np.zeros(0, np.int64))
        self.list.clear()
        for number, position in enumerate(chosen.tolist(), 1):
            share = shown.prediction.patch_attention[position] if shown else 0.0
            item = QListWidgetItem(self._icons.get(position, _blank()), f"#{number}  {share:.2g}")
            item.setData(Qt.ItemDataRole.UserRole, position)
            item.setToolTip(f"Patch {number} by {self.end} attention: {share:.4g} of the slide's attention")
            self.list.addItem(item)
        hidden = shown is not None and not self._session.revealed
        empty = (
            "Hidden until your own label is recorded."
            if hidden
            else "Patches appear here once the slide is classified."
        )
        self.note.setText("" if len(chosen) else empty)
        self.note.setVisible(not len(chosen))
        self._draw_squares(shown, chosen)

    def _draw_squares(self, shown: ShownPrediction | None, chosen: NDArray[np.int64]) -> None:
        """Show the squares in one layer that stays: removing it can crash Mesa's OpenGL at the next drawing."""
        viewer, layer = self._session.viewer, self.layer
        if shown is None or not len(chosen):
            if layer is not None:
                layer.data, layer.visible = [], False
            return
        active = viewer.layers.selection.active
        data, keywords, _ = patches_layer(
            shown.prediction,
            chosen.tolist(),
            name=f"patches: {self.end} attention",
            color="black" if self.end == "highest" else "white",
            edge_um=self._edge_um(shown),
        )
        keywords["metadata"][KEY]["gallery"] = True
        if layer is None:
            viewer.add_shapes(data, visible=self._session.on_screen, **keywords)
        else:
            layer.data = []
            layer.add_rectangles(data, edge_width=keywords["edge_width"], edge_color=keywords["edge_color"])
            layer.features = keywords["features"]
            layer.text.color = keywords["edge_color"]
            layer.name, layer.metadata, layer.visible = keywords["name"], keywords["metadata"], self._session.on_screen
        viewer.layers.selection.active = active

    def _edge_um(self, shown: ShownPrediction) -> float:
        side = shown.prediction.patches.size_level0 * shown.prediction.mpp
        zoom = float(self._session.viewer.scene.camera.zoom)
        return min(EDGE / zoom, MAX_EDGE * side)

    def _fit_edges(self, *_: object) -> None:
        """Keep the lines as wide on the screen as they were before the zoom."""
        layer, shown = self.layer, self._session.shown
        if layer is not None and shown is not None and len(layer.data):
            layer.edge_width = [self._edge_um(shown)] * len(layer.data)

    def _show_squares(self) -> None:
        """Show the squares while their slide is on the screen."""
        if self.layer is not None:
            self.layer.visible = self._session.on_screen and len(self.layer.data) > 0

    def _read_pictures(self, shown: ShownPrediction, positions: list[int]) -> None:
        self._reading.start(
            lambda: _pictures(shown, positions),
            name=f"read patches of {shown.source.slide_id}",
            on_step=self._take_picture,
            on_error=lambda error: self._say(explain(error)),
        )

    def _take_picture(self, step: Step[Picture]) -> None:
        if step.result is not None:
            self._set_picture(*step.result)

    def _say(self, text: str) -> None:
        self.note.setText(text)
        self.note.setVisible(True)

    def _set_picture(self, position: int, pixels: NDArray[np.uint8] | None) -> None:
        self._icons[position] = _blank() if pixels is None else _icon(pixels)
        for row in range(self.list.count()):
            item = self.list.item(row)
            if item is not None and item.data(Qt.ItemDataRole.UserRole) == position:
                item.setIcon(self._icons[position])

    def _jump_to(self, item: QListWidgetItem) -> None:
        shown = self._session.shown
        if shown is None:
            return
        prediction, viewer = shown.prediction, self._session.viewer
        corner = prediction.patches.level0_yx[item.data(Qt.ItemDataRole.UserRole)]
        centre = (corner + prediction.patches.size_level0 / 2 - 0.5) * prediction.mpp
        side = prediction.patches.size_level0 * prediction.mpp
        viewer.scene.camera.center = (0.0, float(centre[0]), float(centre[1]))
        viewer.scene.camera.zoom = min(viewer.canvas.size) / (AROUND * side)


def _pictures(shown: ShownPrediction, positions: list[int]) -> Iterator[Step[Picture]]:
    """Read patches as the model saw them; one that cannot be read has no picture."""
    patches = shown.prediction.patches
    with open_slide(shown.source.path, mpp=shown.source.mpp) as slide:
        for done, position in enumerate(positions, 1):
            corner = tuple(patches.level0_yx[position].tolist())
            try:
                pixels = slide.read_region(corner, (patches.grid.size, patches.grid.size), patches.grid.mpp)
            except SlideError:
                pixels = None
            yield Step(("patches",), done, len(positions), "patches", (position, pixels))


def _icon(pixels: NDArray[np.uint8]) -> QIcon:
    how = Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
    return QIcon(pixmap_of(pixels).scaled(SIDE, SIDE, *how))


def pixmap_of(pixels: NDArray[np.uint8]) -> QPixmap:
    """Return uint8 pixels (h, w, 3) as a picture for Qt."""
    height, width = pixels.shape[:2]
    contiguous = np.ascontiguousarray(pixels)
    image = QImage(contiguous.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
    return QPixmap.fromImage(image.copy())


def _blank() -> QIcon:
    picture = QPixmap(SIDE, SIDE)
    picture.fill(Qt.GlobalColor.darkGray)
    return QIcon(picture)
