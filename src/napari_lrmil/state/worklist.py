"""What is known of the slides of a folder: from the saved predictions, and a small file of what failed."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, TypeAdapter, with_config
from typing_extensions import TypedDict  # that of Python 3.11 does not suffice for pydantic

from lrmil.errors import SlideError
from lrmil.io import atomic, hashing, untrusted
from lrmil.io.ownership import is_worklist
from lrmil.slides.discovery import find_slides
from lrmil.slides.failures import CONCERNS_THE_RUN, Failure, namesakes, reason_of
from lrmil.slides.parts import parts_of
from lrmil.slides.source import SlideSource, slide_id_of
from lrmil.steps import Step
from napari_lrmil.state.messages import explain
from napari_lrmil.state.shown import case_folder

if TYPE_CHECKING:
    from lrmil.prediction.prediction import Prediction
    from lrmil.prediction.table import Row

FORMAT = "lrmil.worklist/1"
JOB = "classify the list"
MAX_MEMORY = 64 << 20  # bytes
CHUNK_S = 0.2  # how long saved predictions are read before the table is told: often enough to look alive
Status = Literal["new", "running", "ok", "uncertain", "failed", "other model"]
Stamp = list[int]
SAID = {
    "ok": "ok",
    "classified": "classified, some to be read first",
    "uncertain": "uncertain",
    "failed": "failed",
    "other model": "of another model",
    "running": "running",
    "new": "new",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One slide of the list.

    Attributes
    ----------
    message
        Why it has no answer, or how it was read.
    reason
        Why it failed in one word: see `lrmil.slides.failures.Failure`.
    row
        Its line of the table of results, None until it has one.
    fingerprint
        Hash of the slide, "" until it was classified.
    mpp
        um/px of level 0 that were given by hand when it was classified.
    twin
        Whether another file of the list has its name; such slides are not classified.
    part
        How much of it is read while it is running, 0 to 1.
    """

    path: Path
    slide_id: str
    status: Status = "new"
    message: str = ""
    reason: str = ""
    row: "Row | None" = None
    fingerprint: str = ""
    mpp: float | None = None
    twin: bool = False
    part: float = 0.0

    @property
    def source(self) -> SlideSource:
        """The slide as the core takes it."""
        return SlideSource(self.slide_id, self.path, self.mpp)

    @property
    def done(self) -> bool:
        """Whether the model has answered."""
        return self.status in ("ok", "uncertain")

    @property
    def label(self) -> str:
        """Most probable class."""
        return self.row.label if self.row and self.done else ""

    @property
    def probability(self) -> float | None:
        """Probability of that class."""
        return self.row.probabilities[self.row.label] if self.row and self.done else None


@dataclass(frozen=True, slots=True)
class Memory:
    """What is kept of a list beside the predictions.

    Attributes
    ----------
    bundle_sha256
        Model the list was classified with last.
    failures
        Name of the slide's result folder -> reason, message, the model, and the stamp of the file that failed.
    """

    bundle_sha256: str
    failures: dict[str, dict[str, Any]]


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


def list_file(results: Path, folder: Path, ending: str) -> Path:
    """File of a list: ".json" is its memory, ".csv" the table of its results."""
    return results / "worklists" / f"{folder.name}-{hashing.sha256_of(str(folder.resolve()))[:8]}{ending}"


def read_memory(path: Path) -> Memory:
    """Read what is kept of a list; nothing when it is absent, damaged or of another version."""
    try:
        found = _MEMORY.validate_python(untrusted.read_json(path, largest=MAX_MEMORY, printable=False))
    except (OSError, ValueError):  # FormatError and pydantic's ValidationError are ValueErrors
        return Memory("", {})  # it can be made again by classifying
    failures = {case: dict(failure) for case, failure in found["failures"].items()}
    return Memory(found["bundle_sha256"], failures)


def write_memory(path: Path, memory: Memory) -> None:
    """Keep what is to be known of a list at the next start."""
    document = {"format": FORMAT, "bundle_sha256": memory.bundle_sha256, "failures": memory.failures}
    atomic.write_json(path, document, is_worklist)


def scan(folder: Path, results: Path, bundle_sha256: str) -> Iterator[Step[list[Entry]]]:
    """Find the slides of a folder and what is saved of each.

    Parameters
    ----------
    bundle_sha256
        Hash of the model in use; "" stands for the one that the list was classified with last.

    Yields
    ------
    Step
        First all slides as new ones, then those of which more is known, some at a time.

    Raises
    ------
    SlideError
        If there is no such folder, or it cannot be listed.
    """
    _look_into(folder)
    entries = entries_of(find_slides(folder))
    yield Step("find slides", 0, len(entries), "slides", entries)
    memory = read_memory(list_file(results, folder, ".json"))
    told, known = time.monotonic(), []
    for done, entry in enumerate(entries, 1):
        known.append(_known(entry, results, bundle_sha256 or memory.bundle_sha256, memory))
        if time.monotonic() - told > CHUNK_S or done == len(entries):
            yield Step("read results", done, len(entries), "slides", known)
            told, known = time.monotonic(), []


