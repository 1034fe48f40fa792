"""A wheel that turns over a dock scrolls it, and changes nothing, over each control of each dock."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pyqtgraph as pg
import pytest
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QScrollArea,
    QTabBar,
    QWidget,
)

from lrmil.runs.progress import EpochRecord
from napari_lrmil.widgets.wheel import is_changed_by_wheel
from support.events import wheel

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    import napari

pytestmark = pytest.mark.usefixtures("display")
WAIT = 60_000
LEAST = {"Classify slide": 5, "Worklist": 2, "Train from folder": 9}  # controls, so that none is left out unseen


def state(control: QWidget) -> object:
    """What the wheel could change."""
    if isinstance(control, QComboBox | QTabBar):
        return control.currentIndex()
    if isinstance(control, pg.PlotWidget):
        return control.viewRange()
    assert isinstance(control, QAbstractSpinBox | QAbstractSlider)
    return control.text() if isinstance(control, QAbstractSpinBox) else control.value()


def under(control: QWidget) -> list[QWidget]:
    """The widgets that get the wheel when it turns over a control."""
    if isinstance(control, pg.PlotWidget):
        return [control, control.viewport()]
    return [control, *control.findChildren(QLineEdit)]


@pytest.mark.parametrize("name", LEAST)
def test_the_wheel_scrolls_a_dock_and_changes_nothing(
    make_napari_viewer: Callable[..., "napari.Viewer"], name: str, qtbot: "QtBot"
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1200, 500)
    _, dock = viewer.window.add_plugin_dock_widget("napari-lrmil", name)
    qtbot.waitUntil(dock.isVisible, timeout=WAIT)
    devices = dock.findChildren(QComboBox)
    qtbot.waitUntil(lambda: any(one.findData("cpu") >= 0 for one in devices), timeout=WAIT)
    if name == "Train from folder":
        dock.curves_group.show()
        dock.curves.show_epochs((EpochRecord("fold-0", "lr_encoder", 1, {"train_loss": 1.0, "val_loss": 2.0}),))
    controls = [control for control in dock.findChildren(QWidget) if is_changed_by_wheel(control)]
    assert len(controls) >= LEAST[name]
    for control in controls:
        if isinstance(control, QAbstractSlider):
            control.setValue((control.minimum() + control.maximum()) // 2)
        if isinstance(control, QComboBox | QTabBar) and control.count() > 2:
            control.setCurrentIndex(1)
        control.setEnabled(True)
        control.setFocus()  # also one that is used right now
        for widget in under(control):
            for turn in (1, -1):
                before = state(control)
                wheel(widget, turn)
                assert state(control) == before, f"{type(control).__name__} {control.toolTip()!r}"
    for area in dock.findChildren(QScrollArea)[:1]:
        bar = area.verticalScrollBar()
        for control in (one for one in controls if one.isVisible()):
            bar.setValue(0)
            wheel(under(control)[-1], 2)
            assert bar.value() > 0, f"the dock stands still under {type(control).__name__} {control.toolTip()!r}"
