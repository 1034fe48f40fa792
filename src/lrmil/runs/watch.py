"""Watch a training run from another process, by reading its folder."""

import os
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Literal

from lrmil.errors import FormatError
from lrmil.io.documents import read_split_rows, read_toml_document
from lrmil.io.plain_files import open_plain
from lrmil.runs.control import LOCK, is_held, is_running
from lrmil.runs.jobs import FINAL, parts_of
from lrmil.runs.log import LogLine, parse_line
from lrmil.runs.progress import EpochRecord, RunProgress
from lrmil.steps import Job

LOG = "steps.jsonl"
HEAD = 256  # bytes that identify a log; its first line starts with the time
BLOCK = 8 << 20  # bytes read at a time
MAX_LOG = 256 << 20  # bytes; weeks of one line per second
MAX_FOLDS = 1_000_000
State = Literal["absent", "running", "stopped", "failed", "interrupted", "finished"]


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The status of a run.

    Attributes
    ----------
    state
        "absent": there is no run in the folder. "interrupted": the process ended without writing a final status, for
        instance because it was killed.
    job
        Job of the latest Step, empty before the first. `done` of `total` of its `unit` are finished; `total` is None
        if it is unknown.
    stage
        The current or last stage, in words.
    stage_seconds_left
        Seconds left of the current stage at its pace so far; None if unknown.
    folds_done, folds_total
        Number of folds, including that of the shipped model; `folds_total` is None if unknown.
    has_final
        Whether one of them trains the shipped model alone, and tests nothing.
    seconds_left
        Seconds left of the whole run; None before the first fold is finished.
    message
        The latest message of this call; for a failed run, why.
    epochs
        Every training epoch of this and earlier calls.
    """

    state: State
    job: Job = ()
    stage: str = ""
    done: int = 0
    total: int | None = None
    unit: str = ""
    stage_seconds_left: float | None = None
    folds_done: int = 0
    folds_total: int | None = None
    has_final: bool = False
    seconds_left: float | None = None
    message: str = ""
    epochs: tuple[EpochRecord, ...] = ()

    @property
    def place(self) -> str:
        """The fold in progress, such as "fold-1 (2 of 3), then the final model", else all; "" if they are unknown."""
        if not self.folds_total:
            return ""
        tested = self.folds_total - self.has_final
        counted = "1 fold" if tested == 1 else f"{tested} folds"
        fold = parts_of(self.job).fold if self.job and self.state != "finished" else ""
        if fold == FINAL:
            return f"the final model, after {counted}"
        if not fold or self.folds_done >= tested:
            return f"{counted} and the final model" if self.has_final else counted
        return f"{fold} ({self.folds_done + 1} of {tested}){', then the final model' if self.has_final else ''}"


def read_status(run: Path) -> RunStatus:
    """Return the status of a run; use a `RunWatch` to follow one."""
    return RunWatch(run).poll()


class RunWatch:
    """Follow a run, which another process may start later; each `poll` reads only what is new.

    Parameters
    ----------
    run
        Run folder.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._log = _LogTail(run / LOG)
        self._folds = _Folds(run)
        self._progress = RunProgress()

    def poll(self) -> RunStatus:
        """Return the current status."""
        state = self._state()
        progress, running = self._progress, state == "running"
        begins = running and progress.over  # the log is that of an earlier call
        line = LogLine(0) if begins else progress.line or LogLine(0)
        names, total, has_final = self._folds.read()
        done = len(progress.clock.done & names if names else progress.clock.done)
        return RunStatus(
            state=state,
            job=line.job,
            stage=progress.stage if line.job else "starting" if running else "",
            done=line.done,
            total=line.total,
            unit=line.unit,
            stage_seconds_left=progress.pace.seconds_left if running and line.job and progress.pace else None,
            folds_done=total if total and state == "finished" else done,
            folds_total=total,
            has_final=has_final,
            seconds_left=progress.clock.seconds_left(total) if running else None,
            message="" if begins else progress.message,
            epochs=tuple(record for record in progress.epochs if not names or record.fold in names),
        )

    def _state(self) -> State:
        """Probe the lock, then read the log: if the lock is free, the log is complete."""
        held = is_held(self._run / LOCK)
        self._read()
        progress = self._progress
        if held and progress.over:  # another viewer's probe, or a call that has not logged its start yet
            held = is_running(self._run)
        elif not held and not progress.over:  # killed, or begun since the probe
            held = is_held(self._run / LOCK)
        if held:
            return "running"
        if progress.end:
            return progress.end
        if not progress.called and _stamp(self._run / "metrics.json"):  # a run of a version that logged no end
            return "finished"
        return "interrupted" if progress.called or progress.line or _stamp(self._run / "plan.toml") else "absent"

    def _read(self) -> None:
        replaced, lines = self._log.read()
        if replaced:
            self._progress = RunProgress()
        for line in lines:
            self._progress.add(line)


class _LogTail:
    """Read a log as it grows; of a log over `MAX_LOG`, only the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._head = b""

    def read(self) -> tuple[bool, list[LogLine]]:
        """Return whether the log was replaced, and its new complete lines."""
        found: list[LogLine] = []
        try:
            with open_plain(self._path, follow=False) as file:
                head = file.read(HEAD)
                size = file.seek(0, os.SEEK_END)
                replaced = not head.startswith(self._head) or size < self._offset
                if replaced:
                    self._offset = 0
                self._offset = max(self._offset, size - MAX_LOG)
                while whole := self._next_lines(file):
                    found += filter(None, map(parse_line, whole.splitlines()))
        except FileNotFoundError:
            replaced, head = self._offset > 0, b""
            self._offset = 0
        except (OSError, FormatError):  # a network drive may be absent for a moment
            return False, []
        self._head = head
        return replaced, found

    def _next_lines(self, file: FileIO) -> bytes:
        """Read some complete lines; empty if there is nothing new."""
        file.seek(self._offset)
        new = file.read(BLOCK)
        end = new.rfind(b"\n") + 1
        if not end and len(new) == BLOCK:
            end = BLOCK  # skip it: lrmil writes no line of this length
        self._offset += end
        return new[:end]


class _Folds:
    """The folds of a run, read again only if a file changes."""

    def __init__(self, run: Path) -> None:
        self._sources = (run / "splits.csv", run / "plan.toml")
        self._stamps: list[tuple[int, int] | None] = []
        self._found: tuple[frozenset[str], int | None, bool] = frozenset(), None, False

    def read(self) -> tuple[frozenset[str], int | None, bool]:
        """Return the folds' names, empty before they are drawn, their number, and if one is of the model alone."""
        stamps = [_stamp(path) for path in self._sources]
        if stamps != self._stamps:
            splits, plan = self._sources
            names = _folds_in_splits(splits)
            total = len(names) or _folds_in_plan(plan)
            self._stamps, self._found = stamps, (names, total, FINAL in names or (not names and (total or 0) > 1))
        return self._found


def _folds_in_splits(path: Path) -> frozenset[str]:
    try:
        return frozenset(row[0] for row in read_split_rows(path))
    except (OSError, FormatError):
        return frozenset()


def _folds_in_plan(path: Path) -> int | None:
    """Return the planned number of folds, before they are drawn: those to test on, and that of the model."""
    try:
        settings = read_toml_document(path)["settings"]
        if settings.get("test_fraction"):
            return 1
        folds = settings["folds"]
    except (OSError, FormatError, KeyError, TypeError, AttributeError):
        return None
    return folds + 1 if type(folds) is int and 0 <= folds <= MAX_FOLDS else None


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
