"""Process slides in several processes of this machine; if a process dies, only its slide fails."""

import logging
import multiprocessing
import os
import threading
import traceback
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from lrmil.errors import ConfigError
from lrmil.slides.each import Outcome, Work, finish
from lrmil.slides.failures import Failure
from lrmil.slides.source import SlideSource
from lrmil.steps import Step

T = TypeVar("T")
DIED = Failure(
    "unexpected",
    "The process of this slide died: it ran out of memory, or a decoder crashed. Use fewer processes, or leave the "
    "slide out.",
)
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LocalProcesses:
    """Process up to `workers` slides at a time, each in its own process.

    Work and outcomes must be picklable. The work is sent once to each process, and the Steps of a slide are not sent
    back. Each process imports the main module of the program, which must therefore be guarded by
    ``if __name__ == "__main__"``. OMP_NUM_THREADS limits the threads of each process.

    Parameters
    ----------
    workers
        Number of processes, at least 1.

    Raises
    ------
    ConfigError
        If `workers` is below 1.
    """

    workers: int

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError(f"Expected at least 1 process. Got {self.workers}.")

    def run(self, work: Work[T], slides: Sequence[SlideSource]) -> Generator[Step[T] | Outcome[T], None, None]:
        """Yield the Outcome of each slide in the order of `slides`.

        After an error that ends the run, no other slide begins. Slides in progress are finished, also when the
        generator is closed.
        """
        idle = SimpleQueue[_Worker[T]]()
        for _ in range(min(self.workers, len(slides))):
            idle.put(_Worker(work))
        ended = list[BaseException]()

        def run_one(slide: SlideSource) -> Outcome[T]:
            if ended:
                raise ended[0]
            worker = idle.get()
            try:
                return worker.finish(slide)
            except BaseException as error:
                ended.append(error)
                raise
            finally:
                idle.put(worker)

        threads = ThreadPoolExecutor(self.workers)
        try:
            for future in [threads.submit(run_one, slide) for slide in slides]:
                yield future.result()
        finally:
            threads.shutdown(cancel_futures=True)
            while not idle.empty():
                idle.get().stop()


class _Worker(Generic[T]):
    """One process, started with its first slide and restarted after it died.

    A pool of several processes would not report on which slide one died.
    """

    def __init__(self, work: Work[T]) -> None:
        self._work = work
        self._pool: ProcessPoolExecutor | None = None
        self._ready: Future[None]

    def finish(self, slide: SlideSource) -> Outcome[T]:
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, spawn, initializer=_begin, initargs=(self._work,))
            self._ready = self._pool.submit(_do_nothing)
        try:
            outcome, details = self._pool.submit(_finish, slide).result()
        except BrokenProcessPool as error:
            self.stop()
            if self._ready.exception() is not None:
                raise RuntimeError("A process died while it received the work, before any slide.") from error
            outcome, details = Outcome(slide, failure=DIED), ""
        if outcome.failure is not None:
            log.info("%s: %s %s", slide.slide_id, outcome.failure.message, details)
        return outcome

    def stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


_works: list[Work[Any]] = []  # the work of this process, if it is a worker


def _begin(work: Work[Any]) -> None:
    _works.append(work)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent is killed, so that it writes nothing afterwards."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def _do_nothing() -> None:
    pass


def _finish(slide: SlideSource) -> tuple[Outcome[Any], str]:
    """Return the Outcome, and the traceback of an unexpected error, which the Outcome cannot carry."""
    outcome = finish(_works[0], slide)
    unexpected = outcome.failure is not None and outcome.failure.reason == "unexpected"
    return outcome, "".join(traceback.format_exception(outcome.error)) if unexpected else ""