def entries_of(paths: Sequence[Path]) -> list[Entry]:
    """Make an entry of every slide; files that share a name are failed ones."""
    entries = [Entry(path, slide_id_of(path)) for path in paths]
    twins = namesakes([entry.source for entry in entries])
    return [replace(failed(entry, twins[entry.path]), twin=True) if entry.path in twins else entry for entry in entries]


def saved(entry: Entry, results: Path, bundle_sha256: str, memory: Memory) -> Entry:
    """Complete an entry from what its results folder and the memory hold."""
    from lrmil.prediction.files import read_prediction

    out = case_folder(results, entry.slide_id, entry.path)
    prediction, failure = read_prediction(out, entry.slide_id), memory.failures.get(out.name, {})
    if prediction is not None and _is_of(entry.path, prediction, out / f"{entry.slide_id}.json"):
        known = answered(entry, prediction, bundle_sha256)
    elif prediction is not None:
        known = replace(entry, message="The file was changed after it was classified; classify it again.")
    else:
        known = entry
    still = failure.get("stamp") == stamp_of(entry.path) and failure.get("bundle_sha256") == bundle_sha256
    if not failure or not still or known.done:
        return known
    return failed(known, Failure(str(failure.get("reason", "")), str(failure.get("message", ""))))


def answered(entry: Entry, prediction: "Prediction", bundle_sha256: str) -> Entry:
    """Complete an entry from a prediction, which counts only if it is of the model in use."""
    from lrmil.prediction.table import row_of

    entry = replace(entry, reason="", mpp=prediction.mpp if prediction.mpp_source == "override" else None)
    if prediction.bundle_sha256 != bundle_sha256:
        return replace(entry, status="other model", message="Classified with another model; classify it again.")
    row = row_of(entry.slide_id, prediction)
    status: Status = "uncertain" if prediction.status == "uncertain" else "ok"
    return replace(entry, status=status, message=" ".join(row.notes), row=row, fingerprint=prediction.slide_fingerprint)


def failed(entry: Entry, why: Failure) -> Entry:
    """Say of an entry why it has no answer."""
    return replace(entry, status="failed", reason=why.reason, message=why.message, row=None, fingerprint="")


def stamp_of(path: Path) -> Stamp:
    """Size and time of change of a slide's files together; another stamp is another content, [] that there is none."""
    try:
        stats = [part.stat() for part in parts_of(path)]
    except OSError:
        return []
    if not stats:
        return []
    return [sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats)]


def summary(entries: Sequence[Entry], reviewed: int, hidden: int) -> str:
    """Count the list in one line; `hidden` answers wait for the reader's own label, and their kinds are not told."""
    if not entries:
        return "No slides."
    counts = Counter[str](entry.status for entry in entries)
    if hidden:
        counts["classified"] = counts.pop("ok", 0) + counts.pop("uncertain", 0)
    parts = [f"{counts[status]} {name}" for status, name in SAID.items() if counts[status]]
    slides = "1 slide" if len(entries) == 1 else f"{len(entries)} slides"
    return f"{slides}: {', '.join(parts)}; {reviewed} reviewed"


def _look_into(folder: Path) -> None:
    try:
        next(folder.iterdir(), None)
    except FileNotFoundError:
        raise SlideError(
            f"Expected a folder of slides. Got {folder}: there is no such folder; choose another, or check that its "
            "disk is there."
        ) from None
    except OSError as error:
        raise SlideError(
            f"Expected a folder of slides. Got {folder}, of which the system says: {error.strerror}; choose another, "
            "or check its rights."
        ) from error


def _known(entry: Entry, results: Path, bundle_sha256: str, memory: Memory) -> Entry:
    if entry.twin:
        return entry
    try:
        return saved(entry, results, bundle_sha256, memory)
    except CONCERNS_THE_RUN:
        raise
    except Exception as error:  # noqa: BLE001 - whatever one slide does, the others are listed
        return failed(entry, Failure(reason_of(error), explain(error)))


def _is_of(path: Path, prediction: "Prediction", card: Path) -> bool:
    """Whether a prediction is of the file as it is now; its content is looked at only if it is newer than the card."""
    from lrmil.slides.slide import open_slide

    try:
        if stamp_of(path)[1] <= card.stat().st_mtime_ns:
            return True
        with open_slide(path) as slide:
            return slide.fingerprint == prediction.slide_fingerprint
    except (OSError, IndexError):  # SlideError is an OSError; a file that is gone has no stamp
        return False
