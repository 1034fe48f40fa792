"""The dock widget "Train from folder": check, start, watch, stop, resume; the training is a process that outlives it.

The widget knows a run through its folder alone, so one that is opened again takes up a run in progress.
"""

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QWidget

from lrmil.errors import LrmilError
from lrmil.run_control import RunStatus, RunWatch, is_running, request_stop
from lrmil.run_plan import read_plan
from napari_lrmil import places
from napari_lrmil.messages import explain
from napari_lrmil.session import session_of
from napari_lrmil.training_process import LOG, last_words, start_training
from napari_lrmil.widgets.parts import MessageLine, Text, scrolling_column, titled
from napari_lrmil.widgets.train_cohort import CohortBox
from napari_lrmil.widgets.train_curves import Curves
from napari_lrmil.widgets.train_result import ResultTable
from napari_lrmil.widgets.train_settings import SettingsBox

if TYPE_CHECKING:
    from napari.viewer import Viewer

POLL = 1000  # ms
AGAIN = ("stopped", "interrupted", "failed")
STATES = {
    "running": "Training",
    "stopped": "Stopped; what is finished is kept",
    "interrupted": "Interrupted: the training ended without a word, as by a kill; what is finished is kept",
    "failed": "Failed",
    "finished": "Finished",
}


class TrainFromFolder(QWidget):
    """Form, progress, curves and result of one training run.

    Parameters
    ----------
    napari_viewer
        The viewer; napari passes it by this name.
    """

    def __init__(self, napari_viewer: "Viewer", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session_of(napari_viewer)
        self.cohort = CohortBox()
        self.settings = SettingsBox(self.session.preferences.device)
        self.start_button, self.stop_button = QPushButton("Start"), QPushButton("Stop")
        self.why, self.message = Text(), MessageLine()
        self.state, self.stage_bar, self.run_bar = Text(), QProgressBar(), QProgressBar()
        self.curves, self.result = Curves(), ResultTable()
        self.progress_group = titled("Progress", self.state, self.stage_bar, self.run_bar)
        self.curves_group, self.result_group = titled("Curves", self.curves), titled("Result", self.result)
        scrolling_column(
            self,
            [
                titled("Cohort", self.cohort),
                titled("Settings", self.settings),
                _row(self.start_button, self.stop_button),
                self.why,
                self.message,
                self.progress_group,
                self.curves_group,
                self.result_group,
            ],
        )
        self.setMinimumWidth(360)
        self.process: subprocess.Popen[bytes] | None = None
        self.status = RunStatus("absent")
        self._watch: RunWatch | None = None
        self._run: Path | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(POLL)
        self._listen()
        self.settings.device.look()
        self._recall_run()
        self._show()

    @property
    def active(self) -> bool:
        """Whether a training is at work on the run folder, or just being started."""
        return self.status.state == "running" or (self.process is not None and self.process.poll() is None)

    def start(self) -> None:
        """Start the training, or go on with the one in the run folder."""
        paths = self.cohort.paths
        if paths is None or not self.cohort.ready or self.active:
            return
        slides, labels, run = paths
        self.message.say("")
        try:
            config = self.settings.config()
            self.process = start_training(run, slides, labels, config, self.settings.device.device)
        except (LrmilError, OSError) as error:
            self.message.warn(explain(error))
            return
        places.remember("run_folder", str(run))
        self._attach(run)

    def stop(self) -> None:
        """Ask the training to end after the step in progress."""
        if self._run is None:
            return
        if is_running(self._run):
            request_stop(self._run)
        elif self.process is not None:
            self.process.terminate()  # it has not begun, so there is nothing to keep
        self.message.say("Stopping after the step in progress; Resume goes on from there.")
        self.stop_button.setEnabled(False)

    def poll(self) -> None:
        """Take up what the run says of itself."""
        if self._watch is None:
            return
        was, self.status = self.status.state, self._watch.poll()
        ended = self.process is not None and self.process.poll() is not None
        if ended and self.status.state != "running":
            self._say_how_it_ended()
        if self.status.state != "running" and was == "running":
            self.message.say("")
        self._show()
        if not self.active:
            self._timer.stop()

    def use_model(self) -> None:
        """Load the run's model into the viewer's session and open "Classify slide"."""
        if self._run is not None and self.session.load_model(self._run / "model"):
            window = getattr(self.session.viewer, "window", None)
            if window is not None:
                window.add_plugin_dock_widget("napari-lrmil", "Classify slide")

    def _listen(self) -> None:
        self.cohort.changed.connect(self._show)
        self.cohort.run.editingFinished.connect(self._look_at_run)
        self.settings.folds.valueChanged.connect(self.cohort.set_folds)
        self.start_button.clicked.connect(self.start)
        self.stop_button.clicked.connect(self.stop)
        self.result.use_model.connect(self.use_model)
        self._timer.timeout.connect(self.poll)

    def _recall_run(self) -> None:
        folder = places.recall("run_folder")
        if folder and Path(folder).is_dir():
            self.cohort.run.setText(folder)
            self._look_at_run()

    def _look_at_run(self) -> None:
        """Show the run in the folder that was typed, if it holds one."""
        text = self.cohort.run.text().strip()
        run = Path(text).expanduser()
        if not text or run == self._run:
            return
        self._attach(run)
        if self.status.state == "absent":
            return
        try:
            config, slides, labels = read_plan(run)
        except LrmilError as error:
            self.message.warn(str(error))
            return
        self.settings.show_config(config)
        self.cohort.slides.setText(slides)
        self.cohort.labels.setText(labels)

    def _attach(self, run: Path) -> None:
        self._run, self._watch = run, RunWatch(run)
        self.status = RunStatus("absent")
        self.curves.show_epochs((), force=True)
        self.poll()
        if self.active:
            self._timer.start()

    def _say_how_it_ended(self) -> None:
        process, self.process = self.process, None
        if process is None or self._run is None or process.returncode in (0, 130):
            return
        if self.status.state in ("absent", "interrupted") or (
            self.status.state != "failed" and process.returncode == 1
        ):
            words = last_words(self._run)
            if words and self.status.state != "finished":
                self.message.warn(f"{words} (all it printed: {self._run / LOG})")

    def _show(self) -> None:
        status, active = self.status, self.active
        resumable = status.state in AGAIN
        self.start_button.setText("Resume" if resumable else "Train again" if status.state == "finished" else "Start")
        reason = self._why_not()
        self.why.setText(reason)
        self.why.setVisible(bool(reason) and not active)
        self.start_button.setEnabled(not reason and not active)
        self.start_button.setToolTip(reason)
        self.stop_button.setEnabled(active and self.message.text()[:8] != "Stopping")
        self.progress_group.setVisible(active or status.state != "absent")
        self._show_progress(status, active)
        self.curves.show_epochs(status.epochs)
        self.curves_group.setVisible(bool(status.epochs))
        finished = status.state == "finished" and self._run is not None
        self.result_group.setVisible(finished)
        if finished and self._run is not None:
            self.result.show_run(self._run)

    def _show_progress(self, status: RunStatus, active: bool) -> None:
        words = STATES.get(status.state, "Starting" if active else "")
        stage = f": {status.stage}" if status.stage and status.state in ("running", *AGAIN) else ""
        failure = f"\n{status.message}" if status.state == "failed" and status.message else ""
        self.state.setText(f"{words}{stage}{failure}")
        for bar in (self.stage_bar, self.run_bar):
            bar.setVisible(active)
        self.stage_bar.setRange(0, status.total or 0)
        self.stage_bar.setValue(min(status.done, status.total or 0))
        left = f", {duration(status.stage_seconds_left)} left" if status.stage_seconds_left is not None else ""
        self.stage_bar.setFormat(f"{status.done} of {status.total or '?'} {status.unit}{left}")
        self.run_bar.setRange(0, status.folds_total or 0)
        self.run_bar.setValue(status.folds_done)
        left = f", about {duration(status.seconds_left)} left" if status.seconds_left is not None else ""
        self.run_bar.setFormat(f"{status.folds_done} of {status.folds_total or '?'} folds{left}")

    def _why_not(self) -> str:
        """Why a training cannot be started now, "" when it can."""
        if self.cohort.paths is None:
            return "Choose a slide folder, a labels table and a run folder."
        if self.cohort.checking or self.cohort.report is None:
            return "The cohort has not been checked yet."
        return "" if self.cohort.ready else "The labels table has errors; they are listed above, each with its remedy."


def duration(seconds: float) -> str:
    """Say a time as one would."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _row(*parts: QWidget) -> QWidget:
    inside = QWidget()
    row = QHBoxLayout(inside)
    row.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        row.addWidget(part)
    return inside
