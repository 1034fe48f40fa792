"""Allow one training at a time in a run folder, and pass it a request to stop."""

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
PATIENCE = 3.0  # seconds; a viewer that probes the lock holds it for an instant
INSTANT = 0.05  # seconds; a probe is shorter


@contextmanager
def run_lock(run: Path) -> Iterator[None]:
    """Hold the lock of a run's folder, so that no other training uses it.

    Raises
    ------
    RunError
        If another training is running in it.
    OverwriteError, OutputError, FormatError
        As `lrmil.io.locks.exclusive`.
    """
    busy = (
        f"Another training is running in {run}. "
        f"Wait until it has finished, stop it with `lrmil stop {run}`, or choose another folder."
    )
    with exclusive(run / LOCK, busy=busy, patience=PATIENCE):
        yield


def is_running(run: Path) -> bool:
    """Return whether a training is running in a folder, without writing into it."""
    return is_held(run / LOCK, INSTANT)


def request_stop(run: Path) -> None:
    """Ask the training in a folder to stop, within about a second or at the end of its current Step.

    A training that has not started yet removes the request; see `is_running`.

    Raises
    ------
    RunError
        If `run` is not a folder.
    FormatError
        If something other than a plain file has the name of the request.
    """
    if not run.is_dir():
        raise RunError(f"There is no run folder at {run}. Check the path.")
    atomic.write_text(run / STOP, STOP_MARK.decode(), is_stop_request)


def stop_requested(run: Path) -> bool:
    """Return whether the training should stop, and remove the request."""
    if not is_stop_request(run / STOP):
        return False
    atomic.remove(run / STOP)
    return True


def is_held(lock: Path, patience: float = 0.0) -> bool:
    """Return whether another process holds a lock for longer than `patience` seconds.

    Parameters
    ----------
    lock
        The lock file, which may be absent.
    patience
        Seconds to wait for a short hold.
    """
    if not is_plain(lock):
        return False
    try:
        with FileLock(lock, timeout=patience, poll_interval=0.01):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # unknown: a read-only folder, or a file system without locks
        return False
