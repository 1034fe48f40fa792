"""Jobs of a widget, beside the session's own, of which only the latest counts."""

from collections.abc import Callable

from qtpy.QtCore import QObject

from lrmil.steps import Step, T
from napari_lrmil.jobs.worker import JobWorker, MakeSteps, start_job


class LatestJob:
    """Runs one kind of job for a widget, such as reading a folder; a new one replaces the one that runs.

    Parameters
    ----------
    owner
        The widget; once it is deleted nothing is called any more.
    """

    def __init__(self, owner: QObject) -> None:
        self._owner = owner
        self._job: JobWorker | None = None
        self._number = 0

    @property
    def running(self) -> bool:
        """Whether the latest job has not ended yet."""
        return self._job is not None

    def start(
        self,
        make_steps: MakeSteps[T],
        *,
        name: str,
        on_step: Callable[[Step[T]], None] | None = None,
        on_result: Callable[[T], None] | None = None,
        on_error: Callable[[Exception], None],
    ) -> None:
        """Start a job in place of the one that runs.

        Parameters
        ----------
        make_steps, name
            As in `napari_lrmil.jobs.worker.start_job`.
        on_step, on_result, on_error
            Called in the main thread while this job is the latest.
        """
        self.forget()
        number = self._number

        def if_latest(callback: Callable[..., None] | None) -> Callable[..., None]:
            def call(*arguments: object) -> None:
                if callback is not None and number == self._number:
                    callback(*arguments)

            return call

        self._job = start_job(
            make_steps,
            name=name,
            on_step=if_latest(on_step),
            on_result=if_latest(on_result),
            on_error=if_latest(on_error),
            on_end=if_latest(self._end),
            owner=self._owner,
        )

    def forget(self) -> None:
        """Ask the job that runs to end; what it still reports is dropped."""
        self._number += 1
        if self._job is not None:
            self._job.quit()
        self._job = None

    def _end(self) -> None:
        self._job = None
