"""Plain pieces that several widgets share: a scrolling column, a message line, a word-wrapped text."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol
from weakref import WeakMethod

from qtpy.compat import isalive
from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import (
    QDockWidget,
    QFrame,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_lrmil.session.session import session_of

if TYPE_CHECKING:
    from napari.viewer import Viewer


class SessionDock(QWidget):
    """A dock: one of the views of the viewer's session, which outlives it.

    Parameters
    ----------
    napari_viewer
        The viewer; napari passes it by this name.
    """

    def __init__(self, napari_viewer: "Viewer", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session_of(napari_viewer)


class Connectable(Protocol):
    """A signal of psygnal or an event of napari."""

    def connect(self, slot: Callable[..., None], /) -> object: ...


def listen(signal: Connectable, slot: Callable[..., None]) -> None:
    """Call a widget's method on a signal that outlives the widget, for as long as the widget is there.

    A dock that is closed takes its widgets with it, while session and viewer go on telling what happens.
    """
    method = WeakMethod(slot)

    def call(*arguments: object) -> None:
        bound = method()
        if bound is not None and isalive(bound.__self__):  # type: ignore[attr-defined]
            bound(*arguments)

    signal.connect(call)


def scrolling_column(owner: QWidget, parts: list[QWidget]) -> QVBoxLayout:
    """Lay parts below each other in an area that scrolls up and down, and give their layout."""
    inside = QWidget()
    column = QVBoxLayout(inside)
    column.setContentsMargins(6, 6, 6, 6)
    for part in parts:
        column.addWidget(part)
    column.addStretch(1)
    area = _Column()
    area.setWidget(inside)
    outer = QVBoxLayout(owner)
    outer.setContentsMargins(0, 0, 0, 0)
    outer.addWidget(area)
    return column


class _Column(QScrollArea):
    """Scrolls up and down only, and is as wide as what stands in it needs.

    Two columns in one area of the window become tabs, since each needs the height.
    """

    def __init__(self) -> None:
        super().__init__()
        self._placed = False
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizeAdjustPolicy(QScrollArea.SizeAdjustPolicy.AdjustToContents)

    def minimumSizeHint(self) -> QSize:
        inside = self.widget()
        width = inside.minimumSizeHint().width() + self.verticalScrollBar().sizeHint().width() if inside else 0
        return QSize(width, super().minimumSizeHint().height())

    def showEvent(self, event: QShowEvent | None) -> None:
        super().showEvent(event)
        if not self._placed:  # once: afterwards the docks stand where the user wants them
            self._placed = True
            QTimer.singleShot(0, lambda: self._join_tabs() if isalive(self) else None)

    def _join_tabs(self) -> None:
        window, own = self.window(), _dock_of(self)
        if own is None or not isinstance(window, QMainWindow):  # it floats, or stands elsewhere
            return
        for column in window.findChildren(_Column):
            other = _dock_of(column)
            if column.isVisible() and other not in (own, None) and _same_area(window, other, own):
                window.tabifyDockWidget(other, own)
                own.show()
                own.raise_()
                return


def _dock_of(widget: QWidget) -> QDockWidget | None:
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent


def _same_area(window: QMainWindow, *docks: QDockWidget) -> bool:
    return len({window.dockWidgetArea(dock) for dock in docks}) == 1


def stacked(owner: QWidget, *parts: QWidget) -> QWidget:
    """Lay parts below each other in `owner`, without margins."""
    column = QVBoxLayout(owner)
    column.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        column.addWidget(part)
    return owner


def beside(*parts: QWidget) -> QWidget:
    """Lay parts beside each other; what is no label takes the room that is left."""
    inside = QWidget()
    row = QHBoxLayout(inside)
    row.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        row.addWidget(part, 0 if isinstance(part, QLabel) else 1)
    return inside


def titled(title: str, *parts: QWidget) -> QGroupBox:
    """Frame parts under a title."""
    box = QGroupBox(title)
    column = QVBoxLayout(box)
    column.setContentsMargins(6, 6, 6, 6)
    for part in parts:
        column.addWidget(part)
    return box


class Text(QLabel):
    """A text that wraps instead of widening its dock, and can be copied."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)

    def minimumSizeHint(self) -> QSize:
        """A long word, such as a path, does not widen the dock."""
        return QSize(40, super().minimumSizeHint().height())


class MessageLine(Text):
    """One sentence about what went wrong, or what to do next; hidden while there is nothing to say."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("", parent)
        self.setVisible(False)

    def say(self, text: str) -> None:
        """Show advice in the ordinary colours; "" hides the line."""
        self._show(text, "background: rgba(128, 128, 128, 60); border-radius: 3px; padding: 4px;")

    def warn(self, text: str) -> None:
        """Show what went wrong."""
        self._show(text, "background: #7a2e2e; color: white; border-radius: 3px; padding: 4px;")

    def _show(self, text: str, style: str) -> None:
        self.setStyleSheet(style)
        self.setText(text)
        self.setVisible(bool(text))
