"""What a finished run came to: the three arms side by side, the slides left out, the report, the model."""

import json
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QAbstractItemView, QHBoxLayout, QHeaderView, QPushButton, QTableWidget, QVBoxLayout, QWidget

from lrmil.run_plan import ARM_NAMES
from napari_lrmil.widgets.parts import Text
from napari_lrmil.widgets.train_cohort import fill

FIGURES = ("AUROC", "95 % interval", "balanced acc.", "s/slide", "MB/slide", "patches/slide")


class ResultTable(QWidget):
    """Shows RUN/metrics.json; hands the model on."""

    use_model = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.table = QTableWidget()
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.verticalHeader().hide()
        self.table.setFixedHeight(212)
        self.table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
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
        self._report: Path | None = None
        self.report.clicked.connect(self._open_report)
        self.use.clicked.connect(self.use_model)

    def show_run(self, run: Path) -> None:
        """Read the figures of a finished run."""
        figures, problems = _read(run / "metrics.json"), _read(run / "problems.json")
        columns = [_cells(figures.get(arm, {})) for arm in ARM_NAMES]
        rows = [list(row) for row in zip(FIGURES, *columns, strict=True)]
        fill(self.table, ["", *(name.split(":")[0] for name in ARM_NAMES.values())], rows)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        lines = [
            f"Gap to the teacher recovered: {_share(figures.get('gap_recovered'))}. The floor is the same model "
            "without distillation."
        ]
        left_out = [one for one in problems if one.get("slide_id")] if isinstance(problems, list) else []
        lines += [f"Left out: {one['slide_id']}: {one['message']}" for one in left_out]
        self.notes.setText("\n".join(lines))
        self._report = run / "report.html"
        self.report.setEnabled(self._report.is_file())

    def _open_report(self) -> None:
        if self._report is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._report.resolve())))


def _cells(figures: dict[str, Any]) -> list[str]:
    """What `FIGURES` names, of one arm."""
    interval, size = figures.get("auroc_ci"), figures.get("bytes_per_slide")
    return [
        _number(figures.get("auroc")),
        "not defined" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}",
        _number(figures.get("balanced_accuracy")),
        _number(figures.get("seconds_per_slide"), 2),
        _number(None if size is None else size / 1e6, 2),
        _number(figures.get("patches_per_slide"), 0),
    ]


def _number(value: float | None, digits: int = 3) -> str:
    return "not defined" if value is None else f"{value:.{digits}f}"


def _share(value: float | None) -> str:
    return "not defined" if value is None else f"{100 * value:.0f} %"


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
