"""Keep other processes out of a folder while one writes into it; the operating system frees it after a kill."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lrmil.errors import OutputError, RunError
from lrmil.io.ownership import is_lock, require_free
from lrmil.io.plain_files import require_no_link

LOCK = ".lrmil.lock"
PATIENCE = 3.0  # seconds: another process may just be at its end
log = logging.getLogger(__name__)


@contextmanager
def output_lock(folder: Path, *, patience: float = PATIENCE) -> Iterator[None]:
    """Keep others from writing into a folder that is there, while the block lasts.

    Raises
    ------
    RunError
        If another process is at work in it.
    OverwriteError, OutputError, FormatError
        As `exclusive`.
    """
    busy = (
        f"Expected an output folder that no other process writes into. Got {folder}, in which one is at work; "
        "wait for it, or choose another folder."
    )
    with exclusive(folder / LOCK, busy=busy, patience=patience):
        yield


@contextmanager
def exclusive(path: Path, *, busy: str, patience: float = PATIENCE) -> Iterator[None]:
    """Hold a lock file while the block lasts.

    On a file system without locks a warning in the log takes the place of the lock.

    Parameters
    ----------
    path
        The lock file, in a folder that exists.
    busy
        What to say when another process holds it.
    patience
        Seconds to wait for it.

    Raises
    ------
    RunError
        If another process holds it.
    OverwriteError
        If something that is no lock has its name.
    OutputError
        If it may not be written.
    FormatError
        If the lock is a link, which may lead anywhere, or no plain file.
    """
    lock = lock_at(path)
    try:
        lock.acquire(timeout=patience)
    except Timeout as error:
        raise RunError(busy) from error
    except OSError as error:
        raise OutputError(
            f"Expected the right to write into {path.parent}. Got: {error.strerror}; choose another folder."
        ) from error
    except NotImplementedError:
        log.warning("%s is on a file system without locks: let only one process write into it.", path.parent)
    try:
        yield
    finally:
        lock.release()


def lock_at(path: Path) -> FileLock:
    """Return a lock that is not held yet.

    Raises
    ------
    OverwriteError
        If something that is no lock has its name.
    FormatError
        If the lock is a link, which may lead anywhere, or no plain file.
    """
    require_no_link(path)
    require_free(path, is_lock)
    return FileLock(path, thread_local=False)  # a generator may be closed by another thread
