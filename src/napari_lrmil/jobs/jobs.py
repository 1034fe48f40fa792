"""One job at a time beside the window, reported by signals, with its errors as sentences."""

from collections.abc import Callable

from psygnal import Signal

from lrmil.steps import Step, T
from napari_lrmil.jobs.worker import JobWorker, MakeSteps, start_job
from napari_lrmil.state.messages import explain


class Jobs:
    """Runs one job after another in a thread; all signals are emitted in the main thread.

    Made by a `Session`, which owns it. Docks follow its signals.

    Attributes
    ----------
    began
        Signal: a job was requested, whether or not it could start. Messages about an earlier one are out of date.
    job_changed
        Signal: a job started or ended.
    stepped
        Signal: a Step of the job.
    failed
        Signal: what went wrong, in one sentence.
    job
        The job in progress, None when there is none.
    job_name
        Its name, "" when there is none.
    """

    began = Signal()
    job_changed = Signal()
    stepped = Signal(object)
    failed = Signal(str)

    def __init__(self) -> None:
        self.job: JobWorker | None = None
        self.job_name = ""
        self._ended = False

    @property
    def busy(self) -> bool:
        """Whether a job runs. There is one at a time, so that jobs do not share a device."""
        return self.job is not None

    def run(
        self,
        make_steps: MakeSteps[T],
        *,
        name: str,
        on_step: Callable[[Step[T]], None] | None = None,
        on_result: Callable[[T], None],
        on_error: Callable[[Exception], None] | None = None,
    ) -> bool:
        """Start a job unless one is in progress.

        Parameters
        ----------
        make_steps, name
            As in `napari_lrmil.jobs.worker.start_job`.
        on_step, on_result, on_error
            Called as in `start_job`; without `on_error`, `failed` is emitted.

        Returns
        -------
        bool
            False when another job is in progress, which `failed` says.
        """
        self.began.emit()
        if self.busy:
            self.failed.emit(f"{self.job_name!r} is still running. Wait for it, or cancel it first.")
            return False

        def unless_ended(callback: Callable[..., None]) -> Callable[..., None]:
            def call(*arguments: object) -> None:
                if not self._ended:
                    callback(*arguments)

            return call

        def step(step: Step[T]) -> None:
            self.stepped.emit(step)
            if on_step:
                on_step(step)

        def end() -> None:
            self.job, self.job_name = None, ""
            if not self._ended:
                self.job_changed.emit()

        self.job_name = name
        self.job = start_job(
            make_steps,
            name=name,
            on_step=unless_ended(step),
            on_result=unless_ended(on_result),
            on_error=unless_ended(on_error or (lambda error: self.failed.emit(explain(error)))),
            on_end=end,
        )
        self.job_changed.emit()
        return True

    def when_idle(self, action: Callable[[], object]) -> None:
        """Call `action` as soon as no job runs: now, or when the one in progress has ended."""
        if not self.busy:
            action()
            return

        def ended() -> None:
            if not self.busy:
                self.job_changed.disconnect(ended)
                action()

        self.job_changed.connect(ended)

    def cancel(self) -> None:
        """Ask the job to end after its current Step."""
        if self.job is not None:
            self.job.quit()

    def end(self, *_: object) -> None:
        """Cancel the job, and report nothing any more: the window is gone."""
        self._ended = True
        self.cancel()
