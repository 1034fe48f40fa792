"""What is trained on: slide folder and labels table, with a preview and every problem before anything runs."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QGridLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)
from superqt import QCollapsible

from lrmil.cohort import CohortReport, validate_cohort
from lrmil.steps import Step
from lrmil.tables import read_records
from napari_lrmil.messages import explain
from napari_lrmil.widgets.parts import Text
from napari_lrmil.worker import start_job

PREVIEW = 50  # rows
DELAY = 400  # ms of no typing before the check begins


class Checked(NamedTuple):
    """What the check of a cohort found."""

    report: CohortReport
    records: list[list[str]]


class CohortBox(QWidget):
    """Fields, verdict, problems and preview."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.slides, self.labels, self.run = QLineEdit(), QLineEdit(), QLineEdit()
        self.slides.setPlaceholderText("folder of slides, searched recursively")
        self.labels.setPlaceholderText("csv, tsv or xlsx: slide_id, label, case_id, ...")
        self.run.setPlaceholderText("folder that the run writes; an earlier run goes on")
        self.verdict = Text("Choose a slide folder and a labels table.")
        self.problems, self.preview = _table(150), _table(150)
        self.folded = QCollapsible("Labels table")
        self.folded.addWidget(self.preview)
        self.report: CohortReport | None = None
        self.checking = False
        self._folds = 5
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        rows = [("Slides", self.slides, self._ask_slides), ("Labels", self.labels, self._ask_labels)]
        for row, (name, field, ask) in enumerate([*rows, ("Run", self.run, self._ask_run)]):
            button = QPushButton("Browse...")
            button.clicked.connect(ask)
            grid.addWidget(QLabel(name), row, 0)
            grid.addWidget(field, row, 1)
            grid.addWidget(button, row, 2)
        for row, part in enumerate((self.verdict, self.problems, self.folded), 3):
            grid.addWidget(part, row, 0, 1, 3)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY)
        self._timer.timeout.connect(self.check)
        for field in (self.slides, self.labels):
            field.textChanged.connect(self._typed)
        self.run.textChanged.connect(self.changed)
        self.problems.hide()
        self.folded.hide()

    @property
    def paths(self) -> tuple[Path, Path, Path] | None:
        """Slide folder, labels table and run folder; None until all three are given."""
        texts = [field.text().strip() for field in (self.slides, self.labels, self.run)]
        if not all(texts):
            return None
        slides, labels, run = (Path(text).expanduser() for text in texts)
        return slides, labels, run

    @property
    def ready(self) -> bool:
        """Whether the cohort has been checked and has no errors."""
        return not self.checking and self.report is not None and self.report.ok

    def set_folds(self, folds: int) -> None:
        """Say how many folds are asked for: each class needs as many cases."""
        if folds != self._folds:
            self._folds = folds
            self._typed()

    def check(self) -> None:
        """Validate the cohort in a thread."""
        slides, labels = self.slides.text().strip(), self.labels.text().strip()
        if not slides or not labels:
            return
        if not self.run.text():
            self.run.setText(str(Path(slides).expanduser().parent / "run"))
        asked = (slides, labels, self._folds)

        def steps() -> Iterator[Step[Checked]]:
            yield Step("check", 1, 1, result=_check(*asked))

        def current() -> bool:
            return asked == (self.slides.text().strip(), self.labels.text().strip(), self._folds)

        self.checking = True
        self.verdict.setText("Checking...")
        start_job(
            steps,
            name="check the cohort",
            on_result=lambda checked: self._show(checked) if current() else None,
            on_error=lambda error: self._refuse(error) if current() else None,
            owner=self,
        )
        self.changed.emit()

    def _typed(self) -> None:
        self.report = None
        self._timer.start()
        self.changed.emit()

    def _refuse(self, error: Exception) -> None:
        self.checking, self.report = False, None
        self.verdict.setText(explain(error))
        self.problems.hide()
        self.folded.hide()
        self.changed.emit()

    def _show(self, checked: Checked) -> None:
        self.checking, self.report = False, checked.report
        self.verdict.setText(describe(checked.report))
        rows = [
            [problem.severity, str(problem.row or ""), problem.column or "", problem.message, problem.hint]
            for problem in checked.report.problems
        ]
        fill(self.problems, ["", "row", "column", "problem", "remedy"], rows)
        self.problems.setVisible(bool(rows))
        fill(self.preview, checked.records[0], checked.records[1 : PREVIEW + 1])
        more = len(checked.records) - 1 - PREVIEW
        self.folded.setText("Labels table" + (f", the first {PREVIEW} rows" if more > 0 else ""))
        self.folded.show()
        self.changed.emit()

    def _ask_slides(self) -> None:
        self._put(self.slides, QFileDialog.getExistingDirectory(self, "Folder of slides", self.slides.text()))

    def _ask_labels(self) -> None:
        found, _ = QFileDialog.getOpenFileName(self, "Labels table", self.labels.text(), "Tables (*.csv *.tsv *.xlsx)")
        self._put(self.labels, found)

    def _ask_run(self) -> None:
        self._put(self.run, QFileDialog.getExistingDirectory(self, "Run folder", self.run.text()))

    def _put(self, field: QLineEdit, path: str) -> None:
        if path:
            field.setText(path)


def describe(report: CohortReport) -> str:
    """One line on a cohort."""
    errors = sum(problem.severity == "error" for problem in report.problems)
    warnings = len(report.problems) - errors
    if report.cohort is None:
        return f"{errors} errors, {warnings} warnings. Mend the errors below, save the table, then check again."
    counts = Counter(slide.label for slide in report.cohort.slides)
    classes = ", ".join(f"{name} {counts[name]}" for name in report.cohort.classes)
    noted = f", {warnings} warnings below" if warnings else ""
    return f"{len(report.cohort.slides)} slides of {len(report.cohort.case_labels)} cases: {classes}{noted}."


def fill(table: QTableWidget, header: list[str], rows: list[list[str]]) -> None:
    """Put texts into a table; what is long has a tooltip."""
    table.clear()
    table.setColumnCount(len(header))
    table.setRowCount(len(rows))
    table.setHorizontalHeaderLabels(header)
    for row, cells in enumerate(rows):
        for column, text in enumerate(cells[: len(header)]):
            item = QTableWidgetItem(text)
            item.setToolTip(text)
            table.setItem(row, column, item)
    table.resizeColumnsToContents()
    table.resizeRowsToContents()


def _table(height: int) -> QTableWidget:
    table = QTableWidget()
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setWordWrap(True)
    table.setMinimumHeight(height)
    table.setTextElideMode(Qt.TextElideMode.ElideRight)
    table.horizontalHeader().setMaximumSectionSize(240)
    table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
    table.verticalHeader().hide()
    return table


def _check(slides: str, labels: str, folds: int) -> Checked:
    folder, path = Path(slides).expanduser(), Path(labels).expanduser()
    return Checked(validate_cohort(folder, path, folds=folds), read_records(path))
