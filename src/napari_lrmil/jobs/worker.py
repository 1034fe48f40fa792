"""Run the core's Steps in a thread: every error is reported, and a cancelled job cleans up before it ends.

napari's own generator worker does neither. superqt turns a RuntimeError, which torch raises, into a warning and emits
neither `errored` nor `finished`; and a cancelled generator stays open.
"""

import atexit
from collections.abc import Callable, Iterator
from weakref import WeakSet

from napari.qt.threading import WorkerBase, WorkerBaseSignals, create_worker
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QThreadPool, Signal

from lrmil.steps import Step, T

END_MS = 30_000  # how long the end of the program waits for jobs to end after their current Step
MakeSteps = Callable[[], Iterator[Step[T]]]


class JobSignals(WorkerBaseSignals):
    """Signals of a job to the main thread, besides started, returned, errored and finished."""

    stepped = Signal(object)
    aborted = Signal()


class JobWorker(WorkerBase):
    """Runs the Steps of one job in a thread; `quit` ends it after its current Step.

    Parameters
    ----------
    make_steps
        Called in the thread, so that slow imports and openings do not block the window.
    """

    def __init__(self, make_steps: MakeSteps[T]) -> None:
        super().__init__(SignalsClass=JobSignals)
        self._make_steps = make_steps
        _jobs.add(self)

    def run(self) -> None:
        """Run the job; Qt calls this. At the end of the program its signals are gone, and nobody is told any more.

        An exception that leaves this method ends the process.
        """
        try:
            super().run()
        except RuntimeError:
            if isalive(self.signals):
                raise

    def work(self) -> object:
        """Emit every Step and return the result of the last one."""
        steps = self._make_steps()
        result: object = None
        try:
            for step in steps:
                if self.abort_requested:
                    break
                result = step.result
                self.stepped.emit(step)
        finally:
            close = getattr(steps, "close", None)
            if close is not None:
                close()
        if self.abort_requested:
            self.aborted.emit()
        return result


def start_job(
    make_steps: MakeSteps[T],
    *,
    name: str,
    on_step: Callable[[Step[T]], None] | None = None,
    on_result: Callable[[T], None],
    on_error: Callable[[Exception], None],
    on_end: Callable[[], None] | None = None,
    owner: QObject | None = None,
) -> JobWorker:
    """Start a job; all callbacks run in the main thread, and `on_end` comes last, however the job ends.

    Parameters
    ----------
    make_steps
        Returns the Steps; called in the thread.
    name
        Name of the job in napari's activity dock, and in its question when the window is closed.
    on_step, on_result, on_error, on_end
        Called with each Step, with the last Step's result (not when cancelled), with the exception, and at the end.
    owner
        Widget of callbacks that are not its methods; they are not called once it is deleted.

    Returns
    -------
    JobWorker
        The job, for `quit`.
    """

    def guarded(callback: Callable[..., None]) -> Callable[..., None]:
        widget = owner or getattr(callback, "__self__", None)

        def call(*arguments: object) -> None:
            if not isinstance(widget, QObject) or isalive(widget):
                callback(*arguments)

        return call

    def job() -> Iterator[Step[T]]:
        return make_steps()

    job.__qualname__ = job.__name__ = name
    handlers = {"returned": guarded(on_result)}
    handlers |= {"stepped": guarded(on_step)} if on_step else {}
    handlers |= {"finished": guarded(on_end)} if on_end else {}
    worker: JobWorker = create_worker(
        job, _worker_class=JobWorker, _connect=handlers, _progress={"desc": name}, _start_thread=False
    )
    worker.errored.disconnect()  # napari's own slot takes no error, which PySide6 hands to it all the same
    worker.errored.connect(guarded(on_error))
    worker.start()
    return worker


def end_jobs() -> None:
    """Ask every job to end, and wait: Qt takes their signals away with the application."""
    for job in list(_jobs):
        job.quit()
    QThreadPool.globalInstance().waitForDone(END_MS)  # type: ignore[union-attr]


_jobs: WeakSet[JobWorker] = WeakSet()
atexit.register(end_jobs)  # after that of Qt, so it is called before
