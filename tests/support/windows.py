"""Which widgets a test left behind."""

import gc

from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import QApplication, QWidget


def windows() -> set[QWidget]:
    """Return the widgets without a parent, those left out that Python or Qt was about to delete."""
    if QApplication.instance() is None:
        return set()
    gc.collect()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    QCoreApplication.processEvents()
    return {widget for widget in QApplication.topLevelWidgets() if widget.parent() is None}
