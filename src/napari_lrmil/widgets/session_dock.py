"""A dock of the plugin: a view of the viewer's session, and its place in the window, which is remembered."""

from functools import partial
from typing import TYPE_CHECKING, ClassVar, NamedTuple
from weakref import ref

from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_lrmil.session.viewers import session_of
from napari_lrmil.state import folders
from napari_lrmil.widgets.questions import ask_about_model
from napari_lrmil.widgets.wheel import leave_wheel

if TYPE_CHECKING:
    from napari.viewer import Viewer

Area = Qt.DockWidgetArea
AREAS = {
    "left": Area.LeftDockWidgetArea,
    "right": Area.RightDockWidgetArea,
    "top": Area.TopDockWidgetArea,
    "bottom": Area.BottomDockWidgetArea,
}
BESIDE = ("left", "right")  # areas whose docks have a width; the others have a height


class Place(NamedTuple):
    """Where a dock stands."""

    area: str
    """A key of `AREAS`."""
    size: int
    """px: its width in the areas left and right, its height in the others; 0 for what Qt gives it."""


class SessionDock(QWidget):
    """A dock: one of the views of the viewer's session, which outlives it.

    It stands at first where it stood the last time, or else at its `FIRST` place; from then on the user arranges it.

    Parameters
    ----------
    napari_viewer
        The viewer; napari passes it by this name.
    """

    FIRST: ClassVar = Place("right", 0)

    def __init__(self, napari_viewer: "Viewer", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session_of(napari_viewer)
        self.session.ask_about_model = partial(ask_about_model, self.session)
        self._window: ref[QMainWindow] | None = None
        self._placed = False

    def showEvent(self, event: QShowEvent | None) -> None:
        """Leave the wheel to scrolling, in parts that were added since the last time too; Qt calls this."""
        super().showEvent(event)
        leave_wheel(self)
        window = self.window()
        if isinstance(window, QMainWindow) and window is not (self._window and self._window()):
            self._window = ref(window)
            window.destroyed.connect(self.session.jobs.end)
            QTimer.singleShot(0, lambda: self._stand() if isalive(self) else None)

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Remember the place for the next start; Qt calls this, also when the window is closed."""
        super().hideEvent(event)
        dock, window = _dock_of(self), None if self._window is None else self._window()
        if self._placed and dock is not None and window is not None and not dock.isFloating():
            area = next((name for name, one in AREAS.items() if one == window.dockWidgetArea(dock)), "")
            if area:
                size = dock.width() if area in BESIDE else dock.height()
                folders.remember(self._memory, f"{area} {size}")

    @property
    def _memory(self) -> str:
        return f"place of {type(self).__name__}"

    def _stand(self) -> None:
        """Move the dock to its place; two in one area become tabs, because each needs the full height."""
        window, own = self.window(), _dock_of(self)
        if self._placed or own is None or not isinstance(window, QMainWindow) or own.isFloating():
            return
        self._placed = True
        place = _place_in(folders.recall(self._memory)) or self.FIRST
        window.setCorner(Qt.Corner.BottomLeftCorner, Area.LeftDockWidgetArea)  # columns need the height
        window.setCorner(Qt.Corner.BottomRightCorner, Area.RightDockWidgetArea)
        if window.dockWidgetArea(own) != AREAS[place.area]:
            window.addDockWidget(AREAS[place.area], own)
        others = [dock for dock in window.findChildren(QDockWidget) if dock is not own and dock.isVisible()]
        stack = [dock for dock in others if window.dockWidgetArea(dock) == AREAS[place.area]]
        ours = [dock for dock in stack if dock.findChild(SessionDock) is not None]
        if ours:
            window.tabifyDockWidget(ours[-1], own)
            own.show()
            own.raise_()
        elif stack:
            stack.append(own)  # or the others would leave it a strip
            window.resizeDocks(stack, [1] * len(stack), Qt.Orientation.Vertical)
        if place.size and not ours:
            QTimer.singleShot(0, lambda: _resize(own, place) if isalive(own) else None)  # once Qt has placed it


def _resize(dock: QDockWidget, place: Place) -> None:
    window = dock.parentWidget()
    if isinstance(window, QMainWindow):
        direction = Qt.Orientation.Horizontal if place.area in BESIDE else Qt.Orientation.Vertical
        window.resizeDocks([dock], [place.size], direction)


def _place_in(text: str) -> Place | None:
    area, _, size = text.partition(" ")
    return Place(area, int(size)) if area in AREAS and size.isdecimal() else None


def _dock_of(widget: QWidget) -> QDockWidget | None:
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent
