"""The review log as the window needs it: read again only when it has changed, and asked by slide, model and reader."""

import threading
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from lrmil.errors import LrmilError
from lrmil.reviews.log import Review, ReviewKey, ReviewLog, ReviewReader, latest_reviews


def reviews_in(log: Path) -> ReviewLog:
    """Read the log; empty where there is none, or what lies there cannot be read as one (writing to it says why)."""
    return _known(log).read().log


def latest_in(log: Path) -> Mapping[ReviewKey, Review]:
    """Newest review of each slide and model."""
    return _known(log).read().latest


def read_by(log: Path, reviewer: str) -> AbstractSet[str]:
    """Fingerprints of the slides that this reader has a record of: hiding the output from them is over."""
    return _known(log).read().read_by.get(reviewer, frozenset())


def described(review: Review, *, timed: bool = False) -> str:
    """Say what was decided, such as "agree, positive", and on demand when, in the time of this place."""
    words = [word for word in (review.decision, review.human_label) if word]
    return ", ".join([*words, _moment(review.time)] if timed else words)


def _moment(time: str) -> str:
    moment = datetime.fromisoformat(time).astimezone()
    today = moment.date() == datetime.now().astimezone().date()
    return f"{moment:%H:%M}" if today else f"{moment:%Y-%m-%d %H:%M}"


class _Known:
    """A log, of which only what is new is read: one of a million lines takes seconds once, and no time afterwards."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()  # windows and workers ask
        self._reader = ReviewReader(path)
        self._forget()

    def _forget(self) -> None:
        self.log = ReviewLog((), ())
        self.latest: dict[ReviewKey, Review] = {}
        self.read_by: dict[str, set[str]] = {}

    def read(self) -> "_Known":
        """Take up what is new."""
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
            self.latest |= latest_reviews(new)
            for one in new:
                self.read_by.setdefault(one.reviewer, set()).add(one.slide_fingerprint)
        return self


@lru_cache(maxsize=2)
def _known(path: Path) -> _Known:
    return _Known(path)
