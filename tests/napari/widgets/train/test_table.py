"""A table to read: texts and tips, as high as its rows need within bounds."""

from typing import TYPE_CHECKING

from napari_lrmil.widgets.train.table import MAX_HEIGHT, Table

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


def test_texts_are_shown_and_another_filling_replaces_them(qtbot: "QtBot") -> None:
    table = Table(stretched=["message"])
    qtbot.addWidget(table)
    table.fill(["row", "message"], [["1", "first", "beyond the header"], ["2"]])
    assert table.texts == [["1", "first"], ["2", ""]]
    item = table.item(0, 1)
    assert item is not None and item.toolTip() == "first"
    table.fill(["name"], [["only"]])
    assert table.texts == [["only"]]


def test_its_height_follows_its_rows_and_has_an_end(qtbot: "QtBot") -> None:
    table = Table()
    qtbot.addWidget(table)
    heights = []
    for count in (1, 3, 500):
        table.fill(["a"], [[str(n)] for n in range(count)])
        heights.append(table.height())
    assert heights[0] < heights[1] < heights[2] == MAX_HEIGHT
