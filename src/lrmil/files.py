"""Files that are either complete or absent: write to a temporary name, flush to disk, rename; and hashes of content."""

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lrmil.errors import OutputError

REFUSALS = {"ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EEXIST", "ENOTDIR", "EIO"}
REFUSED = {getattr(errno, name) for name in REFUSALS if hasattr(errno, name)}  # Windows has no EDQUOT
FULL = ("No space left on device", "os error 28", "code: 28")  # as safetensors and HDF5 say it
SAMPLE_BYTES = 1 << 20


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well, it takes the place of `path` in one rename.

    The block may write a file or make a folder. When it fails, `path` is as it was; when the process dies, `path` is as
    it was or, only where a folder takes the place of a folder, may be absent. It is never incomplete.

    Raises
    ------
    OutputError
        If the disk is full, or the place may not be written.
    """
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with _writing(path):
            yield temporary
            _flush(temporary)
            _put(temporary, path)
    finally:
        remove(temporary)


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


def rename(path: Path, new: Path) -> None:
    """Give a file another name.

    Raises
    ------
    OutputError
        If it may not be renamed.
    """
    with _writing(path):
        path.rename(new)


def remove_leftovers(folder: Path) -> None:
    """Delete what `replacing` left in `folder` when a process was killed in its middle."""
    for path in (*folder.glob(".*.tmp"), *folder.glob(".*.old")):
        remove(path)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, complete or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # a file's name may be no UTF-8


def write_json(path: Path, value: object) -> None:
    """Write a JSON document, complete or not at all; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sha256_of(value: object) -> str:
    """Hash a JSON-like value by its canonical text: equal values have equal hashes, whatever the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Hash the whole content of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path: Path) -> str:
    """Hash a slide by its size and three samples of 1 MiB (start, middle, end).

    A slide has gigabytes: reading it whole would cost more than classifying it. Files up to 3 MiB are hashed whole.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for start in sorted({0, max(0, size // 2 - SAMPLE_BYTES // 2), max(0, size - SAMPLE_BYTES)}):
            file.seek(start)
            digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()


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
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise OutputError(
            f"Expected room and the right to write {path}. Got: {said}. Make room or choose another folder, then run "
            "the same again: what is finished is kept."
        ) from error


def _put(temporary: Path, path: Path) -> None:
    if not path.is_dir():
        temporary.replace(path)
        return
    old = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.old")
    path.rename(old)
    try:
        temporary.rename(path)
    except BaseException:
        old.rename(path)
        raise
    remove(old)


def _flush(path: Path) -> None:
    for part in [path, *path.rglob("*")] if path.is_dir() else [path]:
        if part.is_file():
            with part.open("r+b") as file:  # Windows flushes only what is open for writing
                os.fsync(file.fileno())
