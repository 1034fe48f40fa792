"""Training as a process of its own: the command line, started so that it outlives the viewer."""

import os
import subprocess
import sys
import time
from pathlib import Path

from lrmil.cohorts.columns import TableOptions
from lrmil.configs import TrainConfig
from lrmil.errors import FormatError
from lrmil.io.ownership import is_settings, require_free
from lrmil.io.plain_files import open_plain
from lrmil.io.settings import write_toml

SETTINGS, LOG = "settings.toml", "train.log"
SAYS = "lrmil train: "  # how the command line begins the reason why it gave up
LAST_BYTES = 1 << 20  # of what it printed that are looked at
LONGEST = 600  # characters of what it printed that are shown
BEGINS = 60.0  # seconds within which a training that was started says so in its run folder
_started: dict[Path, "subprocess.Popen[bytes]"] = {}  # by run folder; held so that one that ends is taken leave of


def start_training(
    run: Path, slides: Path, labels: Path, config: TrainConfig, device: str, *, options: TableOptions | None = None
) -> None:
    """Start ``lrmil train`` on a run folder; a run that is there goes on.

    Its settings go to ``settings.toml`` in the folder, and what it prints to ``train.log``.

    Raises
    ------
    OverwriteError
        If one of the two is there and was not written by the plugin.
    OSError
        If the folder cannot be written.
    """
    require_free(run / LOG, lambda path: not path.is_symlink() and path.is_file() and is_settings(run / SETTINGS))
    run.mkdir(parents=True, exist_ok=True)
    write_toml(run / SETTINGS, config)
    command = [sys.executable, "-m", "lrmil", "train", slides, labels, "--out", run, "--config", run / SETTINGS]
    with (run / LOG).open("wb") as log:
        _started[run] = subprocess.Popen(
            [*map(str, command), "--device", device, *(options or TableOptions()).arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUTF8": "1"},
            start_new_session=True,
            creationflags=_detached(),
        )


def has_process(run: Path) -> bool:
    """Whether a training that was started here is there; it begins its work some seconds after, and ends it before."""
    process = _started.get(run)
    if process is not None and process.poll() is not None:
        del _started[run]
    return run in _started


def may_begin(run: Path) -> bool:
    """Whether a training, perhaps of another viewer, was started so lately that it has not yet begun its work."""
    try:
        log = (run / LOG).stat()
    except OSError:
        return False
    if log.st_size > 0 or time.time() - log.st_mtime > BEGINS:
        return False
    steps = run / "steps.jsonl"
    return not steps.exists() or steps.stat().st_mtime < log.st_mtime


def last_words(run: Path) -> str:
    """Give the reason with which the training gave up, of a traceback the last line; "" when it printed nothing."""
    try:
        with open_plain(run / LOG) as log:
            log.seek(-min(log.seek(0, os.SEEK_END), LAST_BYTES), os.SEEK_END)
            text = log.read(LAST_BYTES).decode("utf-8", errors="replace").strip()
    except (OSError, FormatError):
        return ""
    reason = text.rpartition(SAYS)[2] if SAYS in text else text.rpartition("\n")[2]
    return reason.strip()[:LONGEST]


def _detached() -> int:
    if sys.platform == "win32":
        return subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS
    return 0
