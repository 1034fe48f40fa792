"""The slides of a folder, with what the saved predictions and the recorded failures say of each."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lrmil.errors import SlideError
from lrmil.prediction.doubts import doubts_in_words
from lrmil.slides.discovery import find_slides
from lrmil.slides.each import finish
from lrmil.slides.failures import Failure, duplicate_names, failure_of
from lrmil.slides.source import SlideSource, slide_id_of
from lrmil.steps import Step
from napari_lrmil.state.answers import answers_of, case_folder, is_of_file
from napari_lrmil.state.messages import explain_slide, reworded
from napari_lrmil.state.worklist_memory import Memory, list_file, read_memory, stamp_of

if TYPE_CHECKING:
    from lrmil.prediction.prediction import Prediction
    from lrmil.prediction.table import PredictionRow

FIND = ("find slides",)
JOB = ("classify the list",)
CHUNK_S = 0.2  # seconds of reading between two updates of the table
Status = Literal["new", "running", "ok", "uncertain", "escalated", "failed", "other model"]
OF_ANOTHER = "Another model has classified it. Classify it with this one, or choose the answers of that one."
CLASSIFIED: tuple[Status, ...] = ("ok", "uncertain", "escalated")
STATUS_NAMES = {
    "ok": "ok",
    "classified": "classified, some to be read first",
    "uncertain": "uncertain",
    "escalated": "escalated",
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
    path, slide_id
        File and name of the slide.
    status
        Whether it is classified, and how that ended.
    message
        Why it has no prediction, or how it was read.
    reason
        Why it failed in one word: see `lrmil.slides.failures.Failure`.
    row
        Its line of the table of results, None until it has one.
    fingerprint
        Hash of the slide, "" until it was classified by any model.
    mpp
        um/px of level 0 that were given by hand when it was classified.
    duplicate_name
        Whether another file of the list has its name; such slides are not classified.
    part
        Share of it that has been read while it is running, 0 to 1.
    models
        Hashes of the models that answered to it, the latest last.
    """

    path: Path
    slide_id: str
    status: Status = "new"
    message: str = ""
    reason: str = ""
    row: "PredictionRow | None" = None
    fingerprint: str = ""
    mpp: float | None = None
    duplicate_name: bool = False
    part: float = 0.0
    models: tuple[str, ...] = ()

    @property
    def source(self) -> SlideSource:
        """The slide as the core takes it."""
        return SlideSource(self.slide_id, self.path, self.mpp)

    @property
    def done(self) -> bool:
        """Whether the model whose answers are listed has classified it."""
        return self.status in CLASSIFIED

    @property
    def label(self) -> str:
        """Class that it is answered with."""
        return self.row.label if self.row and self.done else ""

    @property
    def probability(self) -> float | None:
        """Probability of that class."""
        return self.row.probabilities.get(self.row.label) if self.row and self.done else None


def scan(folder: Path, results: Path, bundle_sha256: str) -> Iterator[Step[list[Entry]]]:
    """Find the slides of a folder and the saved result of each.

    Parameters
    ----------
    folder
        Folder of the slides, which is searched with the folders below it.
    results
        Folder of all results.
    bundle_sha256
        Hash of the model whose answers are listed; "" for the one that the list was classified with last.

    Yields
    ------
    Step
        First all slides as new ones, then slides with their saved results, some at a time.

    Raises
    ------
    SlideError
        If the folder does not exist or cannot be listed.
    """
    _require_folder(folder)
    entries = entries_of(find_slides(folder))
    yield Step(FIND, 0, len(entries), "slides", entries)
    memory = read_memory(list_file(results, folder, ".json"))
    reported, known = time.monotonic(), []
    for done, entry in enumerate(entries, 1):
        known.append(_saved_or_failed(entry, results, bundle_sha256 or memory.bundle_sha256, memory))
        if time.monotonic() - reported > CHUNK_S or done == len(entries):
            yield Step(("read results",), done, len(entries), "slides", known)
            reported, known = time.monotonic(), []


def entries_of(paths: Sequence[Path]) -> list[Entry]:
    """Return an entry for every slide; files that share a name have failed."""
    entries = [Entry(path, slide_id_of(path)) for path in paths]
    duplicates = duplicate_names([entry.source for entry in entries])
    return [
        replace(failed(entry, duplicates[entry.path]), duplicate_name=True) if entry.path in duplicates else entry
        for entry in entries
    ]


