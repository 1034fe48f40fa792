"""Long names wrap within their dock, and are copied as they are."""

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QContextMenuEvent, QFont, QGuiApplication, QTextLayout
from qtpy.QtWidgets import QMenu, QWidget

from napari_lrmil.widgets.breaks import BREAK, LONG, breakable, shortened, whole
from napari_lrmil.widgets.parts import MessageLine, Text
from napari_lrmil.widgets.train.table import Table

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

NAMES = (
    "TCGA-3C-AALI-01Z-00-DX1_F6E9A5DF-D8FB_Rescan.2024_leftbreast_block_A12_HE_40x",
    "left_breast_block_A12_HE_rescan_of_the_second_of_march_with_the_old_scanner_40x",
    "a" * 80,
    "\u00fc" * 80,
    "/data/pathology_archive_of_the_second_floor/slides.of.2024/block_A12_HE_rescan.svs",
)
WIDTH = 250  # px


@given(st.text(alphabet=st.sampled_from("ab_.-/ \n\u00fc,;:="), max_size=120) | st.text(max_size=60))
def test_every_long_word_has_breaks_and_nothing_else_changes(text: str) -> None:
    text = whole(text)
    found = breakable(text)
    assert whole(found) == text
    assert max(map(len, found.replace(BREAK, " ").split()), default=0) <= 2 * LONG
    assert all(word in found.split() for word in text.split() if len(word) <= LONG)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5 of labels.csv", ["5 of labels.csv"]),
        ("first_part-second.part/third", ["first_", "part-", "second.", "part/", "third"]),
        ("b" * 45, ["b" * 20, "b" * 20, "b" * 5]),
    ],
)
def test_lines_break_after_punctuation_or_else_after_some_letters(text: str, expected: list[str]) -> None:
    assert breakable(text).split(BREAK) == expected


@pytest.mark.parametrize("text", ["read at 2 um/px", "0.25 um/px at level 0", "from 46.6 % on", "5.40 mm² in 12 s"])
def test_a_number_stays_with_its_unit_and_a_unit_in_one_line(text: str, qtbot: "QtBot") -> None:
    shown = breakable(text)
    layout, found = QTextLayout(shown, QFont()), []
    layout.beginLayout()
    while (line := layout.createLine()).isValid():
        line.setLineWidth(1)  # as narrow as a line can be
        found.append(whole(shown[line.textStart() : line.textStart() + line.textLength()]).strip())
    layout.endLayout()
    units = re.findall(r"[\d.]+ (?:um/px|%|mm²|s)(?!\w)", text)
    assert units and all(unit in found for unit in units) and whole(shown) == text


def test_a_no_break_space_of_a_file_s_name_is_kept() -> None:
    assert whole(breakable("block\u00a01 of 2 um/px")) == "block\u00a01 of 2 um/px"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [Text, MessageLine])
def test_a_long_name_is_not_clipped(kind: type[Text], name: str, qtbot: "QtBot") -> None:
    line = kind()
    qtbot.addWidget(line)
    line.setText(f"Cannot read {name}.")
    assert line.text() == line.accessibleName() == f"Cannot read {name}."
    lines = line.heightForWidth(WIDTH) // line.fontMetrics().lineSpacing()
    assert lines * WIDTH >= line.fontMetrics().horizontalAdvance(name)
    parts = breakable(name).split(BREAK)
    assert max(line.fontMetrics().horizontalAdvance(part) for part in parts) < WIDTH
    assert line.minimumSizeHint().width() < WIDTH


@pytest.mark.parametrize("name", NAMES)
def test_nor_in_a_table(name: str, qtbot: "QtBot") -> None:
    table, short = Table(stretched=("problem",)), Table(stretched=("problem",))
    for one, text in ((table, name), (short, "short")):
        qtbot.addWidget(one)
        one.resize(WIDTH, 200)
        one.show()
        one.fill(("row", "problem"), [("1", text)])
    assert table.texts == [["1", name]] and table.item(0, 1).toolTip() == name  # type: ignore[union-attr]
    assert table.rowHeight(0) > 1.5 * short.rowHeight(0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("by", ["key", "menu", "call"])
def test_it_is_copied_as_it_is(name: str, by: str, qtbot: "QtBot") -> None:
    owner = QWidget()
    qtbot.addWidget(owner)
    line, clipboard = Text(name, owner), QGuiApplication.clipboard()
    line.resize(WIDTH, 200)
    owner.resize(WIDTH, 200)
    owner.show()
    clipboard.setText("before")
    line.select_all()
    if by == "key":
        qtbot.keyClick(line, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    elif by == "menu":
        event = QContextMenuEvent(QContextMenuEvent.Reason.Mouse, QPoint(5, 5), line.mapToGlobal(QPoint(5, 5)))
        line.contextMenuEvent(event)
        (menu,) = line.findChildren(QMenu)
        menu.actions()[0].trigger()
        menu.close()
    else:
        line.copy()
    assert clipboard.text() == name


def test_the_menu_offers_what_can_be_done(qtbot: "QtBot") -> None:
    line = Text("a name")
    qtbot.addWidget(line)
    assert [action.isEnabled() for action in line.menu().actions()] == [False, True]
    line.menu().actions()[1].trigger()
    assert line.selectedText() == "a name"
    assert [action.isEnabled() for action in line.menu().actions()] == [True, True]
    empty = Text()
    qtbot.addWidget(empty)
    assert [action.isEnabled() for action in empty.menu().actions()] == [False, False]


def test_of_a_long_name_the_end_is_shown() -> None:
    assert shortened("slides") == "slides"
    assert shortened("x" * 40 + "end") == "…" + "x" * 24 + "end"
