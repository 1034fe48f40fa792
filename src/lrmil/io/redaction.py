"""Remove folders from texts and settings: they name the machine and its user."""

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import TypeVar, cast

T = TypeVar("T")

# The folders of an absolute path inside a text; the last part of the path is kept.
FOLDERS = re.compile(r"(?:(?<=[\s'\"(=:,])|^)(?:[A-Za-z]:[\\/]|/|\\\\)(?:[^\\/\s'\"]+[\\/])*(?=[^\\/\s'\"])")


def redact_paths(value: T, folders: Sequence[PurePath]) -> T:
    """Remove the folders from every path in plain values, and keep the file names.

    Parameters
    ----------
    value
        A string, or dicts and lists of plain values.
    folders
        Folders to remove even if their names contain spaces, at which a pattern would stop.

    Returns
    -------
    T
        A copy of the same structure.
    """
    return cast("T", _redacted(value, folders))


def _redacted(value: object, folders: Sequence[PurePath]) -> object:
    if isinstance(value, dict):
        return {name: _redacted(inner, folders) for name, inner in value.items()}
    if isinstance(value, list):
        return [_redacted(inner, folders) for inner in value]
    if not isinstance(value, str):
        return value
    for folder in map(str, folders):
        if folder not in (".", "/"):
            value = value.replace(f"{folder}/", "").replace(f"{folder}\\", "")
    return FOLDERS.sub("", value)
