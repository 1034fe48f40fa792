"""What a person said of a model's output: an append-only log of JSON lines, format lrmil.review/1."""

import importlib.metadata
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from lrmil.errors import ConfigError, FormatError, ReviewError

FORMAT = "lrmil.review/1"
LONGEST_NOTE = 10_000  # characters
PATIENCE = 10.0  # seconds that another writer may hold the log
ReviewKey = tuple[str, str]


def now() -> str:
    """The time of a review: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def version() -> str:
    """The version that writes a review."""
    return importlib.metadata.version("napari-lrmil")


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One entry of the log.

    Attributes
    ----------
    event
        "read": the person's own label, given before the output was shown; "review": the word on the output.
    slide_id, slide_fingerprint, bundle_sha256
        Slide and model.
    output_label, output_probabilities, output_status
        What the model said.
    decision
        "agree", "override" or "uncertain"; None for a "read".
    human_label
        The person's label, "" when uncertain.
    note, reviewer
        Free text and an id, both may be "".
    human_first
        Whether the person had labelled the slide before the output was shown.
    seconds_viewed
        Seconds between showing the output and saving, None where that was not measured.
    time, version
        When, in UTC, and by which version.

    Raises
    ------
    ConfigError
        If the parts contradict each other, or the note is longer than 10,000 characters.
    """

    event: Literal["read", "review"]
    slide_id: str
    slide_fingerprint: str
    bundle_sha256: str
    output_label: str
    output_probabilities: Mapping[str, float]
    output_status: str
    decision: Literal["agree", "override", "uncertain"] | None = None
    human_label: str = ""
    note: str = ""
    reviewer: str = ""
    human_first: bool = False
    seconds_viewed: float | None = None
    time: str = field(default_factory=now)
    version: str = field(default_factory=version)

    def __post_init__(self) -> None:
        problem = _contradiction(self)
        if problem:
            raise ConfigError(f"Expected {problem}.")

    @property
    def key(self) -> ReviewKey:
        """Slide and model that the entry is about."""
        return self.slide_fingerprint, self.bundle_sha256


class ReviewLog(NamedTuple):
    """The entries of a log in their order, and the numbers of the lines that hold none."""

    reviews: tuple[Review, ...]
    unreadable: tuple[int, ...]


def append_review(log: Path, review: Review) -> None:
    """Add one line to the log and flush it to disk; earlier lines are never touched.

    Two writers wait for each other. A line that a killed writer left half-written keeps its own place.

    Raises
    ------
    ReviewError
        If the log cannot be written.
    """
    line = json.dumps({"format": FORMAT, **asdict(review)}, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{log}.lock", timeout=PATIENCE), log.open("ab+") as file:
            file.seek(0, os.SEEK_END)
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else "\n" + line
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
    except (OSError, Timeout) as error:
        raise ReviewError(
            f"Expected to add a line to the review log {log}. Got: {error}. What was entered is not saved yet: free "
            "the disk or choose another results folder, then save again."
        ) from error


def read_reviews(log: Path) -> ReviewLog:
    """Read a log; an absent one is empty, and broken lines are counted, not fatal.

    Raises
    ------
    FormatError
        If a line is of another version.
    ReviewError
        If the file cannot be read at all.
    """
    try:
        lines = log.read_bytes().split(b"\n")
    except FileNotFoundError:
        return ReviewLog((), ())
    except OSError as error:
        raise ReviewError(f"Expected a readable review log at {log}. Got: {error}; check the path.") from error
    reviews: list[Review] = []
    unreadable: list[int] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        review = _parse(line, log)
        if review is None:
            unreadable.append(number)
        else:
            reviews.append(review)
    return ReviewLog(tuple(reviews), tuple(unreadable))


def latest_reviews(reviews: Iterable[Review]) -> dict[ReviewKey, Review]:
    """Give the last "review" of each slide and model, in the order of the log."""
    return {one.key: one for one in reviews if one.event == "review"}


def _parse(line: bytes, log: Path) -> Review | None:
    try:
        document = json.loads(line)
        found = document.pop("format")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if found != FORMAT:
        raise FormatError(f"Expected the format {FORMAT} in {log}. Got {found!r}; update lrmil.")
    try:
        return _ADAPTER.validate_json(json.dumps(document), strict=True, extra="forbid")
    except (ValidationError, ConfigError):
        return None


def _contradiction(review: Review) -> str:
    """What is wrong with an entry, as what was expected; "" when nothing is."""
    if len(review.note) > LONGEST_NOTE:
        return f"a note of at most {LONGEST_NOTE} characters. Got {len(review.note)}; shorten it"
    if (review.event == "read") != (review.decision is None):
        return f"a decision in a review and none in a read. Got {review.decision!r} in a {review.event}"
    if review.decision == "agree" and review.human_label != review.output_label:
        return f"who agrees to give the model's label {review.output_label!r}. Got {review.human_label!r}"
    if review.decision == "override" and review.human_label in ("", review.output_label):
        return f"who overrides to give a label other than {review.output_label!r}. Got {review.human_label!r}"
    if review.decision == "uncertain" and review.human_label:
        return f"no label with the decision uncertain. Got {review.human_label!r}"
    if review.event == "read" and not review.human_label:
        return "a label in a read. Got none"
    return ""


_ADAPTER = TypeAdapter(Review)
