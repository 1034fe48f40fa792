"""The memory of a list, saved beside the predictions: which slides failed, and why."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, with_config
from typing_extensions import TypedDict  # pydantic does not accept that of Python 3.11

from lrmil.io import atomic, hashing, untrusted
from lrmil.io.ownership import is_worklist
from lrmil.slides.failures import Failure
from lrmil.slides.parts import parts_of

FORMAT = "lrmil.worklist/1"
MAX_MEMORY = 64 << 20  # bytes
Stamp = list[int]


@dataclass(frozen=True, slots=True)
class Memory:
    """What is saved of a list beside the predictions.

    Attributes
    ----------
    bundle_sha256
        Hash of the model that the list was classified with last.
    failures
        From `failure_key` to reason, message, model, and the stamp of the file that failed.
    """

    bundle_sha256: str
    failures: dict[str, dict[str, Any]]

    def failure_of(self, case: str, bundle_sha256: str) -> dict[str, Any]:
        """Return why a slide failed with a model; empty if it did not. Earlier versions kept one model's reasons.

        Parameters
        ----------
        case
            Name of the slide's result folder.
        bundle_sha256
            Hash of the model.
        """
        found = (self.failures.get(key, {}) for key in (failure_key(case, bundle_sha256), case))
        return next((one for one in found if one.get("bundle_sha256") == bundle_sha256), {})


@with_config(ConfigDict(strict=True, extra="ignore"))
class _Failure(TypedDict):
    reason: str
    message: str
    bundle_sha256: str
    stamp: Stamp


@with_config(ConfigDict(strict=True, extra="ignore"))
class _Memory(TypedDict):
    format: Literal["lrmil.worklist/1"]
    bundle_sha256: str
    failures: dict[str, _Failure]


_MEMORY = TypeAdapter(_Memory)


def failure_key(case: str, bundle_sha256: str) -> str:
    """Return the name of a failure: the result folder of the slide, and the hash of the model."""
    return f"{case} {bundle_sha256}"


def list_file(results: Path, folder: Path, ending: str) -> Path:
    """Return a file of a list.

    Parameters
    ----------
    results
        Folder of all results.
    folder
        Folder of the slides.
    ending
        ".json" for the memory, ".csv" for the table of results.
    """
    return results / "worklists" / f"{folder.name}-{hashing.sha256_of(str(folder.resolve()))[:8]}{ending}"


def read_memory(path: Path) -> Memory:
    """Return the memory of a list; an empty one if the file is absent, damaged or of another version."""
    try:
        found = _MEMORY.validate_python(untrusted.read_json(path, max_bytes=MAX_MEMORY, printable=False))
    except (OSError, ValueError):  # FormatError and pydantic's ValidationError are ValueErrors
        return Memory("", {})  # classifying again restores it
    failures = {case: dict(failure) for case, failure in found["failures"].items()}
    return Memory(found["bundle_sha256"], failures)


def write_memory(path: Path, memory: Memory) -> None:
    """Write the memory of a list, complete or not at all.

    Raises
    ------
    OutputError
        If it cannot be written.
    OverwriteError
        If another file has its name.
    """
    document = {"format": FORMAT, "bundle_sha256": memory.bundle_sha256, "failures": memory.failures}
    atomic.write_json(path, document, is_worklist)


class Failures:
    """The memory of a list while its slides are classified; changes are on disk about a second later.

    Parameters
    ----------
    path
        Its file; not written before the first slide.
    bundle_sha256
        Hash of the model in use.
    """

    def __init__(self, path: Path, bundle_sha256: str) -> None:
        self._path, self._bundle_sha256, self._written = path, bundle_sha256, 0.0
        self._found: dict[str, dict[str, Any] | None] = {}
        self._unsaved = False

    def note(self, case: str, path: Path, failure: Failure | None) -> None:
        """Record why a slide failed, or forget that it did.

        Parameters
        ----------
        case
            Name of the slide's result folder.
        path
            The slide.
        failure
            None when it was classified.
        """
        from lrmil.prediction.table import PAUSE

        about = {"bundle_sha256": self._bundle_sha256, "stamp": stamp_of(path)}
        self._found[case] = None if failure is None else {**failure._asdict(), **about}
        self._unsaved = True
        if time.monotonic() - self._written > PAUSE:
            self.write()

    def write(self) -> None:
        """Write what was recorded, complete or not at all; what another window recorded meanwhile stays."""
        if not self._unsaved:
            return
        failures = read_memory(self._path).failures
        for case, found in self._found.items():
            for key in (failure_key(case, self._bundle_sha256), case):
                if failures.get(key, {}).get("bundle_sha256") == self._bundle_sha256:
                    del failures[key]
            if found is not None:
                failures[failure_key(case, self._bundle_sha256)] = found
        write_memory(self._path, Memory(self._bundle_sha256, failures))
        self._unsaved, self._written = False, time.monotonic()


def stamp_of(path: Path) -> Stamp:
    """Return total size in bytes and latest change in ns of a slide's files; [] without files.

    A different stamp means different content.
    """
    try:
        stats = [part.stat() for part in parts_of(path)]
    except OSError:
        return []
    if not stats:
        return []
    return [sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats)]
