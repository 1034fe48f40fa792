"""Take a review back by a line of its own in the log, which only grows; the other entries stand."""

from collections.abc import Iterable
from dataclasses import replace

from lrmil import __version__
from lrmil.reviews.entry import Review, now


def withdrawal_of(review: Review) -> Review:
    """Return the entry that takes a review back.

    Raises
    ------
    ConfigError
        If it is not a review.
    """
    return replace(review, event="withdraw", withdraws=review.time, time=now(), version=__version__)


def standing(reviews: Iterable[Review]) -> list[Review]:
    """Return the entries that count: all but withdrawals and the reviews before them that they take back.

    Parameters
    ----------
    reviews
        Entries of one log, in its order.
    """
    found: list[Review | None] = []
    places: dict[object, list[int]] = {}
    for review in reviews:
        if review.event == "withdraw":
            for place in places.pop(_about(review, review.withdraws), []):
                found[place] = None
        else:
            if review.event == "review":
                places.setdefault(_about(review, review.time), []).append(len(found))
            found.append(review)
    return [review for review in found if review is not None]


def _about(review: Review, time: str) -> object:
    """Return what a withdrawal and its review have in common."""
    return review.key, review.slide_id, review.reviewer, review.decision, review.human_label, time
