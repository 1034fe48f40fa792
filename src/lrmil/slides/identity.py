"""Detect files of a slide that change while it is read, by their sizes, times and sampled content."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from os import stat_result
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple, Protocol

from lrmil.errors import LrmilError, SlideChangedError, SlideError
from lrmil.io import hashing
from lrmil.slides.parts import fingerprint_of, parts_of

SETTLED_NS = 3_000_000_000  # FAT states times to 2 s, the coarsest of file systems
MAX_REMEMBERED = 1 << 16  # slides


class Identity(NamedTuple):
    """Sizes, times and sampled content of a slide's files, to detect changes without reading everything."""

    files: dict[Path, tuple[int, int]]
    """Size in bytes, and time of the last change in ns, of each file."""
    fingerprint: str
    """Hash of sampled content; see `lrmil.slides.parts.fingerprint_of`."""


class Identified(Protocol):
    """A slide that knows its identity when it was opened, such as `lrmil.slides.slide.Slide`."""

    @property
    def path(self) -> Path:
        """Path of the slide."""

    @property
    def identity(self) -> Identity:
        """Its files before anything was read."""


def identity_of(path: Path) -> Identity:
    """Return the identity of a slide as its files are now.

    Raises
    ------
    SlideError
        If a file cannot be read, or is not a plain file.
    """
    return _identity(path, lambda _: fingerprint_of(path))


def find_identity(path: Path) -> Identity | None:
    """Return the identity of a slide; None if a file cannot be read, since opening it gives a better error.

    In one process, content is read again only after its files changed by size, time or place. What is made from the
    slide is compared with the content itself; see `unchanged`.
    """
    try:
        return _identity(path, lambda stats: _remembered(path, stats))
    except SlideError:
        return None


def _identity(path: Path, fingerprint: Callable[[Mapping[Path, stat_result]], str]) -> Identity:
    try:
        stats = {part: part.stat() for part in parts_of(path)}
        if not all(S_ISREG(stat.st_mode) for stat in stats.values()):
            raise SlideError(f"{path} is a folder, a device or a pipe, not a slide file.")
        files = {part: (stat.st_size, stat.st_mtime_ns) for part, stat in stats.items()}
        return Identity(files, fingerprint(stats))
    except SlideError:
        raise
    except OSError as error:
        raise SlideError(
            f"Cannot read every file of {path}: {error.strerror or error}. Check their permissions, and that the disk "
            "is mounted."
        ) from error


def _remembered(path: Path, stats: Mapping[Path, stat_result]) -> str:
    """Return the fingerprint, read only once while the files stay as they are.

    A change within the exactness of the times would not show in them: files that changed just now are always read.
    """
    latest = max((max(stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats.values()), default=0)
    if latest > time.time_ns() - SETTLED_NS:
        return fingerprint_of(path)
    states = [
        [str(part), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
        for part, stat in stats.items()
    ]
    return _fingerprint_at(path, hashing.sha256_of(states))


@lru_cache(maxsize=MAX_REMEMBERED)
def _fingerprint_at(path: Path, states: str) -> str:  # noqa: ARG001 - the key of what is remembered
    return fingerprint_of(path)


def require_unchanged(slide: Identified) -> None:
    """Require that the files of a slide have not changed since it was opened.

    Raises
    ------
    SlideChangedError
        If they have; the message says how.
    """
    if difference := _difference(slide.path, slide.identity):
        raise SlideChangedError(
            f"{slide.path} changed while it was read ({difference}), so its results are discarded. Wait until nothing "
            "writes to it, then rerun the same command."
        )


@contextmanager
def unchanged(slide: Identified) -> Iterator[None]:
    """Require that the files of a slide do not change during the block.

    Raises
    ------
    SlideChangedError
        At the end of the block, or in place of an error that the change may have caused.
    """
    _ = slide.identity
    try:
        yield
    except Exception as error:
        if isinstance(error, LrmilError) and not isinstance(error, SlideError):
            raise  # about the disk or the model, not the slide
        try:
            require_unchanged(slide)
        except SlideChangedError as changed:
            raise changed from error
        raise
    require_unchanged(slide)


def _difference(path: Path, before: Identity) -> str:
    """Return how a slide differs from before; "" if it does not."""
    try:
        now = identity_of(path)
    except SlideError:
        return "it can no longer be read"
    if added := len(now.files.keys() - before.files.keys()):
        return f"it has {added} new files" if added > 1 else "it has a new file"
    if gone := len(before.files.keys() - now.files.keys()):
        return f"{gone} of its files are missing" if gone > 1 else "one of its files is missing"
    if any(now.files[part][0] != size for part, (size, _) in before.files.items()):
        return "it has a different size"
    if now.fingerprint != before.fingerprint:
        return "it has different content"
    return "it was rewritten" if now.files != before.files else ""
