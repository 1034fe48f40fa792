"""Submit slides to a scheduler of dask.distributed, one for each worker that is free, and collect their outcomes."""

import logging
import os
import socket
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import dask.config
from distributed import Client, Future, KilledWorker, LocalCluster, WorkerPlugin, get_worker
from distributed.protocol import deserialize, serialize

from lrmil import __version__
from lrmil.errors import RunError
from lrmil.slides.each import Outcome, Work, finish
from lrmil.slides.failures import Failure
from lrmil.slides.source import SlideSource
from lrmil.steps import Step

T = TypeVar("T")
ATTEMPTS = 3  # of a slide whose process dies; other schedulers have an `allowed-failures` of their own
PATIENCE = 60.0  # seconds for a first worker, and for another one after the last has died
INTERVAL = 5.0  # seconds after which workers that have joined since get slides, too, and a caller can stop
GPU = "GPU"  # the resource that workers with a GPU declare
DIED = Failure(
    "unexpected",
    "The process of this slide died every time it was tried: it ran out of memory, or a decoder crashed. Use fewer "
    "processes, or leave the slide out.",
)
log = logging.getLogger(__name__)


@contextmanager
def local_workers(processes: int) -> Iterator[Client]:
    """Start workers on this machine, which no other user can reach, and connect to their scheduler.

    Parameters
    ----------
    processes
        Number of workers.
    """
    threads = max(1, (os.cpu_count() or 1) // processes)
    settings = {
        "distributed.scheduler.allowed-failures": ATTEMPTS - 1,
        "distributed.scheduler.http.routes": [],  # no pages for other users of this machine
        "distributed.worker.http.routes": [],
        "distributed.worker.profile.enabled": False,
        # Nothing else that dask sets: its MALLOC_TRIM_THRESHOLD_ makes torch ask for the same memory again and again.
        "distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": threads},
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=processes,
            threads_per_worker=1,
            memory_limit=None,  # near a limit, a worker pauses, and would wait for memory that its model keeps
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
            security=True,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Connect to a scheduler that is running.

    Parameters
    ----------
    address
        Its address, such as tcp://host:8786.

    Raises
    ------
    RunError
        If it cannot be reached.
    """
    try:
        client = Client(address, set_as_default=False)
    except (OSError, ValueError) as error:
        raise RunError(f"There is no scheduler at {address} ({error}). Start it, or check the address.") from error
    with client:
        yield client


@dataclass(frozen=True, slots=True)
class DaskWorkers:
    """Process each slide on a worker of a scheduler; see `lrmil.slides.workers.Workers`.

    Attributes
    ----------
    client
        The connection to the scheduler.
    """

    client: Client

    def run(self, work: Work[T], slides: Sequence[SlideSource]) -> Generator[Step[T] | Outcome[T], None, None]:
        """Yield the Outcome of each slide in the order of `slides`.

        No more slides are submitted than there are workers, because the death of a worker counts against all that wait
        for it.

        Raises
        ------
        RunError
            If the scheduler ends, or a worker cannot be used.
        """
        running: dict[Future, int] = {}
        finished = SimpleQueue[Future]()
        ready: dict[int, Outcome[T]] = {}
        begun = turn = 0
        with _sent(self.client, work) as name, _cancelled(self.client, running):
            while turn < len(slides):
                places = _places(self.client)
                while begun < len(slides) and len(running) < places.free:
                    task = _task(name, slides[begun])
                    future = self.client.submit(task, key=f"{name}-{begun}", resources=places.resources)
                    running[future] = begun
                    future.add_done_callback(finished.put)
                    begun += 1
                try:
                    future = finished.get(timeout=INTERVAL)
                except Empty:
                    yield Outcome(slides[turn], finished=False)
                    continue
                place = running.pop(future)
                ready[place] = _outcome_of(future, slides[place])
                while turn in ready:
                    yield ready.pop(turn)
                    turn += 1


class _Work(WorkerPlugin):  # type: ignore[misc]
    """The work of a call; the scheduler gives it to every worker, also to one that is started later."""

    def __init__(self, work: Work[Any]) -> None:
        self.version = __version__
        self._sent = serialize(work, on_error="raise")  # opened by the first slide, which can report what is wrong

    @cached_property
    def work(self) -> Work[Any]:
        """The work, on a worker."""
        work: Work[Any] = deserialize(*self._sent)
        return work


@contextmanager
def _sent(client: Client, work: Work[Any]) -> Iterator[str]:
    """Send the work, and yield its name."""
    name = f"lrmil-{uuid4().hex}"
    client.register_plugin(_Work(work), name=name)
    try:
        yield name
    finally:
        if client.status == "running":
            client.unregister_worker_plugin(name)


@contextmanager
def _cancelled(client: Client, running: Mapping[Future, int]) -> Iterator[None]:
    """Cancel what is left at the end."""
    try:
        yield
    finally:
        if running and client.status == "running":
            client.cancel(list(running))


class _Places(NamedTuple):
    """How many slides can be processed at a time, and what each needs."""

    free: int
    resources: dict[str, float] | None


def _places(client: Client) -> _Places:
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        raise RunError(
            f"The scheduler at {client.scheduler.address} has no worker. Start one, then run the same command again."
        ) from error
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    if max(worker["nthreads"] for worker in workers) > 1:
        raise RunError("A worker takes several slides at a time. Start workers with --nthreads 1, and more of them.")
    with_gpu = sum(GPU in worker["resources"] for worker in workers)
    return _Places(with_gpu, {GPU: 1}) if with_gpu else _Places(len(workers), None)


def _outcome_of(future: Future, slide: SlideSource) -> Outcome[Any]:
    if future.cancelled():
        raise RunError("The scheduler has ended, or has cancelled the work. Run the same command again to resume.")
    error = future.exception()
    if isinstance(error, KilledWorker):
        log.info("%s: %s", slide.slide_id, error)
        return Outcome(slide, failure=DIED)
    if error is not None:
        raise error
    outcome: Outcome[Any]
    outcome, details, host = future.result()
    if outcome.failure is not None:
        log.info("%s: %s %s", slide.slide_id, outcome.failure.message, details)
    if host and slide.path.exists():
        raise RunError(f"The worker on {host} does not see {slide.path}. Workers need the same files as this computer.")
    return replace(outcome, source=slide)


def _task(name: str, slide: SlideSource) -> Callable[[], tuple[Outcome[Any], str, str]]:
    """Return what a worker calls, which may be in another folder."""
    return partial(_finish, name, slide._replace(path=slide.path.absolute()))


def _finish(name: str, slide: SlideSource) -> tuple[Outcome[Any], str, str]:
    """Return the outcome, the traceback of an unexpected error, and the name of this host if it lacks the slide."""
    outcome = finish(_work_of(name), slide)
    unexpected = outcome.failure is not None and outcome.failure.reason == "unexpected"
    details = "".join(traceback.format_exception(outcome.error)) if unexpected else ""
    lacks = outcome.failure is not None and not slide.path.exists()
    return outcome, details, socket.gethostname() if lacks else ""


def _work_of(name: str) -> Work[Any]:
    """Return the work that this worker was sent."""
    sent: _Work = get_worker().plugins[name]
    if sent.version != __version__:
        raise RunError(
            f"The worker on {socket.gethostname()} has lrmil {__version__}, not {sent.version}. Install the same there."
        )
    return sent.work
