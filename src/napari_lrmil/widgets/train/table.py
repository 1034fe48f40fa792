"""A read-only table, as high as its rows need, up to a limit."""

from collections.abc import Container, Sequence

from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QSizePolicy, QTableWidget, QTableWidgetItem, QWidget

from napari_lrmil.widgets.breaks import breakable, whole

MAX_HEIGHT = 240  # px; more rows scroll


class Table(QTableWidget):
    """Texts with tooltips; the columns named in `stretched` share the remaining width and wrap."""

    def __init__(self, parent: QWidget | None = None, *, stretched: Container[str] = ()) -> None:
        super().__init__(parent)
        self._stretched = stretched
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setWordWrap(True)
        self.setTextElideMode(Qt.TextElideMode.ElideNone)
        if (numbers := self.verticalHeader()) is not None:
            numbers.hide()

    @property
    def texts(self) -> list[list[str]]:
        """The texts of all rows."""
        columns = range(self.columnCount())
        return [
            [whole(item.text()) if (item := self.item(row, column)) else "" for column in columns] for row in self._rows
        ]

    def fill(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show rows of texts; cells beyond the header are ignored."""
        self.clear()
        self.setColumnCount(len(header))
        self.setRowCount(len(rows))
        self.setHorizontalHeaderLabels(list(header))
        for column, name in enumerate(header):
            stretched = name in self._stretched
            if (names := self.horizontalHeader()) is not None:
                mode = QHeaderView.ResizeMode.Stretch if stretched else QHeaderView.ResizeMode.ResizeToContents
                names.setSectionResizeMode(column, mode)
            for row, cells in enumerate(rows):
                if column < len(cells):
                    item = QTableWidgetItem(breakable(cells[column]) if stretched else cells[column])
                    item.setToolTip(cells[column])
                    item.setTextAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
                    self.setItem(row, column, item)
        self._fit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Adapt the row heights to the new width."""
        super().resizeEvent(event)
        self._fit()

    @property
    def _rows(self) -> range:
        return range(self.rowCount())

    def _fit(self) -> None:
        self.resizeRowsToContents()
        parts: list[QWidget | None] = [self.horizontalHeader(), None if self._stretched else self.horizontalScrollBar()]
        needed = sum(part.sizeHint().height() for part in parts if part is not None) + 2 * self.frameWidth()
        self.setFixedHeight(min(needed + sum(self.rowHeight(row) for row in self._rows), MAX_HEIGHT))
