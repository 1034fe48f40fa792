"""Let one process at a time write into a folder; the operating system releases the lock of a killed process."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lrmil.errors import OutputError, RunError
from lrmil.io import atomic
from lrmil.io.ownership import is_lock, require_free
from lrmil.io.plain_files import require_no_link

LOCK = ".lrmil.lock"
SHARD_LOCK = ".lrmil.shard-{}.lock"
PATIENCE = 3.0  # seconds: another process may be about to finish
SHARD_PATIENCE = 60.0  # seconds: all shards of a batch system begin together, and each holds the lock for an instant
log = logging.getLogger(__name__)


@contextmanager
def output_lock(folder: Path, *, shard: str = "", patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock of an existing output folder during the block, and remove what killed processes leave in it.

    Shards share it with each other, and remove nothing.

    Parameters
    ----------
    folder
        The output folder.
    shard
        Name of the shard that is written; "" if all is.
    patience
        Seconds to wait for another process.

    Raises
    ------
    RunError
        If another process holds the lock.
    OverwriteError, OutputError, FormatError
        As `exclusive`.
    """
    busy = (
        f"Another process is writing into the output folder {folder}. Wait until it has finished, or choose another "
        "folder."
    )
    lock = folder / LOCK
    if shard:
        # Each side holds its own lock before it looks at the other's, so that one of them sees the other.
        with exclusive(folder / SHARD_LOCK.format(shard), busy=busy, patience=patience):
            with exclusive(lock, busy=busy, patience=SHARD_PATIENCE):
                pass
            yield
        return
    with exclusive(lock, busy=busy, patience=patience):
        for other in folder.glob(SHARD_LOCK.format("*")):
            with exclusive(other, busy=busy, patience=patience):
                pass
            atomic.remove_ours(other, is_lock)  # a shard that opens it now finds this lock held
        atomic.remove_leftovers(folder)
        try:
            yield
        finally:
            atomic.remove_leftovers(folder)  # of workers that were killed meanwhile


@contextmanager
def exclusive(path: Path, *, busy: str, patience: float = PATIENCE) -> Iterator[None]:
    """Hold a lock file during the block.

    On a file system without locks a warning is logged instead.

    Parameters
    ----------
    path
        The lock file, in a folder that exists.
    busy
        Message of the RunError if another process holds it.
    patience
        Seconds to wait for another process.

    Raises
    ------
    RunError
        If another process holds it.
    OverwriteError
        If another kind of file has this name.
    OutputError
        If the folder is not writable.
    FormatError
        If the lock is a link, which may lead anywhere, or not a plain file.
    """
    lock = lock_at(path)
    try:
        lock.acquire(timeout=patience)
    except Timeout as error:
        raise RunError(busy) from error
    except OSError as error:
        raise OutputError(f"Cannot write into {path.parent}: {error.strerror}. Choose another folder.") from error
    except NotImplementedError:
        log.warning("%s is on a file system without locks: let only one process write into it.", path.parent)
    try:
        yield
    finally:
        lock.release()


def lock_at(path: Path) -> FileLock:
    """Return a lock without acquiring it.

    Raises
    ------
    OverwriteError
        If another kind of file has this name.
    FormatError
        If the lock is a link, which may lead anywhere, or not a plain file.
    """
    require_no_link(path)
    require_free(path, is_lock)
    return FileLock(path, thread_local=False)  # a generator may be closed by another thread
