"""Thumbnail of the slide with the rectangle that the viewer shows; a click moves the view there."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap
from qtpy.QtWidgets import QVBoxLayout, QWidget

from lrmil.slides.opening import open_slide
from lrmil.slides.resolution import MICRONS_AT_1X
from lrmil.steps import Step
from napari_lrmil.jobs.worker import start_job
from napari_lrmil.layers.build import KEY, drawn
from napari_lrmil.session.session import Session
from napari_lrmil.widgets.classify.gallery import pixmap_of
from napari_lrmil.widgets.classify.slide_box import SlideBox
from napari_lrmil.widgets.parts import Text, listen

SIDE = 300  # px, the longer side


class Overview(QWidget):
    """A map of the chosen slide that follows the camera."""

    def __init__(self, session: Session, slides: SlideBox, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._slides = session, slides
        self.map = _Map()
        self.magnification = Text()
        self._path = ""
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.map)
        column.addWidget(self.magnification)
        slides.changed.connect(self.refresh)
        camera = session.viewer.scene.camera.events
        listen(camera.center, self.follow)
        listen(camera.zoom, self.follow)
        self.map.clicked = self._go
        self.hide()
        self.refresh()

    def refresh(self) -> None:
        """Read the picture of the chosen slide in a thread."""
        layer = self._slides.layer
        about = layer.metadata.get(KEY, {}) if layer is not None else {}
        path = str(about.get("path", ""))
        before, self._path = self._path, path
        self.follow()
        if path == before:
            return
        self.map.show_picture(None)
        self.map.setToolTip("")  # it may say why another picture could not be read
        self.setVisible(bool(path))
        if path:
            start_job(
                lambda: _overview(path),
                name="overview",
                on_result=lambda pixels: self._arrived(path, pixels),
                on_error=lambda error: self.map.setToolTip(str(error)),
                owner=self,
            )

    def follow(self, _event: object = None) -> None:
        """Update the rectangle of the view and the magnification."""
        layer = self._slides.layer
        if layer is None or not self._path:
            return
        about, camera = layer.metadata[KEY], self._session.viewer.scene.camera
        width, height = about["dimensions"]
        per_pixel = float(layer.scale[-1])
        canvas = self._session.viewer.canvas.size
        size = [side / camera.zoom / per_pixel for side in canvas]  # rows, columns in level-0 pixels
        middle = [centre / per_pixel + 0.5 for centre in camera.center[-2:]]
        self.map.show_view(
            QRectF(
                (middle[1] - size[1] / 2) / width, (middle[0] - size[0] / 2) / height, size[1] / width, size[0] / height
            )
        )
        mpp = 1 / camera.zoom
        known = about["mpp"] is not None
        self.magnification.setText(f"On screen: {mpp:.3g} um/px, about {MICRONS_AT_1X / mpp:.2g}x" if known else "")
        self.magnification.setVisible(known)

    def _arrived(self, path: str, pixels: NDArray[np.uint8]) -> None:
        if path == self._path:
            self.map.show_picture(pixmap_of(pixels))
            self.follow()

    def _go(self, position: QPointF) -> None:
        layer = self._slides.layer
        if layer is None:
            return
        width, height = layer.metadata[KEY]["dimensions"]
        per_pixel = float(layer.scale[-1])
        y, x = (position.y() * height - 0.5) * per_pixel, (position.x() * width - 0.5) * per_pixel
        self._session.viewer.scene.camera.center = (0.0, y, x)


class _Map(QWidget):
    """Paints the thumbnail and the rectangle. Positions are fractions of the slide."""

    def __init__(self) -> None:
        super().__init__()
        self._picture: QPixmap | None = None
        self._view = QRectF()
        self.clicked: Callable[[QPointF], None] = lambda _: None
        self.setMinimumHeight(140)

    def sizeHint(self) -> QSize:
        return QSize(SIDE, 160)

    @property
    def picture(self) -> QPixmap | None:
        """The thumbnail; None until it has been read."""
        return self._picture

    @property
    def view(self) -> QRectF:
        """The part that the viewer shows, in fractions of the slide."""
        return QRectF(self._view)

    def show_picture(self, picture: QPixmap | None) -> None:
        self._picture = picture
        self.update()

    def show_view(self, view: QRectF) -> None:
        self._view = view
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        target = self._target()
        if self._picture is None or target.isEmpty():
            return
        painter = QPainter(self)
        painter.drawPixmap(target, self._picture, QRectF(self._picture.rect()))
        view = QRectF(
            target.x() + self._view.x() * target.width(),
            target.y() + self._view.y() * target.height(),
            self._view.width() * target.width(),
            self._view.height() * target.height(),
        ).intersected(target)
        for color, width in ((QColor("white"), 3), (QColor("black"), 1)):
            painter.setPen(QPen(color, width))
            painter.drawRect(view)
        painter.end()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._click(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._click(event)

    def _click(self, event: QMouseEvent) -> None:
        target = self._target()
        if event.buttons() & Qt.MouseButton.LeftButton and not target.isEmpty():
            position = event.position() - target.topLeft()
            self.clicked(QPointF(position.x() / target.width(), position.y() / target.height()))

    def _target(self) -> QRectF:
        if self._picture is None:
            return QRectF()
        size = self._picture.size().scaled(self.size(), Qt.AspectRatioMode.KeepAspectRatio)
        return QRectF((self.width() - size.width()) / 2, 0, size.width(), size.height())


def _overview(path: str) -> Iterator[Step[NDArray[np.uint8]]]:
    with open_slide(path) as slide:
        yield Step(("overview",), 1, 1, result=drawn(slide.overview(2 * SIDE)))
