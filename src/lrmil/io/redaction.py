"""Sentences and settings without the folders in them, which name the machine and its user."""

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

# An absolute path inside a sentence or a setting: all but its last part is nobody else's business.
FOLDERS = re.compile(r"(?:(?<=[\s'\"(=:,])|^)(?:[A-Za-z]:[\\/]|/|\\\\)(?:[^\\/\s'\"]+[\\/])*(?=[^\\/\s'\"])")


def redact_paths(value: Any, folders: Sequence[PurePath]) -> Any:
    """Cut the folders off every path in plain values; `folders` are those that a blank may lie in."""
    if isinstance(value, dict):
        return {name: redact_paths(inner, folders) for name, inner in value.items()}
    if isinstance(value, list):
        return [redact_paths(inner, folders) for inner in value]
    if not isinstance(value, str):
        return value
    for folder in map(str, folders):
        if folder not in (".", "/"):
            value = value.replace(f"{folder}/", "").replace(f"{folder}\\", "")
    return FOLDERS.sub("", value)
