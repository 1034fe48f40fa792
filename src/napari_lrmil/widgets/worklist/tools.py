"""Buttons and fields of the worklist, in as many rows as the width of the dock needs."""

from pathlib import Path

from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QCheckBox, QComboBox, QFileDialog, QLabel, QLineEdit, QPushButton, QWidget
from superqt import QFlowLayout

from lrmil.models.synthetic import is_of_synthetic_slides
from napari_lrmil.session.session import Session
from napari_lrmil.state.known_models import name_of
from napari_lrmil.widgets.back_button import BackButton
from napari_lrmil.widgets.breaks import shortened
from napari_lrmil.widgets.device_box import DeviceBox
from napari_lrmil.widgets.worklist.answers import ListAnswers
from napari_lrmil.widgets.worklist.labels import LabelsFromReviews
from napari_lrmil.widgets.worklist.table import CHOICES

HEIGHT, DEVICE_WIDTH, FILTER_WIDTH, PADDING = 28, 150, 110, 2  # px


class WorklistTools(QWidget):
    """Choose folder, model and device; classify, cancel and open the next slide; filter the table."""

    def __init__(self, session: Session, next_key: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.choose_folder, self.choose_model = QPushButton("Folder..."), QPushButton("Model...")
        self.choose_patients = QPushButton("Patients...")
        self.choose_patients.setToolTip("Choose a table with slide_id and case_id, to see the answer for each patient")
        self.folder_name, self.model_name = QLabel("no folder"), QLabel("no model")
        self.answers, self.labels = ListAnswers(session), LabelsFromReviews(session)
        self.device, self.back = DeviceBox(session.preferences.device), BackButton(session)
        self.run_all, self.run_selected = QPushButton("Classify all"), QPushButton("Classify selected")
        self.cancel, self.next = QPushButton("Cancel"), QPushButton("Next unreviewed")
        self.next.setToolTip(f"Open the next classified slide without a review ({next_key})")
        self.go_on = QCheckBox("open the next after saving")
        self.go_on.setToolTip("After a review, open the next classified slide without one")
        self.words, self.choice = QLineEdit(), QComboBox()
        self.words.setPlaceholderText("filter by words")
        self.words.setAccessibleName("Filter by words")
        self.words.setToolTip("Show the slides whose rows have all of these words")
        self.words.setClearButtonEnabled(True)
        self.choice.addItems(CHOICES)
        self.choice.setAccessibleName("Filter by status")
        self.choice.setToolTip("Show all slides, those of one status, or those whose answer a reader has overridden")
        self._lay_out()
        self.answers.refreshed.connect(self._follow_answers)

    def say_folder(self, folder: Path) -> None:
        """Show the name of the folder."""
        self.folder_name.setText(shortened(folder.name))
        self.folder_name.setToolTip(str(folder))
        self.labels.folder = folder
        self.labels.refresh()
        self.fit()

    def say_model(self) -> None:
        """Show the name of the model in use, once there is one."""
        bundle, folder = self._session.bundle, self._session.model_folder
        if bundle is not None and folder is not None:
            names = f"{bundle.task.wording.names.lower()} {', '.join(bundle.task.names)}"
            synthetic = ", trained on synthetic slides" if is_of_synthetic_slides(bundle.training) else ""
            self.model_name.setText(f"{shortened(name_of(folder))}{synthetic}")
            self.model_name.setToolTip(f"{folder}\n{names}\nsha256 {bundle.sha256}")
            self.fit()

    def _follow_answers(self) -> None:
        """Name the model in use once: rows are scarce."""
        self.model_name.setVisible(not self.answers.names_model_in_use)
        self.fit()

    def allow(self, *, ready: bool, busy: bool, selected: bool, waiting: bool) -> None:
        """Enable the buttons that can be used now, and say why others cannot.

        Parameters
        ----------
        ready
            Whether there are slides and a model.
        busy
            Whether a job runs.
        selected
            Whether slides are selected.
        waiting
            Whether a classified slide is not reviewed.
        """
        self.run_all.setEnabled(ready and not busy)
        self.run_selected.setEnabled(ready and not busy and selected)
        for button in (self.run_all, self.run_selected):
            button.setToolTip("" if ready else "Choose a folder with slides and a model first.")
        for button in (self.choose_folder, self.choose_model):
            button.setEnabled(not busy)
            button.setToolTip("A job is in progress; wait for it or cancel it first." if busy else "")
        self.cancel.setEnabled(busy)
        self.next.setEnabled(waiting)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Adapt the height: a narrow dock needs more rows, and the table must not cover them."""
        super().resizeEvent(event)
        self.fit()

    def fit(self) -> None:
        """Set the height that the current width needs."""
        self.setMinimumHeight(self._flow.heightForWidth(self.width()))

    def _lay_out(self) -> None:
        self._flow = QFlowLayout(self)
        self._flow.setContentsMargins(0, 0, 0, 0)
        self._flow.setHorizontalSpacing(6)
        self._flow.setVerticalSpacing(4)
        first: list[QWidget] = [self.choose_folder, self.folder_name, self.choose_patients, self.choose_model]
        first += [self.model_name, self.answers, self.answers.use, self.device]
        second: list[QWidget] = [self.run_all, self.run_selected, self.cancel, self.next, self.go_on]
        for part in [*first, *second, self.words, self.choice, self.labels, self.back]:
            part.setMinimumHeight(HEIGHT)
            self._flow.addWidget(part)
        self.device.setMinimumWidth(DEVICE_WIDTH)
        for part in (self.words, self.choice):
            part.setFixedWidth(FILTER_WIDTH)
        self.words.setStyleSheet(
            f"min-height: {HEIGHT - 2 * PADDING}px; padding: {PADDING}px;"
        )  # napari's wins otherwise


def ask_for_folder(parent: QWidget, title: str, present: Path | None) -> Path | None:
    """Let the user choose a folder, beginning at the present one; None if they cancel."""
    name = QFileDialog.getExistingDirectory(parent, title, str(present or ""))
    return Path(name) if name else None
