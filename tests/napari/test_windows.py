"""A widget that a test leaves behind is found, and none that is going or has a parent is taken for one."""

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QLabel, QWidget

from support.windows import windows

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


def test_a_widget_without_a_parent_is_found_until_it_is_deleted(qtbot: "QtBot") -> None:
    before = windows()
    hidden, shown = QWidget(), QLabel("shown")
    shown.show()
    assert windows() - before == {hidden, shown}
    shown.close()
    assert windows() - before == {hidden, shown}, "closed is not deleted"
    for widget in (hidden, shown):
        widget.deleteLater()
    assert windows() == before


def test_children_and_what_python_drops_are_not_found(qtbot: "QtBot") -> None:
    before, parent = windows(), QWidget()
    qtbot.addWidget(parent)
    child = QLabel("child", parent)
    assert windows() - before == {parent} and child.parent() is parent
    dropped = QWidget()
    dropped.itself = dropped  # type: ignore[attr-defined]  # a cycle, as a slot that is a method makes one
    del dropped
    assert windows() - before == {parent}
