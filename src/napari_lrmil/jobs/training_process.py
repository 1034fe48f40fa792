"""Training as a separate process: the command line, started so that it continues when the viewer is closed."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from lrmil.cohorts.columns import TableOptions
from lrmil.configs import TrainConfig
from lrmil.errors import FormatError
from lrmil.io.ownership import is_settings, require_free
from lrmil.io.plain_files import open_plain
from lrmil.io.settings import write_toml
from lrmil.runs.watch import RunStatus
from lrmil.steps import Step

SETTINGS, LOG, REPORT = "settings.toml", "train.log", "report.html"
REASON = "lrmil train: "  # the command line begins the reason of a failure with it
MAX_BYTES = 1 << 20  # of its log that are searched, from the end
MAX_CHARACTERS = 600  # of the reason that are shown
REPORT_SECONDS = 300.0  # after the end of a run within which its report is expected
START_SECONDS = 60.0  # within which a training that was started writes into its run folder
_started: dict[Path, "subprocess.Popen[bytes]"] = {}  # by run folder; kept so that finished processes are reaped


def weights_steps(config: TrainConfig) -> Iterator[Step[bool]]:
    """Require that the weights of the encoders are here or can be downloaded, as one Step.

    Parameters
    ----------
    config
        Settings of the training.

    Raises
    ------
    EncoderError
        If they cannot be had, or there is no such encoder.
    """
    from lrmil.models.encoders.weights import require_weights

    for name in filter(None, (config.encoder, config.student_encoder)):
        require_weights(name)
    yield Step(("weights",), 1, 1, result=True)


def start_training(
    run: Path, slides: Path, labels: Path, config: TrainConfig, device: str, *, options: TableOptions | None = None
) -> None:
    """Start ``lrmil train`` on a run folder; a run that is in it is resumed.

    The settings go to ``settings.toml`` in the folder, the output to ``train.log``.

    Parameters
    ----------
    run, slides, labels
        The run folder, the folder of slides and the table of labels.
    config
        Settings of the training.
    device
        "auto" or a name of `lrmil.models.devices.available_devices`.
    options
        How the table is read.

    Raises
    ------
    OverwriteError
        If one of the two files exists and was not written by the plugin.
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


def next_to(run: Path) -> Path:
    """Return a folder beside a run that does not exist yet: run-2 for run, run-3 for run-2, and so on."""
    stem, dash, number = run.name.rpartition("-")
    stem, first = (stem, int(number) + 1) if dash and number.isdecimal() else (run.name, 2)
    return next(beside for n in count(first) if not (beside := run.with_name(f"{stem}-{n}")).exists())


def has_process(run: Path) -> bool:
    """Return True while the process of a training started by this viewer is alive.

    It begins to log a few seconds after its start, and ends shortly after its last line.
    """
    process = _started.get(run)
    if process is not None and process.poll() is not None:
        del _started[run]
    return run in _started


def may_begin(run: Path) -> bool:
    """Return True if a training, perhaps of another viewer, was started too recently to have logged anything."""
    try:
        log = (run / LOG).stat()
    except OSError:
        return False
    if log.st_size > 0 or time.time() - log.st_mtime > START_SECONDS:
        return False
    steps = run / "steps.jsonl"
    return not steps.exists() or steps.stat().st_mtime < log.st_mtime


def last_words(run: Path) -> str:
    """Return the reason of a failure from the log: of a traceback the last line, "" when the log is empty."""
    try:
        with open_plain(run / LOG) as log:
            log.seek(-min(log.seek(0, os.SEEK_END), MAX_BYTES), os.SEEK_END)
            text = log.read(MAX_BYTES).decode("utf-8", errors="replace").strip()
    except (OSError, FormatError):
        return ""
    reason = text.rpartition(REASON)[2] if REASON in text else text.rpartition("\n")[2]
    return reason.strip()[:MAX_CHARACTERS]


def may_write_report(run: Path, status: RunStatus) -> bool:
    """Return True if a training, perhaps of another viewer, has ended and may still be writing its report."""
    if status.state != "finished" or (run / REPORT).exists():
        return False
    try:
        return time.time() - (run / "metrics.json").stat().st_mtime < REPORT_SECONDS
    except OSError:
        return False


def end_message(run: Path, status: RunStatus) -> str:
    """Return why a training ended and what to do, "" if it was stopped or is complete.

    Parameters
    ----------
    run
        The run folder.
    status
        Its last status.
    """
    words = last_words(run)
    where = f" Its full output is in {run / LOG}." if words else ""
    if status.state == "failed":
        return f"{status.message or words}{where}"
    if status.state == "interrupted":
        output = f" Its last output: {words}." if words else ""
        reason = "The training ended without a final status (killed, or power loss)."
        return f"{reason}{output} Press Resume to continue.{where}"
    if status.state == "absent" and words:
        return f"{words}{where}"
    if status.state == "finished" and not (run / REPORT).exists():
        return f"The model is complete, but its report is missing. {words}{where}"
    return ""


def _detached() -> int:
    if sys.platform == "win32":
        return subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS
    return 0
