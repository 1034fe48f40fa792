"""Progress of a training: its state, the current stage and the folds, each with the time left."""

from qtpy.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from lrmil.runs.watch import RunStatus
from napari_lrmil.widgets.parts import Text

STATES = {
    "absent": "Starting",
    "running": "Training",
    "stopped": "Stopped; finished work is kept",
    "interrupted": "Interrupted; finished work is kept",
    "failed": "Failed; finished work is kept",
    "finished": "Finished",
}


class ProgressBox(QWidget):
    """One sentence and two bars; the bars are visible only during a training."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state, self.stage, self.folds = Text(), QProgressBar(), QProgressBar()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for part in (self.state, self.stage, self.folds):
            column.addWidget(part)

    def show_status(self, status: RunStatus, *, active: bool) -> None:
        """Show the state of a run.

        Parameters
        ----------
        status
            State of the run, as its folder says.
        active
            Whether its process is alive; it begins before the training and ends after it.
        """
        self.state.setText(sentence(status, active=active))
        for bar in (self.stage, self.folds):
            bar.setVisible(active and status.state != "finished")
        counted = f"{status.done} of {status.total}" if status.total else str(status.done or "")
        _set(self.stage, status.done, status.total, f"{counted} {status.unit}", status.stage_seconds_left)
        _set(self.folds, status.folds_done, status.folds_total, status.place, status.seconds_left)


def sentence(status: RunStatus, *, active: bool) -> str:
    """Return what a run is doing, or how and where its last call ended."""
    if active and status.state == "finished":
        return "Finished; writing the report"
    if active and (status.state != "running" or status.stage == "starting"):
        return "Starting: loading libraries and the encoder"
    ended_in = f" ({status.stage})" if status.stage and status.state not in ("running", "finished") else ""
    stage = f": {status.stage}" if status.state == "running" else ""
    return f"{STATES[status.state]}{ended_in}{stage}."


def duration(seconds: float) -> str:
    """Return a time as text, such as 12 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _set(bar: QProgressBar, done: int, total: int | None, text: str, seconds: float | None) -> None:
    left = "" if seconds is None else f", {duration(seconds)} left"
    bar.setRange(0, total or 0)
    bar.setValue(min(done, total or 0))
    bar.setFormat(f"{text}{left}")
