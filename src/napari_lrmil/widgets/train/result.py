"""Result of a finished run: the three arms side by side, the slides left out, the report and the model."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from qtpy.QtCore import QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from lrmil.errors import FormatError
from lrmil.io.documents import read_json_document
from lrmil.runs.arms import ARM_NAMES
from lrmil.runs.differences import difference_sentence, find_differences
from lrmil.runs.tested import measurement_of
from lrmil.tasks.choice import kind_in
from napari_lrmil.widgets.parts import Text
from napari_lrmil.widgets.train.reading import with_names_of_fields
from napari_lrmil.widgets.train.table import Table

DAMAGED = (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError)
HEADER = ["", *(name.split(" (")[0].replace(" ", "\n") for name in ARM_NAMES.values())]
COST = ("s/slide", "MB/slide", "patches/slide")


class ResultTable(QWidget):
    """Shows the figures in RUN/metrics.json; opens the report and passes the model on."""

    use_model = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.table = Table(stretched=HEADER[:1])  # the figures are never cut
        self.table.setAccessibleName("Figures of the run")
        self.notes = Text()
        self.report, self.use = QPushButton("Open report"), QPushButton("Use this model")
        row = QHBoxLayout()
        row.addWidget(self.report)
        row.addWidget(self.use)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.table)
        column.addWidget(self.notes)
        column.addLayout(row)
        self._run: Path | None = None
        self.report.clicked.connect(self._open_report)
        self.use.clicked.connect(self.use_model)

    def show_run(self, run: Path) -> None:
        """Read the figures of a finished run."""
        self._run = run
        try:
            rows, lines = _figures_and_notes(run)
        except DAMAGED:  # someone edited it
            rows, lines = _rows({}), ["The figures of this run cannot be read. Train it again."]
        self.table.fill(HEADER, rows)
        self.notes.setText("\n".join(lines))
        self.look_for_report()

    def look_for_report(self) -> None:
        """Enable the button of the report once it exists: it is written after the end of the run."""
        there = self._run is not None and (self._run / "report.html").is_file()
        self.report.setEnabled(there)
        self.report.setToolTip("" if there else "There is no report yet; `lrmil report RUN` writes one.")

    def _open_report(self) -> None:
        if self._run is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._run / "report.html")))


def _figures_and_notes(run: Path) -> tuple[list[list[str]], list[str]]:
    figures, problems = _read(run / "metrics.json", {}), _read(run / "problems.json", [])
    left_out = [one for one in problems if one.get("slide_id")]
    lines = [
        f"{_recovered(figures.get('gap_recovered'))} The baseline is the same low-resolution model without "
        "distillation.",
        *_differences(figures),
        *_tested(figures),
        *(f"Left out: {one['slide_id']}: {one['message']}" for one in left_out),
    ]
    return _rows(figures), lines


def _differences(figures: dict[str, Any]) -> list[str]:
    """Say whether the student differs from the other arms; earlier runs do not state it."""
    kind = kind_in(figures)
    title = kind.figures[kind.score_name]
    return [difference_sentence(title, arm, found) for arm, found in find_differences(figures).items()]


def _tested(figures: dict[str, Any]) -> list[str]:
    """Say whether the figures are those of the model itself, where that is certain."""
    found = measurement_of({}, figures, kind_in(figures))
    return [with_names_of_fields(found.sentence)] if found else []


def _rows(figures: dict[str, Any]) -> list[list[str]]:
    """Return a row for each figure: its title and its value in each arm."""
    shown = kind_in(figures).figures
    columns = [_cells(figures.get(arm) or {}, shown) for arm in ARM_NAMES]
    return [list(row) for row in zip((*shown.values(), *COST), *columns, strict=True)]


def _cells(figures: dict[str, Any], shown: Iterable[str]) -> list[str]:
    """Return the figures of one arm: those that its task shows, then `COST`."""
    size = figures.get("bytes_per_slide")
    return [
        *(_figure(figures.get(name)) for name in shown),
        _number(figures.get("seconds_per_slide"), 2),
        _number(None if size is None else size / 1e6, 2),
        _number(figures.get("patches_per_slide"), 0),
    ]


def _figure(value: float | list[float] | None) -> str:
    return f"{value[0]:.2f}-{value[1]:.2f}" if isinstance(value, list) else _number(value)


def _number(value: float | None, digits: int = 3) -> str:
    return "not defined" if value is None else f"{value:.{digits}f}"


def _recovered(share: float | None) -> str:
    """Say how much of the teacher's lead over the baseline the student has, if the teacher leads at all."""
    if share is None:
        return "The teacher's lead over the baseline is below 0.01 or not defined."
    if share > 1:
        return "The student is above the teacher, which is above the baseline."
    return f"The student recovers {100 * share:z.0f} % of the teacher's lead over the baseline."


def _read(path: Path, otherwise: Any) -> Any:
    """Read a JSON file; return `otherwise` if it is absent, damaged or of another type."""
    try:
        found = read_json_document(path)
    except (OSError, FormatError):
        return otherwise
    return found if isinstance(found, type(otherwise)) else otherwise
