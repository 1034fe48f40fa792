"""Folders that several tests read: each is made once in a test run, however many processes share the work."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock


@contextmanager
def shared_folder(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Iterator[Path]:
    """Lend a folder to the tests of a session, and require at the end that they left it as it was.

    Parameters
    ----------
    factory
        Of this process. Each process of pytest-xdist has a folder of its own in that of the run.
    name
        Of the folder. Two calls of one run with the same name get the same folder.
    make
        Write the content into a path that does not exist. It is called by the first process that comes, while the
        others wait; a folder has its name only when it is complete.
    """
    common = _folder_of_the_run(factory)
    common.mkdir(exist_ok=True)
    folder = common / name
    with FileLock(common / f"{name}.lock"):
        if not folder.exists():
            unfinished = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=common), name)
            make(unfinished)
            unfinished.rename(folder)
    before = contents(folder)
    yield folder
    after = contents(folder)
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    assert not changed, f"tests changed a folder that others read, in {changed[:5]}: let them change a copy"


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size in bytes and time of change in ns of each file, locks left out: to look at one touches it."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".lock":
            stat = path.stat()
            found[path.relative_to(folder).as_posix()] = stat.st_size, stat.st_mtime_ns
    return found


def _folder_of_the_run(factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all processes of this run know and no other run uses."""
    own = factory.getbasetemp()
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is None or "PYTEST_XDIST_WORKER" not in os.environ:
        return own / "shared"
    return own.parent / f"shared-{run}"
