"""Open small files that others may have put there: never wait for a pipe, never read more than asked for.

A name may stand for a pipe (which is waited for without end), a device such as /dev/zero, a link to another place or a
file of terabytes. Every document that lrmil reads goes through `read_bytes`.
"""

import errno
import os
import stat
from io import FileIO
from pathlib import Path

from lrmil.errors import FormatError

MAX_TEXT = 16 << 20  # bytes of a text unless said otherwise
BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
NO_WAIT, NO_FOLLOW = getattr(os, "O_NONBLOCK", 0), getattr(os, "O_NOFOLLOW", 0)  # Windows has neither


def open_plain(path: Path, *, follow: bool = True) -> FileIO:
    """Open a plain file for reading, unbuffered.

    Parameters
    ----------
    follow
        Whether a link is followed.

    Raises
    ------
    FormatError
        If it is a pipe, a device, a folder, or a link that is not followed.
    OSError
        If it is not there or may not be read.
    """
    return _opened(path, os.O_RDONLY, follow=follow)


def open_append(path: Path) -> FileIO:
    """Open a plain file to append to and make it when it is absent; a link is refused, since it may lead anywhere.

    Raises
    ------
    FormatError
        If it is a link, a pipe, a device or a folder.
    OSError
        If it may not be written.
    """
    return _opened(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, follow=False)


def read_bytes(path: Path, *, max_bytes: int, follow: bool = True) -> bytes:
    """Return the content of a plain file of at most `largest` bytes.

    Raises
    ------
    FormatError
        If it is larger, or as `open_plain`.
    OSError
        If it cannot be read.
    """
    with open_plain(path, follow=follow) as file:
        size = os.fstat(file.fileno()).st_size
        data = bytearray()
        while size <= max_bytes and len(data) <= max_bytes and (part := file.read(max_bytes + 1 - len(data))):
            data += part
    size = max(size, len(data))  # a file may grow, and some of /proc say that they have nothing
    if size > max_bytes:
        raise FormatError(f"Expected a document of at most {max_bytes >> 10} KiB in {path}. Got {size >> 10} KiB.")
    return bytes(data)


def read_text(path: Path, *, max_bytes: int = MAX_TEXT, follow: bool = True) -> str:
    """Return the UTF-8 text of a plain file of at most `largest` bytes.

    Raises
    ------
    FormatError
        If it is no UTF-8, or as `read_bytes`.
    OSError
        If it cannot be read.
    """
    try:
        return read_bytes(path, max_bytes=max_bytes, follow=follow).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"Expected UTF-8 text in {path}. Got other bytes: {error.reason}.") from error


def require_plain(path: Path) -> int:
    """Return the size of a plain file in bytes without opening it; links are followed.

    Raises
    ------
    FormatError
        If it is a pipe, a device or a folder.
    OSError
        If it is not there.
    """
    return _plain_size(path, _sane(path).stat())


def require_no_link(path: Path) -> None:
    """Refuse a place that is a link, or anything else than a plain file or nothing.

    Raises
    ------
    FormatError
        If it is a link, a pipe, a device or a folder.
    """
    try:
        mode = _sane(path).lstat().st_mode
    except OSError:
        return
    if stat.S_ISLNK(mode):
        raise _link(path)
    if not stat.S_ISREG(mode):
        raise _not_plain(path)


def is_plain(path: Path) -> bool:
    """Return whether a plain file is there that is no link."""
    try:
        return stat.S_ISREG(_sane(path).lstat().st_mode)
    except (OSError, FormatError):
        return False


def _opened(path: Path, flags: int, *, follow: bool) -> FileIO:
    if not follow and path.is_symlink():  # where the system cannot refuse it by itself
        raise _link(path)
    try:
        descriptor = os.open(_sane(path), flags | BINARY | NO_WAIT | (0 if follow else NO_FOLLOW), 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise _link(path) from error
        if error.errno in (errno.ENXIO, errno.EISDIR, errno.ENODEV):  # a socket, a folder, a device without a driver
            raise _not_plain(path) from error
        raise
    try:
        _plain_size(path, os.fstat(descriptor))
        return FileIO(descriptor, "rb" if flags == os.O_RDONLY else "ab+")
    except BaseException:
        os.close(descriptor)
        raise


def _plain_size(path: Path, status: os.stat_result) -> int:
    if not stat.S_ISREG(status.st_mode):
        raise _not_plain(path)
    return status.st_size


def _sane(path: Path) -> Path:
    if "\0" in str(path):
        raise FormatError(f"Expected the name of a file. Got {str(path)!r}, which no file can have.")
    return path


def _not_plain(path: Path) -> FormatError:
    return FormatError(f"Expected a plain file at {path}. Got a folder, a pipe or a device; remove it.")


def _link(path: Path) -> FormatError:
    return FormatError(
        f"Expected a plain file at {path}. Got a link, which may lead anywhere; put the file itself there."
    )
