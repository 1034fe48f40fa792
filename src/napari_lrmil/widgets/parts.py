"""Parts that several widgets share: a scrolling column, a message line, a text that wraps."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol
from weakref import WeakMethod, ref

from qtpy.compat import isalive
from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtGui import (
    QClipboard,
    QContextMenuEvent,
    QGuiApplication,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
    QShowEvent,
)
from qtpy.QtWidgets import (
    QDockWidget,
    QFrame,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QMenu,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_lrmil.session.viewers import session_of
from napari_lrmil.widgets.breaks import breakable, whole
from napari_lrmil.widgets.questions import ask_about_model
from napari_lrmil.widgets.wheel import leave_wheel

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
        self.session.ask_about_model = partial(ask_about_model, self.session)
        self._window: ref[QMainWindow] | None = None

    def showEvent(self, event: QShowEvent | None) -> None:
        """Leave the wheel to scrolling, in parts that were added since the last time too; Qt calls this."""
        super().showEvent(event)
        leave_wheel(self)
        window = self.window()
        if isinstance(window, QMainWindow) and window is not (self._window and self._window()):
            self._window = ref(window)
            window.destroyed.connect(self.session.jobs.end)


class Connectable(Protocol):
    """A signal of psygnal or an event of napari."""

    def connect(self, slot: Callable[..., None], /) -> object:
        """Call `slot` at each emission."""
        ...


def listen(signal: Connectable, slot: Callable[..., None]) -> None:
    """Connect a method of a widget to a signal that outlives the widget.

    Closing a dock deletes its widgets, while session and viewer keep emitting signals; later signals are ignored.

    Parameters
    ----------
    signal
        Signal of the session or the viewer.
    slot
        Bound method of a widget.
    """
    method = WeakMethod(slot)

    def call(*arguments: object) -> None:
        bound = method()
        if bound is not None and isalive(bound.__self__):  # type: ignore[attr-defined]
            bound(*arguments)

    signal.connect(call)


def scrolling_column(owner: QWidget, parts: list[QWidget]) -> QVBoxLayout:
    """Stack parts in an area that scrolls vertically.

    Parameters
    ----------
    owner
        Widget that the area fills.
    parts
        The parts, from top to bottom.

    Returns
    -------
    QVBoxLayout
        Layout of the parts.
    """
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
    """Scrolls vertically only, and is as wide as its content needs.

    Two columns in the same dock area become tabs, because each needs the full height; with other docks it shares it.
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
        if not self._placed:  # only once: afterwards the user arranges the docks
            self._placed = True
            QTimer.singleShot(0, lambda: self._join_tabs() if isalive(self) else None)

    def _join_tabs(self) -> None:
        window, own = self.window(), _dock_of(self)
        if own is None or not isinstance(window, QMainWindow):  # it floats, or is not in a main window
            return
        for column in window.findChildren(_Column):
            other = _dock_of(column)
            if column.isVisible() and other not in (own, None) and _same_area(window, other, own):
                window.tabifyDockWidget(other, own)
                own.show()
                own.raise_()
                return
        docks = [dock for dock in window.findChildren(QDockWidget) if dock.isVisible()]
        stack = [dock for dock in docks if _same_area(window, dock, own)]
        window.resizeDocks(stack, [1] * len(stack), Qt.Orientation.Vertical)  # or the others would leave it a strip


def _dock_of(widget: QWidget) -> QDockWidget | None:
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent


def _same_area(window: QMainWindow, *docks: QDockWidget) -> bool:
    return len({window.dockWidgetArea(dock) for dock in docks}) == 1


def stacked(owner: QWidget, *parts: QWidget) -> QWidget:
    """Stack parts in `owner`, without margins, and return `owner`."""
    column = QVBoxLayout(owner)
    column.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        column.addWidget(part)
    return owner


def beside(*parts: QWidget) -> QWidget:
    """Put parts into a row; all but labels share the remaining width."""
    inside = QWidget()
    row = QHBoxLayout(inside)
    row.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        row.addWidget(part, 0 if isinstance(part, QLabel) else 1)
    return inside


def titled(title: str, *parts: QWidget) -> QGroupBox:
    """Stack parts in a box with a title."""
    box = QGroupBox(title)
    column = QVBoxLayout(box)
    column.setContentsMargins(6, 6, 6, 6)
    for part in parts:
        column.addWidget(part)
    return box


class Text(QLabel):
    """A text that can be copied, and wraps instead of widening its dock, also within long names."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__("", parent)
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.setText(text)

    def text(self) -> str:
        """Return the text as it was set, without the breaks in long names."""
        return whole(super().text())

    def setText(self, text: str | None) -> None:
        """Set the text."""
        super().setText(breakable(text or ""))
        self.setAccessibleName(text or "")

    def copy(self, to: QClipboard.Mode = QClipboard.Mode.Clipboard) -> None:
        """Copy what is selected as it was set: a path with invisible characters would not be found."""
        clipboard = QGuiApplication.clipboard()
        if clipboard is not None and self.hasSelectedText():
            clipboard.setText(whole(self.selectedText()), to)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Copy without the breaks; Qt calls this, and the next two."""
        if event is not None and event.matches(QKeySequence.StandardKey.Copy):
            self.copy()
        else:
            super().keyPressEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        """Hand what is selected to the middle button, on systems that have that."""
        super().mouseReleaseEvent(event)
        clipboard = QGuiApplication.clipboard()
        if clipboard is not None and clipboard.supportsSelection():
            self.copy(QClipboard.Mode.Selection)

    def contextMenuEvent(self, event: QContextMenuEvent | None) -> None:
        """Offer to copy."""
        if event is not None:
            self.menu().popup(event.globalPos())

    def menu(self) -> QMenu:
        """Make the menu of the right button."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        entries = (("Copy", self.copy, self.hasSelectedText()), ("Select All", self.select_all, bool(self.text())))
        for title, slot, enabled in entries:
            if (action := menu.addAction(title)) is not None:
                action.triggered.connect(lambda _checked, slot=slot: slot())
                action.setEnabled(enabled)
        return menu

    def select_all(self) -> None:
        """Select the whole text."""
        self.setSelection(0, len(super().text()))

    def minimumSizeHint(self) -> QSize:
        """Return a small width, so that a long word, such as a path, does not widen the dock."""
        return QSize(40, super().minimumSizeHint().height())


class MessageLine(Text):
    """One sentence about what went wrong or what to do next; hidden while it is empty."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("", parent)
        self.setVisible(False)

    def say(self, text: str) -> None:
        """Show a notice in neutral colours; "" hides the line."""
        self._show(text, "background: rgba(128, 128, 128, 60); border-radius: 3px; padding: 4px;")

    def warn(self, text: str) -> None:
        """Show an error in warning colours."""
        self._show(text, "background: #7a2e2e; color: white; border-radius: 3px; padding: 4px;")

    def take_back(self, text: str) -> None:
        """Hide the line if it still shows this text, which does not hold any more."""
        if self.text() == text:
            self.say("")

    def _show(self, text: str, style: str) -> None:
        self.setStyleSheet(style)
        self.setText(text)
        self.setVisible(bool(text))
