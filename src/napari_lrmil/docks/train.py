"""The dock widget "Train from folder": check, start, watch, stop and resume a training.

The training is a process of its own, which continues when the viewer is closed. The widget knows a run only through its
folder, so it can also show a run that another viewer started.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.theme import get_theme
from qtpy.QtCore import QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QPushButton, QWidget

from lrmil.configs import TrainConfig
from lrmil.errors import LrmilError
from lrmil.runs.control import request_stop
from lrmil.runs.plan_file import read_plan, read_table_options
from lrmil.runs.watch import RunStatus, RunWatch
from napari_lrmil.jobs.latest import LatestJob
from napari_lrmil.jobs.training_process import (
    end_message,
    has_process,
    may_begin,
    may_write_report,
    next_to,
    start_training,
    weights_steps,
)
from napari_lrmil.session.docks import open_dock
from napari_lrmil.state import folders
from napari_lrmil.state.messages import explain
from napari_lrmil.widgets.parts import MessageLine, Text, beside, listen, scrolling_column, titled
from napari_lrmil.widgets.questions import agreed
from napari_lrmil.widgets.session_dock import SessionDock
from napari_lrmil.widgets.train.cohort import CohortBox, path_in
from napari_lrmil.widgets.train.curves import Curves
from napari_lrmil.widgets.train.progress import ProgressBox
from napari_lrmil.widgets.train.result import ResultTable
from napari_lrmil.widgets.train.settings import SettingsBox

if TYPE_CHECKING:
    from napari.viewer import Viewer

POLL = 1000  # ms
KEEP = (
    "{run} has a finished model with its report and predictions, which stay as they are. Train a new one in {fresh}? "
    "Choosing {run} again shows the finished one."
)
LOOKING = "Looking for the weights of the encoder."
STOPPING = "Stopping after the current step. Finished work is kept; press Resume to continue later."


class TrainFromFolder(SessionDock):
    """Form, progress, curves and result of one training run."""

    def __init__(self, napari_viewer: "Viewer", parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self.cohort = CohortBox()
        self.settings = SettingsBox(self.session.preferences.device)
        self.start_button, self.stop_button = QPushButton("Start"), QPushButton("Stop")
        self.why, self.message = Text(), MessageLine()
        self.progress, self.curves, self.result = ProgressBox(), Curves(), ResultTable()
        self.progress_group = titled("Progress", self.progress)
        self.curves_group, self.result_group = titled("Curves", self.curves), titled("Result", self.result)
        self.status = RunStatus("absent")
        self.active = False  # whether a training of the run is starting, running or writing its report
        self._run: Path | None = None
        self._watch: RunWatch | None = None
        self._looking = LatestJob(self)
        self._stopping = self._stop_asked = self._handing_on = False
        self._timer = QTimer(self)
        self._timer.setInterval(POLL)
        self._lay_out()
        self._listen()
        self._follow_theme()
        self.settings.device.look()
        self._recall_run()
        self._show_form()

    def start(self) -> None:
        """Look for the encoder's weights, then start the training, or resume the one in the run folder."""
        paths = self.cohort.paths
        if paths is None or self._why_not():
            return
        slides, labels, run = paths
        self._attach(run)  # another viewer may have started a training since the last poll
        if self.active:
            return
        if self.status.state == "finished":
            fresh = next_to(run)
            if not agreed(self, KEEP.format(run=run, fresh=fresh), f"Train in {fresh.name}"):
                return
            run = fresh
            self.cohort.run.setText(str(run))
        config = self.settings.config()
        begin = partial(self._begin, run, slides, labels, config, self.settings.device.device)
        if not config.pretrained:
            begin()
            return
        self.message.say(LOOKING)
        self._looking.start(
            lambda: weights_steps(config),
            name="look for the encoder's weights",
            on_result=lambda _: begin(),
            on_error=self._refuse,
        )
        self._show_form()

    def _begin(self, run: Path, slides: Path, labels: Path, config: TrainConfig, device: str) -> None:
        self.message.say("")
        try:
            start_training(run, slides, labels, config, device, options=self.cohort.reading.options)
        except (LrmilError, OSError) as error:
            self._refuse(error)
            return
        folders.remember("run_folder", str(run))
        self._attach(run)

    def _refuse(self, error: Exception) -> None:
        self.message.warn(explain(error))
        QTimer.singleShot(0, self._show_form)  # the look has ended by then

    def stop(self) -> None:
        """Ask the training to stop after the current step."""
        self._stopping, self._stop_asked = True, False
        self.message.say(STOPPING)
        self.poll()

    def poll(self) -> None:
        """Read the state of the run from its folder and show it."""
        if self._run is None or self._watch is None:
            return
        was = self.status.state, self._timer.isActive()
        there = has_process(self._run)  # first: a process that has ended has written everything
        self.status = self._watch.poll()
        begins = may_begin(self._run)
        if begins and self.status.state == "finished":
            self.status = replace(self.status, state="absent")  # it is trained again
        self.active = there or self.status.state == "running" or begins
        self._pass_stop_on()
        self._show_run()
        if self.active or may_write_report(self._run, self.status):
            self._timer.start()
            return
        self._timer.stop()
        if was != (self.status.state, False):
            self._show_end()

    def use_model(self) -> None:
        """Load the run's model into the viewer's session and open "Classify slide"."""
        if self._run is None:
            return
        self._handing_on = True
        if not self.session.load_model(self._run / "model"):
            return
        if getattr(self.session.viewer, "window", None) is not None:
            open_dock(self.session.viewer, "Classify slide", tabify=True)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Poll at once: while the dock was closed, another one may have started the run."""
        super().showEvent(event)
        self.poll()

    def _lay_out(self) -> None:
        form = [titled("Cohort", self.cohort), titled("Settings", self.settings)]
        scrolling_column(
            self,
            [*form, self.progress_group, self.curves_group, self.result_group],
            below=[self.why, self.message, beside(self.start_button, self.stop_button)],
        )
        self.setMinimumWidth(360)
        for group in (self.progress_group, self.curves_group, self.result_group):
            group.hide()

    def _listen(self) -> None:
        self.cohort.changed.connect(self._show_form)
        self.cohort.run_chosen.connect(self._look_at_run)
        self.settings.changed.connect(self._settings_changed)
        self.start_button.clicked.connect(self.start)
        self.stop_button.clicked.connect(self.stop)
        self.result.use_model.connect(self.use_model)
        self._timer.timeout.connect(self.poll)
        listen(self.session.jobs.failed, self._handing_on_failed)
        listen(self.session.model_changed, self._model_changed)
        listen(self.session.viewer.events.theme, self._follow_theme)

    def _settings_changed(self) -> None:
        self.cohort.set_folds(self.settings.folds.value(), test_fraction=self.settings.test_fraction.value())
        self._show_form()

    def _follow_theme(self, *_: object) -> None:
        theme = get_theme(self.session.viewer.theme)
        self.curves.set_colors(text=theme.text.as_hex(), background=theme.background.as_hex())

    def _recall_run(self) -> None:
        folder = folders.recall("run_folder")
        if folder and Path(folder).is_dir():
            self.cohort.choose_run(Path(folder))

    def _look_at_run(self) -> None:
        """Show the run in the chosen folder, if there is one, and fill the form from its plan."""
        run = path_in(self.cohort.run)
        if run is None or run == self._run:
            return
        self.message.say("")
        self._attach(run)
        if self.status.state == "absent" or not (run / "plan.toml").exists():
            return
        try:
            config, slides, labels = read_plan(run)
            options = read_table_options(run)
        except LrmilError as error:
            self.message.warn(str(error))
            return
        self.settings.show_config(config)
        self.cohort.reading.show_options(options)
        for field, text in ((self.cohort.slides, slides), (self.cohort.labels, labels)):
            if path_in(field) != Path(text):
                field.setText(text)

    def _attach(self, run: Path) -> None:
        if run != self._run:
            self._run, self._stopping = run, False
        self._watch, self.status = RunWatch(run), RunStatus("absent")
        self.result_group.hide()  # it shows another run, or an earlier state of this one
        self._timer.stop()
        self.poll()

    def _pass_stop_on(self) -> None:
        """Request the stop once the training has begun: it ignores older requests, which belong to an earlier call."""
        if self._stopping and not self._stop_asked and self.status.state == "running" and self.status.job:
            try:
                request_stop(self._run or Path())
                self._stop_asked = True
            except OSError as error:
                self._stopping = False
                self.message.warn(explain(error))

    def _show_end(self) -> None:
        """Show why the training ended and what to do, unless it was stopped or is complete."""
        self._stopping = False
        reason = end_message(self._run or Path(), self.status)
        if reason:
            self.message.warn(reason)
        else:
            self.message.say("")

    def _handing_on_failed(self, message: str) -> None:
        if self._handing_on:
            self._handing_on = False
            self.message.warn(message)

    def _model_changed(self) -> None:
        if self._handing_on:
            self._handing_on = False
            self.message.say("The model is loaded. Classify slide uses it from now on.")

    def _show_run(self) -> None:
        """Update progress, curves and result."""
        status, run, active = self.status, self._run, self.active
        self.progress_group.setVisible(active or status.state != "absent")
        self.progress.show_status(status, active=active)
        self.curves.show_epochs(status.epochs)
        self.curves_group.setVisible(bool(status.epochs))
        finished = status.state == "finished"
        if finished and run is not None and self.result_group.isHidden():
            self.result.show_run(run)
        self.result.look_for_report()
        self.result_group.setVisible(finished)
        self._show_form()

    def _show_form(self) -> None:
        """Update the buttons, and show why no training can be started."""
        state, active, here = self.status.state, self.active, path_in(self.cohort.run) == self._run
        known = state if here else "absent"
        names = {"absent": "Start", "running": "Start", "finished": "Train again"}
        self.start_button.setText("Start" if active else names.get(known, "Resume"))
        reason = self._why_not()
        self.why.setText(reason)
        self.why.setVisible(bool(reason) and not active)
        self.start_button.setEnabled(not reason and not active and not self._looking.running)
        self.start_button.setToolTip("A training is running in this run folder." if active else reason)
        self.stop_button.setEnabled(active and state != "finished" and not self._stopping)
        self.cohort.set_locked(locked=active)
        self.settings.set_locked(locked=active)
        self.settings.set_test_slides(self.cohort.split_by)
        self.cohort.set_patches(self.settings.planned)

    def _why_not(self) -> str:
        """Return why no training can be started now; "" if one can."""
        if self.cohort.paths is None:
            return "Choose a slide folder, a labels table and a run folder."
        if self.cohort.checking or self.cohort.report is None:
            return "The cohort must be checked first."
        if not self.cohort.ready:
            return "The cohort has errors. Fix those listed above first."
        return self.settings.problem
