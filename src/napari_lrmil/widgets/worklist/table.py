"""Qt model of the worklist: a table that is sorted by value and filtered by words and state."""

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from qtpy.QtCore import QAbstractTableModel, QModelIndex, QObject, QSortFilterProxyModel, Qt
from qtpy.QtGui import QColor, QFont

from napari_lrmil.session.worklist_review import Judge
from napari_lrmil.state.worklist import Entry
from napari_lrmil.widgets.worklist.line import COLUMNS, NUMBERS, SLIDE, STATUS, Line

CHOICES = ("all", "unreviewed", "failed", "uncertain", "disagreed")
Chosen = Literal["all", "unreviewed", "failed", "uncertain", "disagreed"]
FAILED, ON_FAILED = QColor("#7a2e2e"), QColor("white")  # as in MessageLine.warn


class WorklistTable(QAbstractTableModel):
    """Qt model of the worklist: its lines in the order of the files.

    Parameters
    ----------
    answer
        Returns what the model says of a patient from the lines of all slides of that patient.
    """

    def __init__(self, answer: Callable[[Sequence[Line]], str], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.lines: list[Line] = []
        self._answer = answer
        self._case_of: dict[str, str] = {}
        self._rows_of: dict[str, list[int]] = {}
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
        self._group()
        self.endResetModel()

    def set_cases(self, case_of: Mapping[str, str]) -> None:
        """Take the patient of each slide (slide id -> case id), and answer for each patient."""
        self._case_of = dict(case_of)
        self._group()
        if self.lines:
            self._emit_changed(0, len(self.lines) - 1)

    @property
    def has_cases(self) -> bool:
        """Whether the patient of a slide is known."""
        return bool(self._rows_of)

    def row_of(self, path: Path | None) -> int | None:
        """Return the row of a slide; None if it is not in the list."""
        return None if path is None else self._rows.get(path)

    def put(self, entries: Sequence[Entry], judge: Judge) -> None:
        """Update slides, each judged before it is shown; slides of another list are ignored."""
        rows = {self._rows[entry.path]: entry for entry in entries if entry.path in self._rows}
        for row, entry in rows.items():
            self.lines[row] = replace(self.lines[row], entry=entry, **judge(entry)._asdict())
        changed = {*rows, *self._answer_again({self.lines[row].case_id for row in rows})}
        if changed:
            self._emit_changed(min(changed), max(changed))

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
        before = self.lines
        self.lines = [replace(line, **judge(line.entry)._asdict()) for line in before]
        self._answer_again(self._rows_of)
        changed = [row for row, (old, new) in enumerate(zip(before, self.lines, strict=True)) if old != new]
        if changed:
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

    def _group(self) -> None:
        """Note the patient of each line, and answer for each patient."""
        self._rows_of = {}
        for row, line in enumerate(self.lines):
            case_id = self._case_of.get(line.entry.slide_id, "")
            self.lines[row] = replace(line, case_id=case_id, answer="")
            if case_id:
                self._rows_of.setdefault(case_id, []).append(row)
        self._answer_again(self._rows_of)

    def _answer_again(self, case_ids: Iterable[str]) -> list[int]:
        """Answer for some patients, and return the rows of their slides."""
        rows = [own for case_id in case_ids if (own := self._rows_of.get(case_id))]
        for own in rows:
            answer = self._answer([self.lines[row] for row in own])
            for row in own:
                self.lines[row] = replace(self.lines[row], answer=answer)
        return [row for own in rows for row in own]

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


def _fits(line: Line, chosen: Chosen) -> bool:
    if chosen == "unreviewed":
        return line.waits
    if chosen == "disagreed":
        return line.overridden
    return chosen == "all" or line.value(STATUS) == chosen


def _key(value: str | float) -> list[tuple[float, str]]:
    """Return the sort key of a value: numbers by size, also inside a name, so that slide 2 comes before slide 10."""
    if not isinstance(value, str):
        return [(value, "")]
    parts = re.split(r"(\d+)", value.casefold())
    return [(float(part), "") if part.isdecimal() else (-1.0, part) for part in parts]
