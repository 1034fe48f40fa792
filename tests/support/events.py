"""Events as a mouse, its wheel and a keyboard send them."""

from collections.abc import Callable

from qtpy.QtCore import QPoint, QPointF, Qt, QTimer
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QAbstractButton, QApplication, QDialog, QWidget

NOTCH = 120
LEFT = Qt.MouseButton.LeftButton


def click(widget: QWidget) -> None:
    """Press and release the left button in the middle of a widget."""
    QTest.mouseClick(widget, LEFT, Qt.KeyboardModifier.NoModifier, widget.rect().center())


def press(widget: QWidget, *keys: Qt.Key | str, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
    """Press keys one after the other in the window of a widget, wherever the focus is in it."""
    for key in keys:
        activate(widget.window())
        QTest.keyClick(QApplication.focusWidget() or widget.window(), key, modifier)


def activate(window: QWidget) -> None:
    """Make a window the one that has the keyboard, which tests in another process may have taken for theirs."""
    for _ in range(100):
        if window.isActiveWindow() and QApplication.focusWidget() is not None:
            return
        window.activateWindow()
        QTest.qWait(20)


def wheel(widget: QWidget, notches: int) -> None:
    """Turn the wheel over the middle of a widget, towards the user (down) for a positive number.

    As Qt does for a mouse, though not for events that a program sends, what a widget ignores goes to the one around.
    """
    glob = QPointF(widget.mapToGlobal(widget.rect().center()))
    turn = QPoint(0, -NOTCH if notches > 0 else NOTCH)
    button, modifier, phase = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase
    for _ in range(abs(notches)):
        receiver: QWidget | None = widget
        while receiver is not None:
            at = QPointF(receiver.mapFromGlobal(glob.toPoint()))
            event = QWheelEvent(at, glob, QPoint(), turn, button, modifier, phase, False)
            if (QApplication.sendEvent(receiver, event) and event.isAccepted()) or receiver.isWindow():
                break
            receiver = receiver.parentWidget()


def answering(words: str, *, tick: str = "") -> Callable[[], list[str]]:
    """Press the button with these words in the next dialog.

    Parameters
    ----------
    words
        On the button.
    tick
        On a box that is ticked first, if any.

    Returns
    -------
    Callable
        Returns the questions that were asked by now.
    """
    asked: list[str] = []
    timer = QTimer()
    timer.setInterval(20)

    def look() -> None:
        dialog = QApplication.activeModalWidget()
        if isinstance(dialog, QDialog):
            timer.stop()
            buttons = {one.text().replace("&", ""): one for one in dialog.findChildren(QAbstractButton)}
            asked.append(getattr(dialog, "text", str)())
            if tick:
                box = buttons[tick]
                QTest.mouseClick(box, LEFT, Qt.KeyboardModifier.NoModifier, QPoint(8, box.height() // 2))
            click(buttons[words])

    timer.timeout.connect(look)
    timer.start()
    return lambda: [timer, asked][1]  # type: ignore[return-value, list-item]
