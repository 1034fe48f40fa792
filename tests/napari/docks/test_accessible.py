"""Whoever cannot see a control, or does not know it, is told what it is: in every dock, for every control."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from napari.components import ViewerModel
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QFormLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QPlainTextEdit,
    QScrollBar,
    QTabBar,
    QTextEdit,
    QWidget,
)

from napari_lrmil.docks.classify import ClassifySlide
from napari_lrmil.docks.train import TrainFromFolder
from napari_lrmil.docks.worklist import Worklist
from napari_lrmil.session.session import Session

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

FIELDS = (QComboBox, QLineEdit, QAbstractSpinBox, QAbstractSlider, QPlainTextEdit, QTextEdit)
MANY = {ClassifySlide: 20, Worklist: 12, TrainFromFolder: 20}
Dock = type[QWidget]


def controls(dock: QWidget) -> "Iterator[QWidget]":
    """What a user works with: not the parts of which Qt makes its own controls, nor the menus of plots."""
    for widget in dock.findChildren(QWidget):
        above = list(ancestors(widget))
        inside_one = any(isinstance(one, (QComboBox, QLineEdit, QAbstractSpinBox, QTabBar)) for one in above)
        if isinstance(widget, QScrollBar) or inside_one or any(isinstance(one, QMenu) for one in above):
            continue
        if isinstance(widget, (QAbstractButton, QAbstractItemView, *FIELDS)) and not is_header(widget):
            yield widget


def ancestors(widget: QWidget) -> "Iterator[QWidget]":
    while (widget := widget.parent()) is not None:
        yield widget


def is_header(widget: QWidget) -> bool:
    return any(isinstance(one, QAbstractItemView) for one in ancestors(widget))


def name_of(widget: QWidget, dock: QWidget) -> str:
    """The name that assistive programs read: its own, its text, or that of the label that is tied to it."""
    text = widget.text() if isinstance(widget, QAbstractButton) else ""
    tied = [label.text() for label in dock.findChildren(QLabel) if label.buddy() is widget]
    in_form = [
        label.text()
        for form in dock.findChildren(QFormLayout)
        if isinstance(label := form.labelForField(widget), QLabel)
    ]
    return str(widget.accessibleName() or next((one for one in (text, *tied, *in_form) if one), ""))


@pytest.fixture(params=[ClassifySlide, Worklist, TrainFromFolder])
def any_dock(
    request: pytest.FixtureRequest,
    viewer: ViewerModel,
    session: Session,
    qtbot: "QtBot",
    finish: "Callable[[Session], None]",
) -> QWidget:
    dock = request.param(viewer)
    qtbot.addWidget(dock)
    finish(session)
    return dock


def test_every_control_has_a_name_and_every_field_says_what_it_is_for(any_dock: QWidget) -> None:
    found = list(controls(any_dock))
    assert len(found) >= MANY[type(any_dock)]
    nameless = [widget for widget in found if not any(sign.isalpha() for sign in name_of(widget, any_dock))]
    assert not [f"{type(one).__name__} in {type(one.parent()).__name__}" for one in nameless]
    unexplained = [
        name_of(widget, any_dock)
        for widget in found
        if not widget.toolTip() and (isinstance(widget, FIELDS) or is_symbol(widget))
    ]
    assert not unexplained


def is_symbol(widget: QWidget) -> bool:
    return isinstance(widget, QAbstractButton) and not any(sign.isalpha() for sign in widget.text())


def test_buttons_of_one_text_in_one_dock_have_names_of_their_own(any_dock: QWidget) -> None:
    names = [name_of(widget, any_dock) for widget in controls(any_dock) if isinstance(widget, QAbstractButton)]
    assert len(names) == len(set(names))
