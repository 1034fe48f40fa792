"""Process slides on workers of dask.distributed: processes of this machine, or those of a scheduler that is running."""

import os
import socket
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from lrmil.errors import ConfigError, RunError
from lrmil.slides.each import Executor, Outcome, Work
from lrmil.slides.source import SlideSource
from lrmil.steps import Step

T = TypeVar("T")


def require_shared(folder: Path) -> None:
    """Require, where slides are processed, the output folder that the process which submits them has made.

    Raises
    ------
    RunError
        If it is not there.
    """
    if not folder.is_dir():
        raise RunError(
            f"The worker on {socket.gethostname()} does not see the output folder {folder}. Choose a folder that all "
            "workers share."
        )


def share_threads(threads: int, executor: Executor) -> int:
    """Return how many threads read each slide, where the processes of this machine share them.

    Parameters
    ----------
    threads
        Threads of all processes together; 0 for as many as cores.
    executor
        Where slides are processed.
    """
    processes = executor.processes if isinstance(executor, Workers) else 0
    return max(1, (threads or os.cpu_count() or 1) // processes) if processes else threads


def kept_executor(executor: Executor) -> AbstractContextManager[Executor]:
    """Return an executor for several calls of `run`, whose processes of this machine end with the block.

    Raises
    ------
    RunError
        If a scheduler cannot be reached.
    """
    return executor.kept() if isinstance(executor, Workers) else nullcontext(executor)


@dataclass(frozen=True, slots=True)
class Workers:
    """Process each slide on a worker of dask.distributed.

    Work and outcomes must be picklable. The work is sent once to each worker, and the Steps of a slide are not sent
    back. Each worker has one slide at a time. If it dies, another one tries the slide; a slide whose worker dies every
    time fails. Where workers declare the resource GPU, only those are used.

    Processes of this machine end with this one. They import the main module of the program, which must therefore be
    guarded by ``if __name__ == "__main__"``. Each has its share of the cores as OMP_NUM_THREADS, unless that is set.

    Parameters
    ----------
    processes
        Number of processes to start on this machine.
    scheduler
        Address of a running scheduler instead, such as tcp://host:8786. Its workers need this version of lrmil, and the
        same files under the same paths.

    Raises
    ------
    ConfigError
        If dask.distributed is not installed, or not exactly one of the two is given.
    """

    processes: int = 0
    scheduler: str = ""

    def __post_init__(self) -> None:
        if self.processes < 0 or bool(self.processes) == bool(self.scheduler):
            raise ConfigError(
                f"Expected at least 1 process, or the address of a scheduler. Got {self.processes} processes and "
                f"{self.scheduler!r}."
            )
        if find_spec("distributed") is None:
            raise ConfigError(
                "Work on several processes needs dask.distributed. Install it with "
                '`pip install "napari-lrmil[cluster]"`, or leave out --workers and --scheduler.'
            )

    def run(self, work: Work[T], slides: Sequence[SlideSource]) -> Generator[Step[T] | Outcome[T], None, None]:
        """Yield the Outcome of each slide in the order of `slides`.

        After an error that ends the run, no other slide begins. If the generator is closed early, processes of this
        machine end, even in the middle of a slide; workers of a scheduler finish theirs.

        Raises
        ------
        RunError
            If the scheduler cannot be reached, or a worker cannot be used.
        """
        if slides:
            with self.kept() as executor:
                yield from executor.run(work, slides)

    @contextmanager
    def kept(self) -> Iterator[Executor]:
        """Connect once for several calls of `run`; the processes of this machine end with the block.

        Raises
        ------
        RunError
            If the scheduler cannot be reached.
        """
        from lrmil.slides.dask_workers import DaskWorkers, connected, local_workers

        with connected(self.scheduler) if self.scheduler else local_workers(self.processes) as client:
            yield DaskWorkers(client)
