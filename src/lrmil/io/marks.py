"""Read the marks by which `lrmil.io.ownership` recognises a file: first bytes, document, header. Links do not count."""

import csv
import hashlib
import io
import re
import stat
import struct
import tomllib
from pathlib import Path
from typing import Any

from lrmil.errors import FormatError
from lrmil.io.untrusted import read_json

HEAD = 1 << 16  # bytes that contain the mark
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JUNK = re.compile(r"\.DS_Store|\._.*|Thumbs\.db|desktop\.ini", re.IGNORECASE)  # left by desktops


def is_plain(path: Path) -> bool:
    """Return whether a path is a plain file and not a link."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def is_empty_folder(path: Path) -> bool:
    """Return whether a path is an empty folder and not a link."""
    if path.is_symlink() or not path.is_dir():
        return False
    try:
        return next(path.iterdir(), None) is None
    except OSError:
        return False


def head_of(path: Path) -> bytes:
    """Return the first bytes of a plain file; empty for anything else, and for a file that cannot be read."""
    if not is_plain(path):
        return b""
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def hash_from(path: Path, start: int) -> str:
    """Return the SHA-256, in hex, of a file from byte `start` to its end; "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def json_of(path: Path) -> object:
    """Return the document in a plain JSON file; None if there is no valid one."""
    if not is_plain(path):
        return None
    try:
        return read_json(path, printable=False)
    except (OSError, FormatError):
        return None


def toml_of(path: Path) -> dict[str, Any]:
    """Return the document in a plain TOML file; empty if there is no valid one."""
    try:
        return tomllib.loads(head_of(path).decode("utf-8"))
    except (ValueError, RecursionError):
        return {}


def has_keys(path: Path, keys: set[str]) -> bool:
    """Return whether a JSON file holds an object that has all of these keys."""
    document = json_of(path)
    return isinstance(document, dict) and keys <= document.keys()


def has_format(path: Path, mark: str) -> bool:
    """Return whether the "format" of a JSON file begins with `mark`, wherever in the file it is written."""
    if re.match(rb'\s*\{\s*"format"\s*:\s*"' + re.escape(mark.encode()), head_of(path)):
        return True
    document = json_of(path)
    return isinstance(document, dict) and starts(document.get("format"), mark)


def starts(value: object, mark: str) -> bool:
    """Return whether a value is a string that begins with `mark`."""
    return isinstance(value, str) and value.startswith(mark)


def zarr_attributes_of(path: Path) -> dict[str, Any]:
    """Return the attributes of a zarr 3 group; empty if there is no valid one."""
    document = None if path.is_symlink() else json_of(path / "zarr.json")
    found = document.get("attributes") if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}


def holds_only(folder: Path, names: re.Pattern[str]) -> bool:
    """Return whether every file and folder in a folder has one of these names and is not a link.

    Parameters
    ----------
    folder
        The folder.
    names
        Pattern of a whole path relative to `folder`, with forward slashes.
    """
    if folder.is_symlink() or not folder.is_dir():
        return False
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (names.fullmatch(name) or JUNK.fullmatch(path.name)):
            return False
    return True


def csv_rows(path: Path) -> list[list[str]]:
    """Return the rows within the first 64 KiB of a CSV file."""
    text = head_of(path).decode("utf-8-sig", errors="replace")
    try:
        return list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error:
        return []


def csv_header(path: Path) -> list[str]:
    """Return the first row of a CSV file; empty if there is none."""
    rows = csv_rows(path)
    return rows[0] if rows else []


def png_texts(head: bytes) -> list[tuple[str, str]]:
    """Return keyword and text of each tEXt chunk before the pixels of a PNG, given its first bytes."""
    found: list[tuple[str, str]] = []
    position = len(PNG_MAGIC)
    while head.startswith(PNG_MAGIC) and position + 8 <= len(head):
        length, kind = struct.unpack_from(">I4s", head, position)
        if kind == b"IDAT":
            break
        if kind == b"tEXt":
            name, _, text = head[position + 8 : position + 8 + length].decode("latin-1").partition("\0")
            found.append((name, text))
        position += 12 + length
    return found
