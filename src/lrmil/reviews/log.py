"""Append reviews to a log, and read it again and again."""

import os
from collections.abc import Iterable
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, NamedTuple

from filelock import FileLock, Timeout

from lrmil.collector import without_collections
from lrmil.errors import FormatError, ReviewError
from lrmil.io.ownership import is_lock, require_free
from lrmil.io.plain_files import open_append, open_plain, require_no_link
from lrmil.reviews.entry import (
    MAX_NOTE,
    MAX_TEXT,
    Decision,
    Event,
    Review,
    ReviewKey,
    now,
    plain_of,
)
from lrmil.reviews.lines import FORMAT, line_of, lines_in, read_line
from lrmil.reviews.withdrawals import standing

__all__ = [
    "FORMAT",
    "MAX_NOTE",
    "MAX_TEXT",
    "Decision",
    "Event",
    "Review",
    "ReviewKey",
    "ReviewLog",
    "ReviewReader",
    "append_review",
    "latest_reviews",
    "now",
    "plain_of",
    "read_reviews",
    "require_reviews",
]

PATIENCE = 10.0  # seconds to wait for another writer
KNOWN_BY = 256  # bytes kept from the start and the end of what was read, to recognise the log
BLOCK = 1 << 20  # bytes read at a time


class ReviewLog(NamedTuple):
    """The entries of a log in order, and the numbers (from 1) of the lines that are not valid entries."""

    reviews: tuple[Review, ...]
    unreadable: tuple[int, ...]


def append_review(log: Path, review: Review) -> None:
    """Append one line to the log and flush it to disk; earlier lines never change.

    Two writers wait for each other. A line that a killed writer left incomplete stays a line of its own.

    Parameters
    ----------
    log
        The log file; created if absent.
    review
        The entry to append.

    Raises
    ------
    ReviewError
        If the log is a link, or cannot be written.
    """
    line = line_of(review)
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        lock = Path(f"{log}.lock")
        require_no_link(lock)
        require_free(lock, is_lock)
        with FileLock(lock, timeout=PATIENCE), open_append(log) as file:
            file.seek(0, os.SEEK_END)
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else "\n" + line
            file.write(line.encode())
            os.fsync(file.fileno())
    except (OSError, FormatError, Timeout, NotImplementedError) as error:  # the last: no locks here
        raise ReviewError(
            f"Cannot write the review log, so the review is not saved yet. {_reason(log, error)} Free disk space or "
            "choose another results folder, then save again."
        ) from error


def read_reviews(log: Path) -> ReviewLog:
    """Read a log; an absent one is empty, and invalid lines are counted, not fatal.

    Raises
    ------
    FormatError
        If a line has another version of the format.
    ReviewError
        If the file cannot be read.
    """
    return ReviewReader(log).read()


def require_reviews(log: Path) -> ReviewLog:
    """Read a log that must exist, because a user named it.

    Raises
    ------
    FormatError
        As `read_reviews`.
    ReviewError
        If there is no such file, or it cannot be read.
    """
    if not log.is_file():
        raise ReviewError(f"There is no review log at {log}. Check the path.")
    return read_reviews(log)


class ReviewReader:
    """Reads a log repeatedly; when it has grown, only the new lines.

    Parameters
    ----------
    log
        The log file; it may be absent.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        self._forget()

    def read(self) -> ReviewLog:
        """Return all entries; the same object if nothing is new.

        Raises
        ------
        FormatError, ReviewError
            As `read_reviews`.
        """
        try:
            file = BufferedReader(open_plain(self._log), BLOCK)
        except FileNotFoundError:
            self._forget()
            return self._found
        except (OSError, FormatError) as error:
            raise self._unreadable_log(error) from error
        try:
            with file, without_collections():  # searching a million entries for cycles takes as long as reading them
                self._read(file)
        except OSError as error:
            self._forget()  # part of the new lines may have been added
            raise self._unreadable_log(error) from error
        except FormatError:
            self._forget()
            raise
        return self._found

    def _forget(self) -> None:
        self._start, self._before_end = b"", b""
        self._end, self._count = 0, 0  # bytes and lines of the complete lines read so far
        self._reviews, self._unreadable = list[Review](), list[int]()
        self._size, self._found = 0, ReviewLog((), ())

    def _read(self, file: BinaryIO) -> None:
        size = file.seek(0, os.SEEK_END)
        if not self._is_continued_in(file, size):
            self._forget()
        if size == self._size:
            return
        half = list[Review](), list[int]()  # from a last line without its end, which may still grow
        file.seek(self._end)
        for line, length, whole in lines_in(file):
            reviews, unreadable = (self._reviews, self._unreadable) if whole else half
            number = self._count + 1
            review = read_line(line, self._log) if line.strip() else None
            if review is not None:
                reviews.append(review)
            elif line.strip():
                unreadable.append(number)
            if whole:
                self._count, self._end = number, self._end + length
        self._start = _at(file, 0, min(KNOWN_BY, self._end))
        self._before_end = _at(file, max(0, self._end - KNOWN_BY), min(KNOWN_BY, self._end))
        self._size = size
        self._found = ReviewLog((*self._reviews, *half[0]), (*self._unreadable, *half[1]))

    def _is_continued_in(self, file: BinaryIO, size: int) -> bool:
        """Return whether a file of `size` bytes seems to begin with what was read, without reading all of it."""
        return (
            size >= self._size
            and _at(file, 0, len(self._start)) == self._start
            and _at(file, self._end - len(self._before_end), len(self._before_end)) == self._before_end
        )

    def _unreadable_log(self, error: Exception) -> ReviewError:
        return ReviewError(f"Cannot read the review log. {_reason(self._log, error)}")


def _reason(log: Path, error: Exception) -> str:
    """Return a sentence with the path and the reason; a FormatError is one already."""
    return str(error) if isinstance(error, FormatError) else f"{log}: {str(error).rstrip('.')}."


def latest_reviews(reviews: Iterable[Review]) -> dict[ReviewKey, Review]:
    """Return the last review of each slide and model that was not taken back, in the order of the log."""
    return {one.key: one for one in standing(reviews) if one.event == "review"}


def _at(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)
