"""The log of a run, RUN/steps.jsonl: one JSON object per line, appended and never rewritten.

{"time", "start": true, "plan"}                 a call begins; "plan" is equal for calls with equal plans
{"time", "job", "done", "total", "unit", ...}   a Step with its "message" and "metrics", if it has any. Of other Steps,
                                                the first and the last of each job, and about one per second.
                                                "job" is a list; earlier versions wrote a sentence
{"time", "end", "message"}                      it ended: finished, stopped or failed; absent after a kill
"""

import json
import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path, PurePath
from typing import Literal, cast

from lrmil.errors import LrmilError, Stopped
from lrmil.io.ownership import is_log, require_free
from lrmil.io.plain_files import open_append, require_no_link
from lrmil.io.redaction import redact_paths
from lrmil.runs.jobs import job_of_sentence
from lrmil.steps import Job, Step, T

INTERVAL = 1.0  # seconds between checks of the stop file, and between lines of the same job
ENDS = ("finished", "stopped", "failed")
MAX_NUMBER = 2**53  # counts and times above it are ignored: a float cannot hold them exactly
End = Literal["", "finished", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the log: a Step if `job` is not empty, otherwise a start or an end."""

    time: float
    job: Job = ()
    done: int = 0
    total: int | None = None
    unit: str = ""
    message: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    start: bool = False
    plan: str = ""
    end: End = ""


def logged(
    steps: Generator[Step[T], None, None],
    path: Path,
    *,
    plan: str,
    hidden: Sequence[PurePath],
    asked_to_stop: Callable[[], bool],
) -> Generator[Step[T], None, None]:
    """Relay Steps and write them to the log, with the start and the end of the call.

    Parameters
    ----------
    steps
        The work. It is always closed at the end.
    path
        The log.
    plan
        Hash of the plan: equal for calls with equal plans.
    hidden
        Folders to redact in messages.
    asked_to_stop
        Called about once per second; True stops the work.

    Raises
    ------
    FormatError
        If the log is a link or not a plain file.
    OverwriteError
        If another file has its name.
    Stopped
        After `asked_to_stop` returned True, unless the work is finished.
    """
    require_no_link(path)
    require_free(path, is_log)
    with open_append(path) as file:
        log = _Log(file)
        log.write({"start": True, "plan": plan})
        try:
            with closing(steps):
                for step in steps:
                    if log.step(step) and step.result is None and asked_to_stop():
                        raise Stopped("Stopped on request. Finished work is kept; rerun the same command to resume.")
                    yield step
        except (Stopped, GeneratorExit, KeyboardInterrupt):
            log.end("stopped")
            raise
        except BaseException as error:
            log.end("failed", redact_paths(_sentence(error), hidden))
            raise
        log.end("finished")


def parse_line(line: bytes) -> LogLine | None:
    """Parse a line of the log; return None for any other line, such as an incomplete one after a kill."""
    try:
        found = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or (when := _number(found.get("time"), MAX_NUMBER)) is None:
        return None
    if found.get("start") is True:
        return LogLine(when, start=True, plan=_text(found.get("plan")))
    if (end := found.get("end")) in ENDS:
        return LogLine(when, end=cast(End, end), message=_text(found.get("message")))
    if not (job := _job(found.get("job"))):
        return None
    metrics = found.get("metrics")
    values = metrics.items() if isinstance(metrics, dict) else ()
    return LogLine(
        when,
        job,
        _count(found.get("done")) or 0,
        _count(found.get("total")),
        _text(found.get("unit")),
        _text(found.get("message")),
        {name: number for name, value in values if (number := _number(value)) is not None},
    )


class _Log:
    """The open log, and the latest Step that is not written yet."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._job: Job = ()
        self._pending: tuple[float, dict[str, object]] | None = None
        self._due = time.monotonic() + INTERVAL
        _end_half_line(file)

    def step(self, step: Step[T]) -> bool:
        """Write a Step if it is due, and return whether a second has passed."""
        due = time.monotonic() >= self._due
        if step.job != self._job:
            self._write_pending()
        self._pending = time.time(), _values(step)
        if due or step.job != self._job or step.message or step.metrics:
            self._write_pending()
            self._job = step.job
        if due:
            self._due = time.monotonic() + INTERVAL
        return due

    def end(self, end: End, message: str = "") -> None:
        self._write_pending()
        self.write({"end": end, "message": message})

    def write(self, values: dict[str, object], when: float | None = None) -> None:
        line = {"time": round(time.time() if when is None else when, 3), **values}
        self._file.write((json.dumps(line) + "\n").encode())  # unbuffered, for concurrent readers

    def _write_pending(self) -> None:
        if self._pending is not None:
            when, values = self._pending
            self.write(values, when)
            self._pending = None


def _values(step: Step[T]) -> dict[str, object]:
    values: dict[str, object] = {"job": step.job, "done": step.done, "total": step.total, "unit": step.unit}
    values |= {"message": step.message} if step.message else {}
    return values | ({"metrics": dict(step.metrics)} if step.metrics else {})


def _end_half_line(file: FileIO) -> None:
    """End an incomplete line that a killed process left."""
    if file.seek(0, os.SEEK_END) == 0:
        return
    file.seek(-1, os.SEEK_END)
    if file.read(1) != b"\n":
        file.write(b"\n")


def _sentence(error: BaseException) -> str:
    """Return the message of an error, with its class if it is not an error of lrmil."""
    return str(error) if isinstance(error, LrmilError) else f"{type(error).__name__}: {error}"


def _job(value: object) -> Job:
    if isinstance(value, str):
        return job_of_sentence(value) if value else ()
    if not isinstance(value, list) or not all(isinstance(part, str) and part for part in value):
        return ()
    return tuple(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object, maximum: float = 1e300) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= maximum:
        return None
    return float(value)


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MAX_NUMBER:
        return None
    return value
