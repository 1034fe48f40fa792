"""Write the labels table that Train from folder takes, from the reviews of the slides of the list."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QPushButton, QWidget

from lrmil.steps import Step
from napari_lrmil.session.session import Session
from napari_lrmil.state.worklist_patients import recall_table
from napari_lrmil.widgets.parts import listen

if TYPE_CHECKING:
    from lrmil.cohorts.reviewed_labels import ReviewedLabels


class LabelsFromReviews(QPushButton):
    """Asks where to write the table, and writes it in a thread, as `lrmil labels-from-reviews` does.

    Parameters
    ----------
    session
        Gives the review log, and runs the job.
    """

    said = Signal(str)
    """What was written, and how many slides have no label."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__("Labels...", parent)
        self._session = session
        self.folder: Path | None = None
        self.setToolTip("Write the labels that readers agree on as a table for Train from folder")
        self.clicked.connect(self._ask)
        listen(session.jobs.job_changed, self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Allow it while there is a folder and no job runs."""
        self.setEnabled(self.folder is not None and not self._session.jobs.busy)

    def _ask(self) -> None:
        title = "Write the labels of these slides"
        name = QFileDialog.getSaveFileName(self, title, str(Path("labels.csv").absolute()), "Tables (*.csv)")[0]
        if name and self.folder is not None:
            self._write(self.folder, Path(name))

    def _write(self, folder: Path, out: Path) -> None:
        log, cases = self._session.review_log, recall_table(folder)

        def steps() -> "Iterator[Step[ReviewedLabels]]":
            from lrmil.cohorts.reviewed_labels import labels_from_reviews_steps

            yield from labels_from_reviews_steps(log, folder, out, cases=cases)

        self._session.jobs.run(steps, name=f"write the labels of {folder.name}", on_result=self._say)

    def _say(self, found: "ReviewedLabels") -> None:
        left_out = len(found.left_out)
        if found.table is None:
            self.said.emit("No slide of the list has a label from reviews, so no table was written.")
        else:
            others = f"; {left_out} reviewed slides have none, or readers differ" if left_out else ""
            self.said.emit(f"{len(found.labels)} labels{others}: {found.table}")
