"""Folders of the plugin's own: results, cached demonstration, remembered choices, and the log of unexpected errors."""

from pathlib import Path

import platformdirs

from lrmil.errors import FormatError
from lrmil.io import atomic, untrusted

MAX_MEMORY = 1 << 20  # bytes
APPLICATION = "napari-lrmil"


def data_folder() -> Path:
    """Folder for what must stay: results and the review log."""
    return platformdirs.user_data_path(APPLICATION, appauthor=False)


def cache_folder() -> Path:
    """Folder for what can be made again: the synthetic slide and the demonstration model."""
    return platformdirs.user_cache_path(APPLICATION, appauthor=False)


def log_file() -> Path:
    """File that tracebacks go to."""
    return platformdirs.user_log_path(APPLICATION, appauthor=False) / f"{APPLICATION}.log"


def remember(name: str, value: str) -> None:
    """Keep a choice, such as the last training run, for the next start."""
    try:
        atomic.write_json(_memory(), {**_remembered(), name: value})
    except OSError:
        return  # a convenience: where it cannot be kept, the next start asks again


def recall(name: str) -> str:
    """Give a remembered choice, "" where there is none."""
    return _remembered().get(name, "")


def _memory() -> Path:
    return platformdirs.user_state_path(APPLICATION, appauthor=False) / "remembered.json"


def _remembered() -> dict[str, str]:
    try:
        values = untrusted.read_json(_memory(), max_bytes=MAX_MEMORY, printable=False)
        return {name: str(value) for name, value in values.items()} if isinstance(values, dict) else {}
    except (OSError, FormatError):
        return {}
