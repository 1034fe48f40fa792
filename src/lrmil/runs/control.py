"""One training at a time in a run folder, and a request to stop it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lrmil.errors import RunError
from lrmil.io import atomic
from lrmil.io.locks import exclusive
from lrmil.io.ownership import STOP_MARK, is_stop_request
from lrmil.io.plain_files import is_plain

LOCK, STOP = "run.lock", "stop"
PATIENCE = 3.0  # seconds: a viewer that probes the lock holds it for an instant
INSTANT = 0.05  # seconds that no probe lasts


@contextmanager
def run_lock(run: Path) -> Iterator[None]:
    """Keep other trainings out of a run's folder while the block lasts.

    Raises
    ------
    RunError
        If another one is at work in it.
    OverwriteError, OutputError, FormatError
        As `lrmil.io.locks.exclusive`.
    """
    busy = (
        f"Expected a run folder that no other training uses. Got {run}, in which one is at work; "
        f"wait for it, stop it by `lrmil stop {run}`, or choose another folder."
    )
    with exclusive(run / LOCK, busy=busy, patience=PATIENCE):
        yield


def is_running(run: Path) -> bool:
    """Tell whether a training is at work in a folder; nothing is made in it."""
    return is_held(run / LOCK, INSTANT)


def request_stop(run: Path) -> None:
    """Ask the training in a folder to stop: it does so within about a second, or when its Step is done.

    A training that has not yet begun its work removes the request: see `is_running`.

    Raises
    ------
    RunError
        If there is no such folder.
    FormatError
        If something else than a plain file has the name of the request.
    """
    if not run.is_dir():
        raise RunError(f"Expected the folder of a run. Got {run}, which is none.")
    atomic.write_text(run / STOP, STOP_MARK.decode(), is_stop_request)


def stop_requested(run: Path) -> bool:
    """Tell whether the training is to stop; the request is taken away."""
    if not is_stop_request(run / STOP):
        return False
    atomic.remove(run / STOP)
    return True


def is_held(lock: Path, patience: float = 0.0) -> bool:
    if not is_plain(lock):
        return False
    try:
        with FileLock(lock, timeout=patience, poll_interval=0.01):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # a folder that may only be read, or a file system without locks: unknown
        return False
