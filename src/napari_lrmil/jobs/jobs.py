"""The job that runs beside the window: one at a time, told by signals, with its errors as sentences."""

from collections.abc import Callable
from typing import Any

from psygnal import Signal

from lrmil.steps import Step
from napari_lrmil.jobs.worker import JobWorker, MakeSteps, start_job
from napari_lrmil.state.messages import explain


class Jobs:
    """Runs one job after another; every change is told by a signal, in the main thread.

    Signals
    -------
    began
        A job was asked for, whether or not it could start: what an earlier one said no longer holds.
    job_changed
        A job started or ended.
    stepped
        A Step of it.
    failed
        The sentence of what went wrong.
    """

    began = Signal()
    job_changed = Signal()
    stepped = Signal(object)
    failed = Signal(str)

    def __init__(self) -> None:
        self.job: JobWorker | None = None
        self.job_name = ""

    @property
    def busy(self) -> bool:
        """Whether a job runs; one at a time, so that they do not share a device."""
        return self.job is not None

    def run(
        self, make_steps: MakeSteps[Any], *, name: str, on_step: Any = None, on_result: Any, on_error: Any = None
    ) -> bool:
        """Start a job unless one runs already; False when it was not started.

        Parameters
        ----------
        on_step, on_result, on_error
            Called as in `start_job`; without `on_error` an error is told by `failed`.
        """
        self.began.emit()
        if self.busy:
            self.failed.emit(f"Expected no job in progress. Got {self.job_name!r}; wait for it or cancel it first.")
            return False

        def step(step: Step[Any]) -> None:
            self.stepped.emit(step)
            if on_step:
                on_step(step)

        def end() -> None:
            self.job, self.job_name = None, ""
            self.job_changed.emit()

        self.job_name = name
        self.job = start_job(
            make_steps,
            name=name,
            on_step=step,
            on_result=on_result,
            on_error=on_error or (lambda error: self.failed.emit(explain(error))),
            on_end=end,
        )
        self.job_changed.emit()
        return True

    def when_idle(self, action: Callable[[], object]) -> None:
        """Do something as soon as no job runs: now, or when the one in progress has ended."""
        if not self.busy:
            action()
            return

        def ended() -> None:
            if not self.busy:
                self.job_changed.disconnect(ended)
                action()

        self.job_changed.connect(ended)

    def cancel(self) -> None:
        """Ask the job to end after the Step in progress."""
        if self.job is not None:
            self.job.quit()
