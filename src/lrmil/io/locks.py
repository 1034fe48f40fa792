"""Keep other processes out of a folder while one writes into it; the operating system frees it after a kill."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lrmil.errors import OutputError, RunError
from lrmil.io.ownership import is_lock, require_free
from lrmil.io.plain_files import refuse_link

LOCK = ".lrmil.lock"
PATIENCE = 3.0  # seconds: another process may just be at its end
log = logging.getLogger(__name__)


@contextmanager
def output_lock(folder: Path, *, patience: float = PATIENCE) -> Iterator[None]:
    """Keep others from writing into a folder that is there, while the block lasts.

    On a file system without locks a warning in the log takes the place of the lock.

    Raises
    ------
    RunError
        If another process is at work in it.
    OverwriteError
        If something that is no lock has its name.
    OutputError
        If it may not be written.
    FormatError
        If the lock is a link, which may lead anywhere, or no plain file.
    """
    refuse_link(folder / LOCK)
    require_free(folder / LOCK, is_lock)
    lock = FileLock(folder / LOCK, thread_local=False)  # a generator may be closed by another thread
    try:
        lock.acquire(timeout=patience)
    except Timeout as error:
        raise RunError(
            f"Expected an output folder that no other process writes into. Got {folder}, in which one is at work; "
            "wait for it, or choose another folder."
        ) from error
    except OSError as error:
        raise OutputError(
            f"Expected the right to write into {folder}. Got: {error.strerror}; choose another folder."
        ) from error
    except NotImplementedError:
        log.warning("%s is on a file system without locks: let only one process write into it.", folder)
    try:
        yield
    finally:
        lock.release()
