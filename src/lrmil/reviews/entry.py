"""One entry of a review log, a person's word on a model's output, and the checks of its values."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from lrmil import __version__
from lrmil.errors import ConfigError
from lrmil.tasks.choice import is_task

MAX_NOTE = 10_000  # characters
MAX_TEXT = 1_000  # characters of every other text
ROUNDING = 1e-6  # how far outside 0 to 1 a probability may be
HALF = re.compile("[\ud800-\udfff]")  # a surrogate, which UTF-8 cannot encode
Event = Literal["read", "review", "withdraw"]
Decision = Literal["agree", "override", "uncertain"]
ReviewKey = tuple[str, str]


def now() -> str:
    """Return the current time for a review: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """One entry of the log.

    Attributes
    ----------
    event
        "read": the person's own label, given before the output was shown. "review": the decision on the output.
        "withdraw": the same values again, of a review that its author takes back.
    slide_id, slide_fingerprint, bundle_sha256
        Name of the slide, hash of its samples, and hash of the model.
    output_label, output_probabilities, output_status
        The model's answer; the probabilities of all classes by name, 0 to 1.
    decision
        "agree", "override" or "uncertain"; None for a "read".
    human_label
        The person's label, "" when uncertain.
    note, reviewer
        Free text and an id; both may be "".
    human_first
        Whether the person labelled the slide before the output was shown.
    seconds_viewed
        Seconds from showing the output to saving; None if not measured.
    time, version
        Time in UTC, ISO 8601, and version of lrmil.
    task
        Name of the model's task; "" for a classification.
    withdraws
        Time of the review that is taken back; "" in other entries.
    regions
        The part of the slide that the output is about, such as "inside 2 regions"; "" for all of it.

    Raises
    ------
    ConfigError
        If the values contradict each other, a number or the time is invalid, the note is longer than 10,000 characters,
        another text is longer than 1,000, or a text cannot be stored as UTF-8.
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
    version: str = __version__
    task: str = ""
    withdraws: str = ""
    regions: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "output_probabilities", dict(self.output_probabilities)
        )  # the caller may change the original
        if fault := _find_bad_value(self) or find_contradiction(self):
            raise ConfigError(f"Expected {fault}.")

    @property
    def key(self) -> ReviewKey:
        """What the output is of (`review_key`)."""
        return review_key(self.slide_fingerprint, self.bundle_sha256, self.regions)


def review_key(slide_fingerprint: str, bundle_sha256: str, regions: str = "") -> ReviewKey:
    """Return what a review and the output that it is about have in common.

    Parameters
    ----------
    slide_fingerprint, bundle_sha256, regions
        As in `Review`. A review of a part of a slide is none of the whole.
    """
    return slide_fingerprint, f"{bundle_sha256} {regions}".rstrip()


def plain_of(review: Review) -> dict[str, object]:
    """Return an entry as plain values, JSON-ready; the task of a classification is not named."""
    return {name: value for name, value in asdict(review).items() if value or name not in LEFT_OUT}


def _find_bad_value(review: Review) -> str:
    """Return what was expected of the first invalid value, and what was found; "" if each value is valid."""
    if review.event not in get_args(Event) or review.decision not in (*get_args(Decision), None):
        return f"a known event and decision. Got {review.event!r} and {review.decision!r}"
    classes = [("class", name) for name in review.output_probabilities]
    for name, text in [*((name, getattr(review, name)) for name in TEXTS), *classes]:
        limit = MAX_NOTE if name == "note" else MAX_TEXT
        if len(text) > limit:
            return f"a {name} of at most {limit} characters. Got {len(text)}; shorten it"
        if not text.isascii() and HALF.search(text):
            return f"a {name} that UTF-8 can store. Got half a character (a surrogate); type it again"
    if review.seconds_viewed is not None and not 0 <= review.seconds_viewed < math.inf:
        return f"seconds of 0 or more. Got {review.seconds_viewed}"
    if not is_utc(review.time):
        return f"a time in UTC such as 2026-01-31T12:00:00+00:00. Got {review.time!r}"
    return ""


def _find_bad_output(review: Review) -> str:
    label, values = review.output_label, review.output_probabilities
    if not is_task(review.task):
        return f"a task that this version knows. Got {review.task!r}; update lrmil"
    if review.task and not all(map(math.isfinite, values.values())):
        return f"values that are numbers. Got {values}"
    if review.task:
        return ""
    if not all(-ROUNDING <= chance <= 1 + ROUNDING for chance in values.values()):
        return f"probabilities from 0 to 1. Got {values}"
    return "" if label in values else f"a probability of the model's label {label!r}. Got {list(values)}"


def is_utc(time: str) -> bool:
    """Return whether a text is a time in UTC in ISO 8601."""
    try:
        return datetime.fromisoformat(time).utcoffset() == timedelta(0)
    except ValueError:
        return False


def find_contradiction(review: Review) -> str:
    """Return what was expected of values that contradict each other, and what was found; "" if none do."""
    if problem := _find_bad_output(review):
        return problem
    if (review.event == "read") != (review.decision is None):
        return f"a decision in a review, and none in a read. Got {review.decision!r} in a {review.event}"
    if (review.event == "withdraw") != is_utc(review.withdraws):
        return f"the time of a review in a withdrawal alone. Got {review.withdraws!r} in a {review.event}"
    if review.decision == "agree" and review.human_label != review.output_label:
        return f"the model's label {review.output_label!r} with the decision agree. Got {review.human_label!r}"
    if review.decision == "override" and review.human_label in ("", review.output_label):
        return f"a label other than {review.output_label!r} with the decision override. Got {review.human_label!r}"
    if review.decision == "uncertain" and review.human_label:
        return f"no label with the decision uncertain. Got {review.human_label!r}"
    if review.event == "read" and not review.human_label:
        return "a label in a read. Got an empty one"
    return ""


LEFT_OUT = ("task", "withdraws", "regions")  # of an entry in which they are empty
NAMES = tuple(one.name for one in fields(Review))
TEXTS = tuple(sorted(set(NAMES) - {"event", "decision", "output_probabilities", "human_first", "seconds_viewed"}))
