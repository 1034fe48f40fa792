"""Parts that several widgets share: a scrolling column, a message line, a text that wraps."""

from collections.abc import Callable, Sequence
from typing import Protocol
from weakref import WeakMethod

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import (
    QClipboard,
    QContextMenuEvent,
    QGuiApplication,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
)
from qtpy.QtWidgets import (
    QFrame,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QMenu,
    QProgressBar,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_lrmil.widgets.breaks import breakable, whole


class Connectable(Protocol):
    """A signal of psygnal or an event of napari."""

    def connect(self, slot: Callable[..., None], /) -> object:
        """Call `slot` at each emission."""
        ...


def keeping_room(part: QWidget) -> QWidget:
    """Let a part keep its room while it is hidden, and return it."""
    policy = part.sizePolicy()
    policy.setRetainSizeWhenHidden(True)
    part.setSizePolicy(policy)
    return part


def begin(bar: QProgressBar, job: str) -> None:
    """Show a job whose length is not known yet, in words, which a bar without an end would not draw."""
    bar.setRange(0, 1)
    bar.setValue(0)
    bar.setFormat(job)


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


def scrolling_column(owner: QWidget, parts: list[QWidget], *, below: Sequence[QWidget] = ()) -> QVBoxLayout:
    """Stack parts in an area that scrolls vertically, and others below it, in view at all times.

    Parameters
    ----------
    owner
        Widget that the area fills.
    parts
        The parts, from top to bottom.
    below
        The parts below the area. Those that come and go should be first, so that the last ones stay where they are.

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
    outer.setSpacing(0)
    outer.addWidget(area, 1)
    if below:
        foot = QVBoxLayout()
        foot.setContentsMargins(6, 4, 6, 6)
        for part in below:
            foot.addWidget(part)
        outer.addLayout(foot)
    return column


class _Column(QScrollArea):
    """Scrolls vertically only, and is as wide as its content needs."""

    def __init__(self) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizeAdjustPolicy(QScrollArea.SizeAdjustPolicy.AdjustToContents)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Become as wide as a content that has grown needs; Qt calls this for the content."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))

    def minimumSizeHint(self) -> QSize:
        inside = self.widget()
        width = inside.minimumSizeHint().width() + self.verticalScrollBar().sizeHint().width() if inside else 0
        return QSize(width, super().minimumSizeHint().height())


class _Steady(QGroupBox):
    """Box that never gets lower, so that what is below stays under the mouse while texts change."""

    def event(self, event: QEvent | None) -> bool:
        """Grow with the content; Qt calls this."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            needed = self.heightForWidth(self.width()) if self.hasHeightForWidth() else self.sizeHint().height()
            self.setMinimumHeight(max(needed, self.minimumHeight()))
        return bool(super().event(event))


def stacked(owner: QWidget, *parts: QWidget) -> QWidget:
    """Stack parts in `owner`, without margins, and return `owner`."""
    column = QVBoxLayout(owner)
    column.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        column.addWidget(part)
    return owner


def beside(*parts: QWidget) -> QWidget:
    """Put parts into a row; all but labels share the remaining width, with texts that wrap."""
    inside = QWidget()
    row = QHBoxLayout(inside)
    row.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        row.addWidget(part, 0 if isinstance(part, QLabel) and not part.wordWrap() else 1)
    return inside


def titled(title: str, *parts: QWidget, steady: bool = False) -> QGroupBox:
    """Stack parts in a box with a title, which never gets lower if it is to be steady."""
    box = _Steady(title) if steady else QGroupBox(title)
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

    def clear(self) -> None:
        """Hide the line."""
        self.say("")

    def take_back(self, text: str) -> None:
        """Hide the line if it still shows this text, which does not hold any more."""
        if self.text() == text:
            self.say("")

    def _show(self, text: str, style: str) -> None:
        self.setStyleSheet(style)
        self.setText(text)
        self.setVisible(bool(text))
