"""The review log for the window: only new lines are read, and reviews are found by slide, model and reader."""

import threading
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from lrmil.errors import LrmilError
from lrmil.reviews.log import Review, ReviewKey, ReviewLog, ReviewReader, latest_reviews


def reviews_in(log: Path) -> ReviewLog:
    """Return the log; empty without one, or if it cannot be read (appending to it then says why)."""
    return _cached_log(log).read().log


def latest_in(log: Path) -> Mapping[ReviewKey, Review]:
    """Return the newest review of each slide and model."""
    return _cached_log(log).read().latest


def of_other_models(log: Path, fingerprint: str, bundle_sha256: str) -> Review | None:
    """Return the newest review of a slide with the answer of another model; None without one.

    Parameters
    ----------
    log
        Path of the log.
    fingerprint, bundle_sha256
        Hash of the slide, and of the model whose reviews do not count here.
    """
    known = _cached_log(log).read()
    others = known.models_of.get(fingerprint, set()) - {bundle_sha256}
    reviews = [known.latest[fingerprint, one] for one in others if (fingerprint, one) in known.latest]
    return max(reviews, key=lambda one: datetime.fromisoformat(one.time), default=None)


def read_by(log: Path, reviewer: str) -> AbstractSet[str]:
    """Return the fingerprints of the slides that this reader has a record of, whose output may be shown to them.

    Parameters
    ----------
    log
        Path of the log.
    reviewer
        Name of the reader, "" when it is not given.
    """
    return _cached_log(log).read().read_by.get(reviewer, frozenset())


def described(review: Review, *, timed: bool = False) -> str:
    """Return what was decided, such as "agree, positive".

    Parameters
    ----------
    review
        A review.
    timed
        Whether to add when, in local time.
    """
    words = [word for word in (review.decision, review.human_label) if word]
    return ", ".join([*words, _moment(review.time)] if timed else words)


def _moment(time: str) -> str:
    moment = datetime.fromisoformat(time).astimezone()
    today = moment.date() == datetime.now().astimezone().date()
    return f"{moment:%H:%M}" if today else f"{moment:%Y-%m-%d %H:%M}"


class _CachedLog:
    """A log of which only new lines are read: a million lines take seconds once, and no time afterwards."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()  # windows and workers ask
        self._reader = ReviewReader(path)
        self._forget()

    def _forget(self) -> None:
        self.log = ReviewLog((), ())
        self.latest: dict[ReviewKey, Review] = {}
        self.read_by: dict[str, set[str]] = {}
        self.models_of: dict[str, set[str]] = {}

    def read(self) -> "_CachedLog":
        """Read what is new."""
        with self._lock:
            try:
                log = self._reader.read()
            except LrmilError:
                self._forget()
                return self
            known = len(self.log.reviews)
            if known and (len(log.reviews) < known or log.reviews[known - 1] is not self.log.reviews[-1]):
                self._forget()  # it is another log
                known = 0
            new, self.log = log.reviews[known:], log
            withdrawn = any(one.event == "withdraw" for one in new)
            self.latest |= latest_reviews(new)
            if withdrawn:  # what it takes back may be any earlier entry, and one before that counts again
                self.latest = latest_reviews(log.reviews)
            for one in new:
                self.read_by.setdefault(one.reviewer, set()).add(one.slide_fingerprint)
                self.models_of.setdefault(one.slide_fingerprint, set()).add(one.bundle_sha256)
        return self


@lru_cache(maxsize=2)
def _cached_log(path: Path) -> _CachedLog:
    return _CachedLog(path)
