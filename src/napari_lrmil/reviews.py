"""The review log as the window needs it: read again only when it has changed, and asked by slide, model and reader."""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from lrmil.errors import LrmilError
from lrmil.review import Review, ReviewKey, ReviewLog, latest_reviews, read_reviews


def reviews_in(log: Path) -> ReviewLog:
    """Read the log; empty where there is none, or what lies there cannot be read as one (writing to it says why)."""
    try:
        stat = log.stat()
        return _read(log, stat.st_size, stat.st_mtime_ns)
    except (OSError, LrmilError):
        return ReviewLog((), ())


def latest_in(log: Path) -> dict[ReviewKey, Review]:
    """Newest review of each slide and model."""
    return latest_reviews(reviews_in(log).reviews)


def read_by(reviews: Iterable[Review], reviewer: str) -> set[str]:
    """Fingerprints of the slides that this reader has a record of: hiding the output from them is over."""
    return {one.slide_fingerprint for one in reviews if one.reviewer == reviewer}


def described(review: Review, *, timed: bool = False) -> str:
    """Say what was decided, such as "agree, positive", and on demand when, in the time of this place."""
    words = [word for word in (review.decision, review.human_label) if word]
    return ", ".join([*words, _moment(review.time)] if timed else words)


def _moment(time: str) -> str:
    moment = datetime.fromisoformat(time).astimezone()
    today = moment.date() == datetime.now().astimezone().date()
    return f"{moment:%H:%M}" if today else f"{moment:%Y-%m-%d %H:%M}"


@lru_cache(maxsize=2)
def _read(log: Path, size: int, changed_ns: int) -> ReviewLog:
    return read_reviews(log)
