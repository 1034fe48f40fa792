"""Choose slide folder, labels table and run folder; see the table and every problem before training."""

from itertools import count
from pathlib import Path

from qtpy.compat import isalive
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QFileDialog, QGridLayout, QHBoxLayout, QLabel, QLineEdit, QPushButton, QWidget
from superqt import QCollapsible

from lrmil.cohorts.cohort import CohortReport
from lrmil.errors import LrmilError
from lrmil.runs.plan_file import read_plan
from lrmil.steps import Step
from napari_lrmil.jobs.worker import JobWorker, start_job
from napari_lrmil.state.messages import explain
from napari_lrmil.widgets.parts import Text
from napari_lrmil.widgets.train.checking import Checked, Planned, check_steps, describe, foretold
from napari_lrmil.widgets.train.reading import ReadingBox, with_names_of_fields
from napari_lrmil.widgets.train.table import Table

PREVIEW = 50  # rows
DELAY = 400  # ms after the last key before the check begins
PROBLEM = ("", "row", "column", "problem and remedy")
EMPTY = "Choose a slide folder and a labels table."


class CohortBox(QWidget):
    """Fields for the paths, result of the check, problems, and preview of the table."""

    changed = Signal()
    run_chosen = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.slides, self.labels, self.run = QLineEdit(), QLineEdit(), QLineEdit()
        self.slides.setPlaceholderText("folder of slides")
        self.labels.setPlaceholderText("csv, tsv or xlsx: slide_id, label, case_id")
        self.run.setPlaceholderText("folder for the run; an existing run is resumed")
        self.reading = ReadingBox()
        self.verdict, self.expected = Text(EMPTY), Text()
        self._checked: Checked | None = None
        self._planned: Planned | None = None
        self.problems, self.preview = Table(stretched=PROBLEM[-1:]), Table()
        self.problems.setAccessibleName("Problems of slides and table")
        self.preview.setAccessibleName("Labels table")
        self.folded = QCollapsible("Labels table")
        self.folded.addWidget(self.preview)
        self.again = QPushButton("Check again")
        self.again.setToolTip("Reads folder and table again, after you have fixed them")
        self.report: CohortReport | None = None
        self.checking = False
        self._folds, self._test_fraction = 5, 0.0
        self._proposed = ""
        self._browse: list[QPushButton] = []
        self._job: JobWorker | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY)
        self._lay_out()
        self._listen()

    @property
    def paths(self) -> tuple[Path, Path, Path] | None:
        """Slide folder, labels table and run folder; None until all three are chosen."""
        found = [path_in(field) for field in (self.slides, self.labels, self.run)]
        slides, labels, run = found
        return None if slides is None or labels is None or run is None else (slides, labels, run)

    @property
    def ready(self) -> bool:
        """True if the cohort has been checked and has no errors."""
        return not self.checking and self.report is not None and self.report.ok

    @property
    def split_by(self) -> str | None:
        """The column of the checked table that names the test slides; None without one."""
        return self.report.cohort.split_by if self.report is not None and self.report.cohort is not None else None

    def set_folds(self, folds: int, *, test_fraction: float) -> None:
        """Set the number of folds, of which each class needs as many cases, or a share of the cases to test instead."""
        if (folds, test_fraction) != (self._folds, self._test_fraction):
            self._folds, self._test_fraction = folds, test_fraction
            self._typed()

    def set_patches(self, planned: Planned | None) -> None:
        """Set the patches of the settings, to foretell how many the slides have; None while these are not valid."""
        if planned != self._planned:
            self._planned = planned
            self._foretell()

    def set_locked(self, *, locked: bool) -> None:
        """Lock or unlock the cohort; the run folder can always be changed, to look at another run."""
        for part in (self.slides, self.labels, self.reading, self.again, *self._browse[:2]):
            part.setEnabled(not locked)

    def choose_run(self, run: Path) -> None:
        """Set the run folder, as if the user had typed it."""
        self.run.setText(str(run))
        self.run_chosen.emit()

    def check(self) -> None:
        """Validate the cohort in a thread."""
        slides, labels = path_in(self.slides), path_in(self.labels)
        self._timer.stop()
        if slides is None or labels is None:
            return
        self._propose(slides, labels)
        asked = (slides, labels, self._folds, self._test_fraction, self.reading.options)

        def current() -> bool:
            planned = (self._folds, self._test_fraction)
            return asked == (path_in(self.slides), path_in(self.labels), *planned, self.reading.options)

        def show_step(step: Step[Checked]) -> None:
            if step.result is None or not current():
                return
            if self.checking:
                self._show(step.result)
            elif step.unit == "slides":  # a training may be started meanwhile
                found = describe(step.result)
                self.verdict.setText(f"{found} Looking at the slides: {step.done} of {step.total}.")

        self.checking = True
        self.verdict.setText("Checking...")
        self._stop_looking()
        self._job = start_job(
            lambda: check_steps(*asked),
            name="check the cohort",
            on_step=show_step,
            on_result=lambda checked: self._show(checked) if current() else None,
            on_error=lambda error: self._refuse(error) if current() else None,
            owner=self,
        )
        self.changed.emit()

    def _lay_out(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(1, 1)
        rows = [("Slides", self.slides, self._ask_slides), ("Labels", self.labels, self._ask_labels)]
        for row, (name, field, ask) in enumerate([*rows, ("Run", self.run, self._ask_run)]):
            button = QPushButton("Browse...")
            button.setAccessibleName(f"Browse for {name.lower()}")
            button.clicked.connect(ask)
            self._browse.append(button)
            grid.addWidget(QLabel(name), row, 0)
            field.setAccessibleName(name)
            field.setToolTip(field.placeholderText())
            grid.addWidget(field, row, 1)
            grid.addWidget(button, row, 2)
        verdict = QHBoxLayout()
        verdict.addWidget(self.verdict, 1)
        verdict.addWidget(self.again)
        grid.addWidget(self.reading, 3, 0, 1, 3)
        grid.addLayout(verdict, 4, 0, 1, 3)
        grid.addWidget(self.expected, 5, 0, 1, 3)
        grid.addWidget(self.problems, 6, 0, 1, 3)
        grid.addWidget(self.folded, 7, 0, 1, 3)
        for part in (self.expected, self.again, self.problems, self.folded):
            part.hide()

    def _listen(self) -> None:
        self._timer.timeout.connect(self.check)
        for field in (self.slides, self.labels):
            field.textChanged.connect(self._typed)
        self.reading.changed.connect(self._typed)
        self.run.textChanged.connect(self.changed)
        self.run.editingFinished.connect(self.run_chosen)
        self.again.clicked.connect(self.check)
        for field in (self.slides, self.labels, self.run):
            field.textChanged.connect(field.setToolTip)

    def _stop_looking(self) -> None:
        if self._job is not None and isalive(self._job):
            self._job.quit()
        self._job = None

    def _typed(self) -> None:
        self.report, self.checking, self._checked = None, False, None
        self._foretell()
        self._stop_looking()
        given = path_in(self.slides) is not None and path_in(self.labels) is not None
        if given:
            self._timer.start()
        self.verdict.setText("Checking..." if given else EMPTY)
        for part in (self.again, self.problems, self.folded):
            part.hide()
        self.changed.emit()

    def _propose(self, slides: Path, labels: Path) -> None:
        """Propose a run folder, unless the user has chosen one."""
        if self.run.text() in ("", self._proposed):
            proposal = propose_run(slides, labels)
            self._proposed = str(proposal)
            if self.run.text() != self._proposed:
                self.choose_run(proposal)

    def _refuse(self, error: Exception) -> None:
        self.checking, self.report = False, None
        self.verdict.setText(with_names_of_fields(explain(error)))
        self.again.show()
        self.changed.emit()

    def _show(self, checked: Checked) -> None:
        self.checking, self.report, self._checked = False, checked.report, checked
        self._foretell()
        self.verdict.setText(describe(checked))
        rows = [
            [
                problem.severity,
                str(problem.row or ""),
                problem.column or "",
                with_names_of_fields(f"{problem.message}\n{problem.hint}"),
            ]
            for problem in sorted(checked.report.problems, key=lambda problem: problem.severity)  # errors come first
        ]
        self.problems.fill(PROBLEM, rows)
        self.problems.setVisible(bool(rows))
        self.preview.fill(checked.records[0], checked.records[1 : PREVIEW + 1])
        more = len(checked.records) - 1 > PREVIEW
        self.folded.setText("Labels table" + (f", the first {PREVIEW} rows" if more else ""))
        self.folded.show()
        self.again.setVisible(bool(rows))
        self.changed.emit()

    def _foretell(self) -> None:
        text = foretold(self._checked, self._planned) if self._checked is not None else ""
        self.expected.setText(text)
        self.expected.setVisible(bool(text))

    def _ask_slides(self) -> None:
        self._put(self.slides, QFileDialog.getExistingDirectory(self, "Folder of slides", self.slides.text()))

    def _ask_labels(self) -> None:
        start = self.labels.text() or self.slides.text()
        found, _ = QFileDialog.getOpenFileName(self, "Labels table", start, "Tables (*.csv *.tsv *.txt *.xlsx *.xlsm)")
        self._put(self.labels, found)

    def _ask_run(self) -> None:
        found = QFileDialog.getExistingDirectory(self, "Run folder", self.run.text() or self.slides.text())
        if found:
            self.choose_run(Path(found))

    def _put(self, field: QLineEdit, path: str) -> None:
        if path:
            field.setText(path)


def propose_run(slides: Path, labels: Path) -> Path:
    """Return a run folder beside the slides: the run of this cohort, to resume it, or else an unused folder."""
    names = (slides.parent / ("run" if number == 1 else f"run-{number}") for number in count(1))
    return next(run for run in names if not run.exists() or _is_run_of(run, slides, labels))


def path_in(field: QLineEdit) -> Path | None:
    """Return the path in a field; None if it is empty."""
    text = field.text().strip()
    return Path(text).expanduser().absolute() if text else None


def _is_run_of(run: Path, slides: Path, labels: Path) -> bool:
    try:
        _, its_slides, its_labels = read_plan(run)
        return (Path(its_slides), Path(its_labels)) == (slides, labels)
    except LrmilError:
        return run.is_dir() and not any(run.iterdir())
