"""One entry of a review log: what a person said of a model's output, and what of it makes sense together."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from lrmil import __version__
from lrmil.errors import ConfigError

MAX_NOTE = 10_000  # characters
MAX_TEXT = 1_000  # characters of every other text
ROUNDING = 1e-6  # a probability may be as far outside of 0 to 1
HALF = re.compile("[\ud800-\udfff]")  # half a character, which UTF-8 cannot hold
Event = Literal["read", "review"]
Decision = Literal["agree", "override", "uncertain"]
ReviewKey = tuple[str, str]


def now() -> str:
    """The time of a review: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


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
    version: str = __version__

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "output_probabilities", dict(self.output_probabilities)
        )  # the caller may change its own
        problem = _find_bad_value(self) or find_contradiction(self)
        if problem:
            raise ConfigError(f"Expected {problem}.")

    @property
    def key(self) -> ReviewKey:
        """Slide and model that the entry is about."""
        return self.slide_fingerprint, self.bundle_sha256


def _find_bad_value(review: Review) -> str:
    """What is wrong with the values taken one by one, as what was expected; "" when nothing is."""
    if review.event not in get_args(Event) or review.decision not in (*get_args(Decision), None):
        return f"a known event and decision. Got {review.event!r} and {review.decision!r}"
    classes = [("class", name) for name in review.output_probabilities]
    for name, text in [*((name, getattr(review, name)) for name in TEXTS), *classes]:
        longest = MAX_NOTE if name == "note" else MAX_TEXT
        if len(text) > longest:
            return f"a {name} of at most {longest} characters. Got {len(text)}; shorten it"
        if not text.isascii() and HALF.search(text):
            return f"a {name} of whole characters. Got half of one (a surrogate); type it again"
    if not all(-ROUNDING <= chance <= 1 + ROUNDING for chance in review.output_probabilities.values()):
        return f"probabilities from 0 to 1. Got {review.output_probabilities}"
    if review.seconds_viewed is not None and not 0 <= review.seconds_viewed < math.inf:
        return f"seconds of 0 or more. Got {review.seconds_viewed}"
    if not is_utc(review.time):
        return f"a time in UTC such as 2026-01-31T12:00:00+00:00. Got {review.time!r}"
    return ""


def is_utc(time: str) -> bool:
    """Return whether a text is a time in UTC, ISO 8601."""
    try:
        return datetime.fromisoformat(time).utcoffset() == timedelta(0)
    except ValueError:
        return False


def find_contradiction(review: Review) -> str:
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


NAMES = tuple(one.name for one in fields(Review))
TEXTS = tuple(sorted(set(NAMES) - {"event", "decision", "output_probabilities", "human_first", "seconds_viewed"}))
