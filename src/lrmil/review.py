"""What a person said of a model's output: an append-only log of JSON lines, format lrmil.review/1."""

import importlib.metadata
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from lrmil.errors import ConfigError, FormatError, ReviewError
from lrmil.ownership import is_lock, require_free
from lrmil.untrusted import check_plain

FORMAT = "lrmil.review/1"
LONGEST_NOTE = 10_000  # characters
LONGEST_TEXT = 1_000  # characters of every other text
ROUNDING = 1e-6  # a probability may be as far outside of 0 to 1
PATIENCE = 10.0  # seconds that another writer may hold the log
Event = Literal["read", "review"]
Decision = Literal["agree", "override", "uncertain"]
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
        If the parts contradict each other, a figure or the time makes no sense, the note is longer than 10,000
        characters or another text than 1,000, or a text cannot be stored as UTF-8.
    """

    event: Event
    slide_id: str
    slide_fingerprint: str
    bundle_sha256: str
    output_label: str
    output_probabilities: Mapping[str, float]
    output_status: str
    decision: Decision | None = None
    human_label: str = ""
    note: str = ""
    reviewer: str = ""
    human_first: bool = False
    seconds_viewed: float | None = None
    time: str = field(default_factory=now)
    version: str = field(default_factory=version)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "output_probabilities", dict(self.output_probabilities)
        )  # the caller may change its own
        problem = _misfit(self) or _contradiction(self)
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
        require_free(Path(f"{log}.lock"), is_lock)
        with FileLock(f"{log}.lock", timeout=PATIENCE), log.open("ab+") as file:
            file.seek(0, os.SEEK_END)
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else "\n" + line
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
    except (OSError, Timeout, NotImplementedError) as error:  # the last: a file system that knows no locks
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
        check_plain(log)
        lines = log.read_bytes().split(b"\n")
    except FileNotFoundError:
        return ReviewLog((), ())
    except (OSError, FormatError) as error:
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
        if isinstance(found, str) and found.startswith(VERSIONS) and found != FORMAT:
            raise FormatError(f"Expected the format {FORMAT} in {log}. Got {found!r}; update lrmil.")
        # A field that is left out must not be filled in with what is true today, such as the time.
        if found != FORMAT or document.keys() != NAMES:
            return None
        return _ADAPTER.validate_json(json.dumps(document), strict=True)
    except FormatError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _misfit(review: Review) -> str:
    """What is wrong with the values taken one by one, as what was expected; "" when nothing is."""
    if review.event not in get_args(Event) or review.decision not in (*get_args(Decision), None):
        return f"a known event and decision. Got {review.event!r} and {review.decision!r}"
    classes = [("class", name) for name in review.output_probabilities]
    for name, text in [*((name, getattr(review, name)) for name in TEXTS), *classes]:
        longest = LONGEST_NOTE if name == "note" else LONGEST_TEXT
        if len(text) > longest:
            return f"a {name} of at most {longest} characters. Got {len(text)}; shorten it"
        if any("\ud800" <= character <= "\udfff" for character in text):
            return f"a {name} of whole characters. Got half of one (a surrogate); type it again"
    if not all(-ROUNDING <= chance <= 1 + ROUNDING for chance in review.output_probabilities.values()):
        return f"probabilities from 0 to 1. Got {review.output_probabilities}"
    if review.seconds_viewed is not None and not 0 <= review.seconds_viewed < math.inf:
        return f"seconds of 0 or more. Got {review.seconds_viewed}"
    if not _is_utc(review.time):
        return f"a time in UTC such as 2026-01-31T12:00:00+00:00. Got {review.time!r}"
    return ""


def _is_utc(time: str) -> bool:
    try:
        return datetime.fromisoformat(time).utcoffset() == timedelta(0)
    except ValueError:
        return False


def _contradiction(review: Review) -> str:
    """What is wrong with the values taken together, as what was expected; "" when nothing is."""
    if review.output_label not in review.output_probabilities:
        return f"a probability of the model's label {review.output_label!r}. Got {list(review.output_probabilities)}"
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
NAMES = {one.name for one in fields(Review)}
TEXTS = tuple(sorted(NAMES - {"event", "decision", "output_probabilities", "human_first", "seconds_viewed"}))
VERSIONS = FORMAT.partition("/")[0] + "/"
