"""Qt model and view of the worklist: a table that is sorted by value and filtered by words and state."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, QSize, QSortFilterProxyModel, Qt
from qtpy.QtGui import QColor, QFont, QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QTableView

from napari_lrmil.session.worklist_review import Judge
from napari_lrmil.state.worklist import Entry

COLUMNS = ("Slide", "Status", "Class", "Probability", "Message", "Reviewed", "Patches", "Unreadable")
NUMBERS = ("Probability", "Patches", "Unreadable")
SLIDE, STATUS, CLASS, PROBABILITY, MESSAGE, REVIEWED, PATCHES, UNREADABLE = range(len(COLUMNS))
HIDDEN = "read first"
CHOICES = ("all", "unreviewed", "failed", "uncertain")
Chosen = Literal["all", "unreviewed", "failed", "uncertain"]
WIDTHS = (110, 92, 70, 108, 0, 100, 82, 112)  # px of the columns; the message takes the remaining width
MIN_MESSAGE = 130  # px
WIDTH = 540  # px of the table at first: the columns up to the message, and the scroll bar
FAILED, ON_FAILED = QColor("#7a2e2e"), QColor("white")  # as in MessageLine.warn
ROW_HEIGHT = 24  # px
Value = str | float | None


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table.

    Attributes
    ----------
    entry
        The slide.
    reviewed
        Decision and label of its newest review; "" if there is none.
    hidden
        Whether the prediction is hidden until the reader records a label.
    """

    entry: Entry
    reviewed: str = ""
    hidden: bool = False

    @property
    def waits(self) -> bool:
        """True if the slide is classified but not reviewed."""
        return self.entry.done and not self.reviewed

    def value(self, column: int) -> Value:
        """Return the value that a column sorts by; None if there is none or it is hidden."""
        entry = self.entry
        visible = None if self.hidden or not entry.done else entry
        row = entry.row if entry.done else None
        return {
            SLIDE: entry.slide_id,
            STATUS: self._status(),
            CLASS: visible.label if visible else None,
            PROBABILITY: visible.probability if visible else None,
            PATCHES: row.n_patches - row.failed_patches if row else None,
            UNREADABLE: row.failed_patches if row else None,
            REVIEWED: self.reviewed or None,
            MESSAGE: entry.message or None,
        }[column]

    def text(self, column: int) -> str:
        """Return the text of a column."""
        value = self.value(column)
        if column == STATUS and self.entry.status == "running":
            return f"running {100 * self.entry.part:.0f} %"
        if column == PROBABILITY and isinstance(value, float):
            return f"{100 * value:.1f} %"
        return "" if value is None else str(value)

    def _status(self) -> str:
        return HIDDEN if self.hidden and self.entry.done else self.entry.status