def with_saved_result(entry: Entry, results: Path, bundle_sha256: str, memory: Memory) -> Entry:
    """Return an entry with the result in its folder, or the failure in the memory of the list.

    Parameters
    ----------
    entry
        The slide.
    results
        Folder of all results.
    bundle_sha256
        Hash of the model in use.
    memory
        The memory of the list.

    Raises
    ------
    FormatError
        If the saved prediction is damaged.
    """
    from lrmil.prediction.files import read_prediction

    answers = answers_of(results, entry.slide_id, entry.path)
    entry = replace(entry, models=tuple(answers))
    out = answers.get(bundle_sha256) or next(reversed(answers.values()), None)
    prediction = None if out is None else read_prediction(out, entry.slide_id)
    if out is None or prediction is None:
        known = entry
    elif is_of_file(entry.path, prediction, out / f"{entry.slide_id}.json"):
        known = with_prediction(entry, prediction, bundle_sha256)
    else:
        known = replace(entry, message="The file was changed after it was classified. Classify it again.")
    failure = memory.failure_of(case_folder(results, entry.slide_id, entry.path).name, bundle_sha256)
    if not failure or known.done or failure.get("stamp") != stamp_of(entry.path):
        return known
    return failed(known, Failure(str(failure.get("reason", "")), str(failure.get("message", ""))))


def with_prediction(entry: Entry, prediction: "Prediction", bundle_sha256: str) -> Entry:
    """Return an entry with its prediction, which counts only if it is of the model whose answers are listed."""
    from lrmil.prediction.table import row_of

    mpp = prediction.mpp if prediction.mpp_source == "override" else None
    models = tuple(dict.fromkeys([*entry.models, prediction.bundle_sha256]))
    entry = replace(entry, reason="", mpp=mpp, models=models, fingerprint=prediction.slide_fingerprint)
    if prediction.bundle_sha256 != bundle_sha256:
        return replace(entry, status="other model", message=OF_ANOTHER, row=None)
    row = row_of(entry.slide_id, prediction)
    status: Status = next((name for name in CLASSIFIED if name == prediction.status), "ok")
    doubts = doubts_in_words(prediction.reasons, prediction.task)
    words = [f"Uncertain: {doubts}."] if doubts else []
    message = reworded(" ".join([*words, *row.notes]))
    return replace(entry, status=status, message=message, row=row)


def with_new_results(entries: Sequence[Entry], results: Path, bundle_sha256: str, memory: Memory) -> list[Entry]:
    """Return the entries, with saved results that were not read yet, as while the folder is scanned.

    Parameters
    ----------
    entries
        The slides.
    results, bundle_sha256, memory
        As in `with_saved_result`.
    """

    def is_unread(entry: Entry) -> bool:
        return entry.status == "new" and bool(answers_of(results, entry.slide_id, entry.path))

    return [_saved_or_failed(entry, results, bundle_sha256, memory) if is_unread(entry) else entry for entry in entries]


def unread(entry: Entry) -> Entry:
    """Return an entry as before its saved result is read, as when the answers of another model are listed."""
    if entry.duplicate_name:
        return entry
    return Entry(entry.path, entry.slide_id, mpp=entry.mpp, models=entry.models)


def row_of_entry(entry: Entry) -> "PredictionRow":
    """Return the line of an entry in the table of results."""
    from lrmil.prediction.table import PredictionRow

    if entry.row and entry.done:
        return entry.row
    return PredictionRow(entry.slide_id, entry.status, reason=entry.reason, message=entry.message)


def failed_by(entry: Entry, error: Exception) -> Entry:
    """Return an entry that failed with an exception, with a message for the window.

    Raises
    ------
    EncoderError, ModelError, OutputError, Stopped
        If `error` is one of these: they concern the run, not the slide.
    """
    reason = failure_of(error, entry.source).reason
    return failed(entry, Failure(reason, explain_slide(error, entry.path)))


def failed(entry: Entry, why: Failure) -> Entry:
    """Return an entry that failed."""
    return replace(entry, status="failed", reason=why.reason, message=why.message, row=None, fingerprint="")


def summary(entries: Sequence[Entry], reviewed: int, hidden: int) -> str:
    """Count the list in one line.

    Parameters
    ----------
    entries
        The slides.
    reviewed
        Number of reviewed ones.
    hidden
        Number of results that wait for the reader's own label; with any, all that are classified count together.
    """
    if not entries:
        return "No slides."
    counts = Counter[str](entry.status for entry in entries)
    if hidden:
        counts["classified"] = sum(counts.pop(name, 0) for name in CLASSIFIED)
    parts = [f"{counts[status]} {name}" for status, name in STATUS_NAMES.items() if counts[status]]
    slides = "1 slide" if len(entries) == 1 else f"{len(entries)} slides"
    return f"{slides}: {', '.join(parts)}; {reviewed} reviewed"


def _require_folder(folder: Path) -> None:
    try:
        next(folder.iterdir(), None)
    except FileNotFoundError:
        raise SlideError(
            f"{folder} cannot be read: there is no such folder. Choose another, or check that its disk is connected."
        ) from None
    except OSError as error:
        raise SlideError(
            f"{folder} cannot be read: {error.strerror}. Choose another folder, or check its permissions."
        ) from error


def _saved_or_failed(entry: Entry, results: Path, bundle_sha256: str, memory: Memory) -> Entry:
    if entry.duplicate_name:
        return entry
    outcome = finish(lambda _: with_saved_result(entry, results, bundle_sha256, memory), entry.source)
    if outcome.error is not None:
        return failed_by(entry, outcome.error)
    return outcome.value or entry
