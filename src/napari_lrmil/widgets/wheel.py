"""The wheel scrolls the dock that it turns over, and never changes a setting on its way."""

import pyqtgraph as pg
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QAbstractSlider, QAbstractSpinBox, QComboBox, QScrollBar, QTabBar, QWidget

CHANGED_BY_IT = (QComboBox, QAbstractSpinBox, QAbstractSlider, QTabBar, pg.GraphicsView)


class _Wheel(QObject):
    """Sends the wheel on to what is around a control."""

    def eventFilter(self, _watched: QObject | None, event: QEvent | None) -> bool:
        """Stop a control from taking the wheel; Qt calls this, and hands an ignored event to the widget around."""
        if event is not None and event.type() == QEvent.Type.Wheel:
            event.ignore()
            return True
        return False


def leave_wheel(dock: QWidget) -> None:
    """Keep the wheel from changing anything in a dock: combo boxes, spin boxes, sliders, tabs and plots.

    Scroll bars, lists and tables scroll as ever.

    Parameters
    ----------
    dock
        The dock with all its parts; it may be called again when there are new ones.
    """
    guard = dock.findChild(_Wheel) or _Wheel(dock)
    for control in dock.findChildren(QWidget):
        if is_changed_by_wheel(control):
            control.installEventFilter(guard)
            if isinstance(control, pg.GraphicsView) and (viewport := control.viewport()) is not None:
                viewport.installEventFilter(guard)


def is_changed_by_wheel(control: QWidget) -> bool:
    """Return whether Qt lets the wheel change a control."""
    return isinstance(control, CHANGED_BY_IT) and not isinstance(control, QScrollBar)