class WorklistTable(QAbstractTableModel):
    """Qt model of the worklist: its lines in the order of the files."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.lines: list[Line] = []
        self._rows: dict[Path, int] = {}
        self._opened: Path | None = None

    @property
    def entries(self) -> list[Entry]:
        """The slides of the lines."""
        return [line.entry for line in self.lines]

    def fill(self, entries: Sequence[Entry]) -> None:
        """Replace the list. A slide that was in the previous list keeps its state until it is read again."""
        known = {line.entry.path: line for line in self.lines if not line.entry.duplicate_name}
        self.beginResetModel()
        self.lines = [Line(entry) if entry.duplicate_name else known.get(entry.path, Line(entry)) for entry in entries]
        self._rows = {entry.path: row for row, entry in enumerate(entries)}
        self.endResetModel()

    def row_of(self, path: Path | None) -> int | None:
        """Return the row of a slide; None if it is not in the list."""
        return None if path is None else self._rows.get(path)

    def put(self, entries: Sequence[Entry], judge: Judge) -> None:
        """Update slides, each judged before it is shown; slides of another list are ignored."""
        rows = {self._rows[entry.path]: entry for entry in entries if entry.path in self._rows}
        for row, entry in rows.items():
            self.lines[row] = Line(entry, *judge(entry))
        if rows:
            self._emit_changed(min(rows), max(rows))

    def count(self) -> tuple[int, int]:
        """Return the number of reviewed slides and of hidden predictions."""
        return sum(bool(line.reviewed) for line in self.lines), sum(line.hidden for line in self.lines)

    def judge(self, judge: Judge) -> None:
        """Set for each slide its review, and whether its prediction is hidden.

        Parameters
        ----------
        judge
            Function that returns both for a slide; the review is "" if there is none.
        """
        judged = [Line(line.entry, *judge(line.entry)) for line in self.lines]
        changed = [row for row, (old, new) in enumerate(zip(self.lines, judged, strict=True)) if old != new]
        if changed:
            self.lines = judged
            self._emit_changed(changed[0], changed[-1])

    def mark(self, path: Path | None) -> None:
        """Show the slide that is open in the viewer in bold."""
        if path == self._opened:
            return
        rows = self.row_of(self._opened), self.row_of(path)
        self._opened = path
        for row in rows:
            if row is not None:
                self._emit_changed(row, row)

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        """Return the number of lines; Qt calls this."""
        return 0 if parent.isValid() else len(self.lines)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        """Return the number of columns; Qt calls this."""
        return 0 if parent.isValid() else len(COLUMNS)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Return the text, tip, alignment, colour or font of a cell; Qt calls this."""
        line, column = self.lines[index.row()], index.column()
        if role == Qt.ItemDataRole.DisplayRole:
            return line.text(column)
        if role == Qt.ItemDataRole.ToolTipRole:
            tip = str(line.entry.path) if column == SLIDE else line.text(column)
            return f"<qt>{html.escape(tip)}</qt>" if tip else None  # rich text wraps
        if role == Qt.ItemDataRole.BackgroundRole and line.entry.status == "failed":
            return FAILED
        if role == Qt.ItemDataRole.ForegroundRole and line.entry.status == "failed":
            return ON_FAILED
        if role == Qt.ItemDataRole.TextAlignmentRole and COLUMNS[column] in NUMBERS:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.FontRole and line.entry.path == self._opened:
            font = QFont()
            font.setBold(True)
            return font
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Return the name of a column; Qt calls this."""
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            return COLUMNS[section]
        return None

    def _emit_changed(self, first: int, last: int) -> None:
        self.dataChanged.emit(self.index(first, 0), self.index(last, len(COLUMNS) - 1))


class WorklistOrder(QSortFilterProxyModel):
    """Sorts by value, empty values always last; shows the lines that match the search words and the chosen state."""

    def __init__(self, table: WorklistTable, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._table = table
        self._words: list[str] = []
        self._chosen: Chosen = "all"
        self.setDynamicSortFilter(True)
        self.setSourceModel(table)

    def choose(self, chosen: Chosen) -> None:
        """Show only the lines in one state."""
        self._chosen = chosen
        self.invalidate()

    def search(self, text: str) -> None:
        """Show only the lines that contain every word, in any column."""
        self._words = text.casefold().split()
        self.invalidate()

    def table_rows(self, *, after: int | None = None) -> list[int]:
        """Return the rows of the table that are shown, in the order that is shown.

        Parameters
        ----------
        after
            Row of the table to begin behind, and to end with; from the top when it is None or not shown.
        """
        rows = [self.mapToSource(self.index(row, 0)).row() for row in range(self.rowCount())]
        start = rows.index(after) + 1 if after in rows else 0
        return rows[start:] + rows[:start]

    def lessThan(self, left: QModelIndex, right: QModelIndex) -> bool:
        """Return True if the left cell comes first; Qt calls this."""
        one, other = (self._table.lines[index.row()].value(index.column()) for index in (left, right))
        if one is None or other is None:
            ascending = self.sortOrder() == Qt.SortOrder.AscendingOrder
            return (
                (other is None and one is not None) == ascending if one is not other else bool(left.row() < right.row())
            )
        return bool(_key(one) < _key(other))

    def filterAcceptsRow(self, row: int, _parent: QModelIndex) -> bool:
        """Return True if a line is shown; Qt calls this."""
        line = self._table.lines[row]
        if not _fits(line, self._chosen):
            return False
        text = " ".join(line.text(column) for column in range(len(COLUMNS))).casefold()
        return all(word in text for word in self._words)


class WorklistView(QTableView):
    """Table view, as wide as slide, prediction and message need; in a narrow dock the other columns scroll."""

    def sizeHint(self) -> QSize:
        """Return the size of the dock at first; Qt calls this."""
        return QSize(WIDTH, super().sizeHint().height())

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Give the column Message the width that the other columns leave, or else the width up to the edge."""
        super().resizeEvent(event)
        room, widths = self.viewport().width(), [self.columnWidth(column) for column in range(len(COLUMNS))]
        before, after = sum(widths[:MESSAGE]), sum(widths[MESSAGE + 1 :])
        beside = room - before - after
        self.setColumnWidth(MESSAGE, beside if beside >= MIN_MESSAGE else max(MIN_MESSAGE, room - before))


def make_view(order: WorklistOrder) -> WorklistView:
    """Return a view of the table that selects whole rows and sorts by a click on a column name."""
    view = WorklistView()
    view.setModel(order)
    view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    view.setSortingEnabled(True)
    view.sortByColumn(SLIDE, Qt.SortOrder.AscendingOrder)
    view.setWordWrap(False)
    view.setMinimumHeight(4 * ROW_HEIGHT)
    if (numbers := view.verticalHeader()) is not None:
        numbers.setVisible(False)
        numbers.setDefaultSectionSize(ROW_HEIGHT)
    for column, width in enumerate(WIDTHS):
        view.setColumnWidth(column, width)
    return view


def _fits(line: Line, chosen: Chosen) -> bool:
    if chosen == "unreviewed":
        return line.waits
    return chosen == "all" or line.value(STATUS) == chosen


def _key(value: str | float) -> list[tuple[float, str]]:
    """Return the sort key of a value: numbers by size, also inside a name, so that slide 2 comes before slide 10."""
    if not isinstance(value, str):
        return [(value, "")]
    parts = re.split(r"(\d+)", value.casefold())
    return [(float(part), "") if part.isdecimal() else (-1.0, part) for part in parts]
