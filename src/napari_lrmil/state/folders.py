"""The plugin's own folders: results, cached demonstration, remembered choices and the log of errors."""

from pathlib import Path

import platformdirs

from lrmil.errors import FormatError
from lrmil.io import atomic, untrusted

MAX_MEMORY = 1 << 20  # bytes
APPLICATION = "napari-lrmil"


def data_folder() -> Path:
    """Return the folder for results and the review log, which must be kept."""
    return platformdirs.user_data_path(APPLICATION, appauthor=False)


def cache_folder() -> Path:
    """Return the folder for the synthetic slide and the demonstration model, which can be made again."""
    return platformdirs.user_cache_path(APPLICATION, appauthor=False)


def log_file() -> Path:
    """Return the file for tracebacks."""
    return platformdirs.user_log_path(APPLICATION, appauthor=False) / f"{APPLICATION}.log"


def remember(name: str, value: str) -> None:
    """Save a choice, such as the last training run, for the next start.

    Parameters
    ----------
    name
        What was chosen, such as "run_folder".
    value
        The choice.
    """
    try:
        atomic.write_json(_memory(), {**_remembered(), name: value})
    except OSError:
        return  # a convenience: if it cannot be saved, the next start asks again


def recall(name: str) -> str:
    """Return a saved choice, "" without one."""
    return _remembered().get(name, "")


def _memory() -> Path:
    return platformdirs.user_state_path(APPLICATION, appauthor=False) / "remembered.json"


def _remembered() -> dict[str, str]:
    try:
        values = untrusted.read_json(_memory(), max_bytes=MAX_MEMORY, printable=False)
        return {name: str(value) for name, value in values.items()} if isinstance(values, dict) else {}
    except (OSError, FormatError):
        return {}
