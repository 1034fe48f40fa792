"""Qt view of the worklist: which rows of the table are selected, and which one is opened."""

from qtpy.QtCore import QItemSelectionModel, QSize, Qt, Signal
from qtpy.QtGui import QKeySequence, QResizeEvent, QShortcut
from qtpy.QtWidgets import QAbstractItemView, QSizePolicy, QTableView, QVBoxLayout, QWidget

from napari_lrmil.widgets.worklist.line import COLUMNS, MESSAGE, OF_PATIENTS, REVIEWED, SLIDE
from napari_lrmil.widgets.worklist.table import WorklistOrder

WIDTHS = (110, 90, 190, 70, 108, 100, 92, 0, 82, 112)  # px of the columns; the message takes the remaining width
MIN_MESSAGE = 130  # px
MAX_REVIEWED = 240  # px: a review of another model's answer has the name of the model
WIDTH = 510  # px of the table at first: the columns before the message, and the scroll bar
ROW_HEIGHT = 24  # px


class AboveMessage(QWidget):
    """The table, and a message below that takes its room from it: neither the rows nor the dock move for a message."""

    def __init__(self, view: QWidget, message: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._view = view
        # napari adds a stretch, which takes half of the room, to a dock in which nothing wants to grow.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(view, 1)
        column.addWidget(message)

    def hasHeightForWidth(self) -> bool:
        """Return False, although the message would have more lines in a narrow dock; Qt calls this and the next."""
        return False

    def minimumSizeHint(self) -> QSize:
        """Return that of the table alone."""
        return QSize(self._view.minimumSizeHint().width(), self._view.minimumHeight())


class WorklistView(QTableView):
    """Table view, as wide as slide, prediction and message need; in a narrow dock the other columns scroll.

    It selects whole rows and sorts by a click on a column name. All its rows are those of the table, not those of the
    order that is shown.
    """

    opened = Signal(int)
    """A row was double-clicked, or Enter was pressed on it."""
    selection_changed = Signal()

    def __init__(self, order: WorklistOrder, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._order = order
        self.setAccessibleName("Slides of the list")
        self.setModel(order)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSortingEnabled(True)
        self.setTabKeyNavigation(False)  # Tab leaves the table
        self.sortByColumn(SLIDE, Qt.SortOrder.AscendingOrder)
        self._set_sizes()
        self._selection = QItemSelectionModel(order, self)
        self.setSelectionModel(self._selection)
        self._selection.selectionChanged.connect(lambda *_: self.selection_changed.emit())
        self.doubleClicked.connect(lambda index: self.opened.emit(order.mapToSource(index).row()))
        for key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            enter = QShortcut(QKeySequence(key), self)
            enter.setContext(Qt.ShortcutContext.WidgetShortcut)
            enter.activated.connect(self.open_current)

    @property
    def has_selection(self) -> bool:
        """Whether a row is selected."""
        return bool(self._selection.hasSelection())

    def selected_rows(self) -> list[int]:
        """Return the selected rows."""
        return [self._order.mapToSource(index).row() for index in self._selection.selectedRows()]

    def open_current(self) -> None:
        """Open the row with the cursor, if there is one."""
        index = self.currentIndex()
        if index.isValid():
            self.opened.emit(self._order.mapToSource(index).row())

    def go_to(self, row: int) -> None:
        """Select a row and scroll to it."""
        index = self._order.mapFromSource(self._order.sourceModel().index(row, 0))
        self.selectRow(index.row())
        self.scrollTo(index)

    def show_patients(self, *, shown: bool) -> None:
        """Show or hide the columns of the patients, which lists without patients do not need."""
        for column in OF_PATIENTS:
            self.setColumnHidden(column, not shown)
        self._fit_message()

    def fit_reviewed(self) -> None:
        """Widen the column Reviewed to what it says."""
        width = min(self.sizeHintForColumn(REVIEWED), MAX_REVIEWED)
        if width > self.columnWidth(REVIEWED):
            self.setColumnWidth(REVIEWED, width)
            self._fit_message()

    def _set_sizes(self) -> None:
        self.setWordWrap(False)
        self.setMinimumHeight(2 * ROW_HEIGHT)
        if (numbers := self.verticalHeader()) is not None:
            numbers.setVisible(False)
            numbers.setDefaultSectionSize(ROW_HEIGHT)
        for column, width in enumerate(WIDTHS):
            self.setColumnWidth(column, width)
        self.show_patients(shown=False)

    def sizeHint(self) -> QSize:
        """Return the size of the dock at first; Qt calls this."""
        return QSize(WIDTH, super().sizeHint().height())

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Give the column Message the width that the other columns leave, or else the width up to the edge."""
        super().resizeEvent(event)
        self._fit_message()

    def _fit_message(self) -> None:
        room, widths = self.viewport().width(), [self.columnWidth(column) for column in range(len(COLUMNS))]
        before, after = sum(widths[:MESSAGE]), sum(widths[MESSAGE + 1 :])
        beside = room - before - after
        self.setColumnWidth(MESSAGE, beside if beside >= MIN_MESSAGE else max(MIN_MESSAGE, room - before))
