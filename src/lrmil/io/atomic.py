"""Files that are either complete or absent: write to a temporary name, flush to disk, rename.

`ours` says which content may be replaced (see `lrmil.io.ownership`); without it, whatever is there is replaced.
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
FULL = ("No space left on device", "os error 28", "code: 28")  # as safetensors and HDF5 say it
LEFTOVER = re.compile(r"\..+\.lrmil-[0-9a-f]{16}\.(tmp|old)", re.DOTALL)  # names that `replacing` gives, nobody else
MAX_NAME = 255  # bytes, of most file systems


@contextmanager
def replacing(path: Path, ours: Ours | None = None) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well, it takes the place of `path` in one rename.

    The block may write a file or make a folder. When it fails, `path` is as it was; when the process dies, `path` is as
    it was or, only where a folder takes the place of a folder, may be absent. It is never incomplete.

    Raises
    ------
    OverwriteError
        If something is there that is not `ours`.
    OutputError
        If the disk is full, or the place may not be written.
    """
    if ours is not None:
        require_free(path, ours)
    make_folder(path.parent)
    temporary = _beside(path, "tmp")
    try:
        with _writing(path):
            yield temporary
            flush(temporary)
            if ours is not None:  # it may have been put there meanwhile
                require_free(path, ours)
            _put(temporary, path)
    finally:
        remove(temporary)


@contextmanager
def scratch(folder: Path, name: str) -> Iterator[Path]:
    """Give a new hidden folder in `folder`, made when absent, and delete it in the end; a kill leaves a `LEFTOVER`.

    Raises
    ------
    OutputError
        If the disk is full, or the place may not be written.
    """
    place = _beside(folder / name, "tmp")
    make_folder(place)
    try:
        yield place
    finally:
        remove(place)


def make_folder(path: Path) -> None:
    """Make a folder with those above it; nothing happens when it is there.

    Raises
    ------
    OutputError
        If it may not be made, or a file is in its place.
    """
    with _writing(path):
        path.mkdir(parents=True, exist_ok=True)


def remove(path: Path) -> None:
    """Delete a file or a whole folder; nothing happens when it is absent.

    Raises
    ------
    OutputError
        If it may not be deleted.
    """
    with _writing(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def remove_ours(path: Path, ours: Ours) -> None:
    """Delete a file or folder of ours; what is not ours stays as it is.

    Raises
    ------
    OutputError
        If it may not be deleted.
    """
    if ours(path):
        remove(path)


def move_aside(path: Path) -> Path:
    """Rename a file or folder to the first free name with a number, such as predictions-1.csv, and return that.

    Raises
    ------
    OutputError
        If it may not be renamed.
    """
    aside = numbered(path)
    rename(path, aside)
    return aside


def numbered(path: Path) -> Path:
    """Return the first free name with a number, such as predictions-1.csv."""
    number = 1
    while os.path.lexists(free := path.with_name(f"{path.stem}-{number}{path.suffix}")):
        number += 1
    return free


def rename(path: Path, new: Path) -> None:
    """Give a file another name.

    Raises
    ------
    OutputError
        If it may not be renamed.
    """
    with _writing(path):
        path.rename(new)


def remove_leftovers(folder: Path, *, of: str = "") -> None:
    """Remove what `replacing` left in `folder` when a process was killed; a folder it had moved away is put back.

    Only names of the pattern `LEFTOVER` count. What earlier versions left stays: others use such names too.

    Parameters
    ----------
    folder
        Where to look; nothing happens when it is absent.
    of
        Beginning of the names of the files whose leftovers are removed, where others write into the folder too.
    """
    if not folder.is_dir():
        return
    left = [path for path in folder.iterdir() if LEFTOVER.fullmatch(path.name) and path.name.startswith(f".{of}")]
    for path in left:
        kept = list(path.iterdir()) if path.suffix == ".old" and path.is_dir() and not path.is_symlink() else []
        for old in kept:
            if not os.path.lexists(folder / old.name):
                rename(old, folder / old.name)
        remove(path)


def write_text(path: Path, text: str, ours: Ours | None = None) -> None:
    """Write UTF-8 text, complete or not at all."""
    data = text.encode("utf-8", errors="backslashreplace")  # a file's name may be no UTF-8
    if ours is not None and _is_same(path, data):
        return
    with replacing(path, ours) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: object, ours: Ours | None = None) -> None:
    """Write a JSON document, complete or not at all; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", ours)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the system says of a full disk or a folder that may not be written into one sentence."""
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
            f"Expected room and the right to write {path}. Got: {reason}. Make room or choose another folder, then run "
            "the same again: what is finished is kept."
        ) from error


def _beside(path: Path, ending: str) -> Path:
    """A hidden name that begins with that of `path` as far as there is room, and that `LEFTOVER` knows."""
    mark = f".lrmil-{uuid.uuid4().hex[:16]}.{ending}"
    name = os.fsencode(path.name)[: MAX_NAME - 1 - len(mark)].decode(sys.getfilesystemencoding(), errors="ignore")
    return path.with_name(f".{name}{mark}")


def _put(temporary: Path, path: Path) -> None:
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


def _is_same(path: Path, data: bytes) -> bool:
    """Whether a plain file holds just these bytes, so that there is nothing to replace."""
    try:
        return not path.is_symlink() and path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def flush(path: Path) -> None:
    """Make the system write a file, or every file in a folder, to the disk; the last thing before it gets its name."""
    for part in [path, *path.rglob("*")] if path.is_dir() else [path]:
        if part.is_file():
            with part.open("r+b") as file:  # Windows flushes only what is open for writing
                os.fsync(file.fileno())
