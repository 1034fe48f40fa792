"""Write files that are either complete or absent: write to a temporary name, flush to disk, rename.

The argument `ours` tells which existing content may be replaced (see `lrmil.io.ownership`). Without it, any existing
file is replaced.
"""

import errno
import json
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lrmil.errors import OutputError
from lrmil.io.ownership import Ours, require_free

REFUSALS = {"ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EEXIST", "ENOTDIR", "EIO"}
REFUSED = {getattr(errno, name) for name in REFUSALS if hasattr(errno, name)}  # Windows has no EDQUOT
AT_WORK = (errno.ENOENT, errno.ENOTEMPTY)  # another process removes, or writes, what is removed
FULL = ("No space left on device", "os error 28", "code: 28")  # the words of safetensors and HDF5
LEFTOVER = re.compile(r"\..+\.lrmil-[0-9a-f]{16}\.(tmp|old)", re.DOTALL)  # names that only `replacing` makes
MAX_NAME = 255  # bytes, the limit of most file systems


@contextmanager
def replacing(path: Path, ours: Ours | None = None) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` if the block succeeds.

    The block may write a file or make a folder. If it fails, `path` is unchanged. If the process dies, `path` is either
    unchanged or, when one folder replaces another, may be absent. It is never incomplete.

    Parameters
    ----------
    path
        The file or folder to write.
    ours
        Predicate of `lrmil.io.ownership`: True for content that may be replaced. None replaces anything.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    OverwriteError
        If `path` exists and is not `ours`.
    OutputError
        If the disk is full, or the folder is not writable.
    """
    if ours is not None:
        require_free(path, ours)
    make_folder(path.parent)
    temporary = _beside(path, "tmp")
    try:
        with _writing(path):
            yield temporary
            flush(temporary)
            if ours is not None:  # another process may have written it meanwhile
                require_free(path, ours)
            put_in_place(temporary, path)
    finally:
        remove(temporary)


@contextmanager
def scratch(folder: Path, name: str) -> Iterator[Path]:
    """Yield a new hidden folder in `folder`, and delete it afterwards; a killed process leaves a `LEFTOVER`.

    Parameters
    ----------
    folder
        Parent folder; created if absent.
    name
        Start of the hidden folder's name.

    Raises
    ------
    OutputError
        If the disk is full, or `folder` is not writable.
    """
    path = _beside(folder / name, "tmp")
    make_folder(path)
    try:
        yield path
    finally:
        remove(path)


def make_folder(path: Path) -> None:
    """Create a folder and its parents if they do not exist.

    Raises
    ------
    OutputError
        If the parent folder is not writable, or a file has this name.
    """
    with _writing(path):
        path.mkdir(parents=True, exist_ok=True)


def remove(path: Path) -> None:
    """Delete a file, or a folder with its content, if it exists.

    Raises
    ------
    OutputError
        If the system does not allow it.
    """
    with _writing(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def remove_ours(path: Path, ours: Ours) -> None:
    """Delete a file or folder if it is `ours`; keep anything else.

    Raises
    ------
    OutputError
        If the system does not allow it.
    """
    if ours(path):
        remove(path)


def move_aside(path: Path) -> Path:
    """Rename a file or folder to the first free numbered name, such as predictions-1.csv, and return the new path.

    Raises
    ------
    OutputError
        If the system does not allow it.
    """
    aside = numbered(path)
    rename(path, aside)
    return aside


def numbered(path: Path) -> Path:
    """Return the first free numbered name, such as predictions-1.csv."""
    number = 1
    while os.path.lexists(free := path.with_name(f"{path.stem}-{number}{path.suffix}")):
        number += 1
    return free


def rename(path: Path, new: Path) -> None:
    """Rename a file or folder.

    Raises
    ------
    OutputError
        If the system does not allow it.
    """
    with _writing(path):
        path.rename(new)


def remove_leftovers(folder: Path, *, of: str = "") -> None:
    """Delete the temporary files of a killed process, and restore a folder that it had moved away.

    Only names that match `LEFTOVER` are touched. Leftovers of earlier versions are kept, because other programs use
    such names too. What a process is still writing, which was thought dead, may stay.

    Parameters
    ----------
    folder
        Where to look; it may be absent.
    of
        Delete only leftovers of files whose names begin with this text; needed where others write into the folder.

    Raises
    ------
    OutputError
        If a leftover cannot be deleted or restored.
    """
    if not folder.is_dir():
        return
    left = [path for path in folder.iterdir() if LEFTOVER.fullmatch(path.name) and path.name.startswith(f".{of}")]
    for path in left:
        kept = list(path.iterdir()) if path.suffix == ".old" and path.is_dir() and not path.is_symlink() else []
        for old in kept:
            if not os.path.lexists(folder / old.name):
                rename(old, folder / old.name)
        try:
            remove(path)
        except OSError as error:
            if error.errno not in AT_WORK:
                raise


def put_in_place(temporary: Path, path: Path) -> None:
    """Rename a file or folder to `path`, and replace what is there; a folder that is replaced is absent for an instant.

    An OutputError says that the system does not allow it.
    """
    with _writing(path):
        if path.is_symlink() or not path.is_dir():
            temporary.replace(path)
            return
        away = _beside(path, "old")
        away.mkdir()
        path.rename(away / path.name)
        try:
            temporary.rename(path)
        except BaseException:
            (away / path.name).rename(path)
            away.rmdir()
            raise
        remove(away)


def write_text(path: Path, text: str, ours: Ours | None = None) -> None:
    """Write UTF-8 text, complete or not at all.

    Parameters
    ----------
    path, text
        The file, and its content.
    ours
        Which existing content may be replaced; see `replacing`.

    Raises
    ------
    OverwriteError, OutputError
        As `replacing`.
    """
    data = text.encode("utf-8", errors="backslashreplace")  # a file name in the text may not be valid UTF-8
    if ours is not None and _is_same(path, data):
        return
    with replacing(path, ours) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: object, ours: Ours | None = None) -> None:
    """Write a JSON document, complete or not at all.

    Parameters
    ----------
    path, ours
        As in `write_text`.
    value
        Dicts, lists, texts, finite numbers, booleans and None.

    Raises
    ------
    ValueError
        If a number is NaN or infinite.
    OverwriteError, OutputError
        As `replacing`.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", ours)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn the errors of a full disk or a folder that is not writable into an OutputError."""
    try:
        yield
    except OutputError:
        raise
    except Exception as error:
        refused = isinstance(error, OSError) and error.errno in REFUSED
        if not refused and not any(words in str(error) for words in FULL):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise OutputError(
            f"Cannot write {path}: {reason}. Free disk space or choose another folder, then rerun the same command; "
            "finished work is kept."
        ) from error


def _beside(path: Path, ending: str) -> Path:
    """Return a hidden name that `LEFTOVER` matches: the name of `path`, cut if too long, and a random mark."""
    mark = f".lrmil-{uuid.uuid4().hex[:16]}.{ending}"
    name = os.fsencode(path.name)[: MAX_NAME - 1 - len(mark)].decode(sys.getfilesystemencoding(), errors="ignore")
    return path.with_name(f".{name}{mark}")


def _is_same(path: Path, data: bytes) -> bool:
    """Return whether a plain file already has exactly these bytes."""
    try:
        return not path.is_symlink() and path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def flush(path: Path) -> None:
    """Flush a file, or every file in a folder, to the disk, before it is renamed."""
    for part in [path, *path.rglob("*")] if path.is_dir() else [path]:
        if part.is_file():
            with part.open("r+b") as file:  # Windows flushes only files opened for writing
                os.fsync(file.fileno())
