"""The content by which `lrmil.io.ownership` knows a file: its head, document or header; links are never followed."""

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

HEAD = 1 << 16  # bytes within which a mark stands
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
JUNK = re.compile(r"\.DS_Store|\._.*|Thumbs\.db|desktop\.ini", re.IGNORECASE)  # which desktops leave in every folder


def is_plain(path: Path) -> bool:
    """Whether something is a plain file, and no link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def is_empty_folder(path: Path) -> bool:
    """Whether something is a folder without content, and no link to one."""
    if path.is_symlink() or not path.is_dir():
        return False
    try:
        return next(path.iterdir(), None) is None
    except OSError:
        return False


def head_of(path: Path) -> bytes:
    """The first bytes of a plain file; nothing of a link, a folder, or a file that cannot be read."""
    if not is_plain(path):
        return b""
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def hash_from(path: Path, start: int) -> str:
    """SHA-256 of a plain file from a byte on; "" when it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def json_of(path: Path) -> object:
    """Give the document in a plain JSON file; None where there is none."""
    if not is_plain(path):
        return None
    try:
        return read_json(path, printable=False)
    except (OSError, FormatError):
        return None


def toml_of(path: Path) -> dict[str, Any]:
    """Give the document in a plain TOML file; nothing where there is none."""
    try:
        return tomllib.loads(head_of(path).decode("utf-8"))
    except (ValueError, RecursionError):
        return {}


def has_keys(path: Path, keys: set[str]) -> bool:
    """Whether a JSON file holds an object with these names."""
    document = json_of(path)
    return isinstance(document, dict) and keys <= document.keys()


def has_format(path: Path, mark: str) -> bool:
    """Whether a JSON file begins with our mark, as we write it, or has it elsewhere."""
    if re.match(rb'\s*\{\s*"format"\s*:\s*"' + re.escape(mark.encode()), head_of(path)):
        return True
    document = json_of(path)
    return isinstance(document, dict) and starts(document.get("format"), mark)


def starts(value: object, mark: str) -> bool:
    """Whether a value is a text that begins with a mark."""
    return isinstance(value, str) and value.startswith(mark)


def zarr_attributes_of(path: Path) -> dict[str, Any]:
    """Give the attributes of a zarr 3 group; nothing where there is none."""
    document = None if path.is_symlink() else json_of(path / "zarr.json")
    found = document.get("attributes") if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}


def holds_only(folder: Path, names: re.Pattern[str]) -> bool:
    """Whether a folder has no other content than files and folders of these names, and no link."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (names.fullmatch(name) or JUNK.fullmatch(path.name)):
            return False
    return True


def csv_rows(path: Path) -> list[list[str]]:
    """Give the rows at the beginning of a CSV file."""
    text = head_of(path).decode("utf-8-sig", errors="replace")
    try:
        return list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error:
        return []


def csv_header(path: Path) -> list[str]:
    """Give the first row of a CSV file."""
    rows = csv_rows(path)
    return rows[0] if rows else []


def png_texts(head: bytes) -> list[tuple[str, str]]:
    """The tEXt chunks before the pixels of a PNG."""
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
