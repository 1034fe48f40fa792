"""Training as a process of its own: the command line, started so that it outlives the viewer."""

import subprocess
import sys
from pathlib import Path

from lrmil.configs import TrainConfig, write_toml

SETTINGS, LOG = "settings.toml", "train.log"
LONGEST_LINE = 300  # characters of a log line that are shown


def start_training(
    run: Path, slides: Path, labels: Path, config: TrainConfig, device: str
) -> "subprocess.Popen[bytes]":
    """Start ``lrmil train`` on a run folder; a run that is there goes on.

    Its settings go to ``settings.toml`` in the folder, and what it prints to ``train.log``.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    run.mkdir(parents=True, exist_ok=True)
    write_toml(run / SETTINGS, config)
    command = [sys.executable, "-m", "lrmil", "train", slides, labels, "--out", run, "--config", run / SETTINGS]
    with (run / LOG).open("wb") as log:
        return subprocess.Popen(
            [*map(str, command), "--device", device],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            creationflags=_detached(),
        )


def last_words(run: Path) -> str:
    """Give the last line of what the training printed: the reason, when it failed before its own log began."""
    try:
        lines = (run / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip()[:LONGEST_LINE] for line in reversed(lines) if line.strip()), "")


def _detached() -> int:
    if sys.platform == "win32":
        return subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS
    return 0
