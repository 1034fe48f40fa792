"""Open small files of unknown origin: never wait for a pipe, never read more than a limit.

A name may belong to a pipe (reading it would wait forever), a device such as /dev/zero, a link to another folder, or a
file of terabytes. Every document that lrmil reads goes through `read_bytes`.
"""

import errno
import os
import stat
from io import FileIO
from pathlib import Path

from lrmil.errors import FormatError

MAX_TEXT = 16 << 20  # bytes; the default limit
BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
NO_WAIT, NO_FOLLOW = getattr(os, "O_NONBLOCK", 0), getattr(os, "O_NOFOLLOW", 0)  # Windows has neither


def open_plain(path: Path, *, follow: bool = True) -> FileIO:
    """Open a plain file for reading, unbuffered.

    Parameters
    ----------
    path
        The file.
    follow
        Whether to follow a link.

    Returns
    -------
    FileIO
        The caller closes it.

    Raises
    ------
    FormatError
        If it is a pipe, a device, a folder, or a link and `follow` is False.
    OSError
        If it does not exist or cannot be read.
    """
    return _opened(path, os.O_RDONLY, follow=follow)


def open_append(path: Path) -> FileIO:
    """Open a plain file for appending, and create it if it is absent; a link is refused, because it may lead anywhere.

    Raises
    ------
    FormatError
        If it is a link, a pipe, a device or a folder.
    OSError
        If it is not writable.
    """
    return _opened(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, follow=False)


def read_bytes(path: Path, *, max_bytes: int, follow: bool = True) -> bytes:
    """Return the content of a plain file.

    Parameters
    ----------
    path
        The file.
    max_bytes
        Largest size accepted.
    follow
        Whether to follow a link.

    Raises
    ------
    FormatError
        If it is larger than `max_bytes`, or as `open_plain`.
    OSError
        If it cannot be read.
    """
    with open_plain(path, follow=follow) as file:
        size = os.fstat(file.fileno()).st_size
        data = bytearray()
        while size <= max_bytes and len(data) <= max_bytes and (part := file.read(max_bytes + 1 - len(data))):
            data += part
    size = max(size, len(data))  # a file may grow, and files in /proc state a size of 0
    if size > max_bytes:
        raise FormatError(f"Expected a file of at most {max_bytes >> 10} KiB at {path}. Got {size >> 10} KiB.")
    return bytes(data)


def read_text(path: Path, *, max_bytes: int = MAX_TEXT, follow: bool = True) -> str:
    """Return the UTF-8 text of a plain file.

    Parameters
    ----------
    path, max_bytes, follow
        As for `read_bytes`.

    Raises
    ------
    FormatError
        If it is not UTF-8, or as `read_bytes`.
    OSError
        If it cannot be read.
    """
    try:
        return read_bytes(path, max_bytes=max_bytes, follow=follow).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8 text: {error.reason}. Save it as UTF-8.") from error


def require_plain(path: Path) -> int:
    """Return the size of a plain file in bytes without opening it; follow links.

    Raises
    ------
    FormatError
        If it is a pipe, a device or a folder.
    OSError
        If it does not exist.
    """
    return _plain_size(path, _sane(path).stat())


def require_no_link(path: Path) -> None:
    """Require that a path is absent or a plain file, and not a link.

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
    """Return whether a path is a plain file and not a link."""
    try:
        return stat.S_ISREG(_sane(path).lstat().st_mode)
    except (OSError, FormatError):
        return False


def _opened(path: Path, flags: int, *, follow: bool) -> FileIO:
    if not follow and path.is_symlink():  # for systems without O_NOFOLLOW
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
        raise FormatError(f"Expected a file name without null characters. Got {str(path)!r}.")
    return path


def _not_plain(path: Path) -> FormatError:
    return FormatError(f"{path} is not a plain file but a folder, a pipe or a device. Remove it.")


def _link(path: Path) -> FormatError:
    return FormatError(f"{path} is a link, which may lead anywhere. Replace it by the file itself.")
