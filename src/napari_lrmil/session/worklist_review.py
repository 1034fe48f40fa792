"""What the review log says of the slides of a list: how each was reviewed, and whether its result is hidden."""

from collections.abc import Callable
from typing import NamedTuple

from napari_lrmil.session.blinding import may_see
from napari_lrmil.session.session import Session
from napari_lrmil.state.known_models import known_models, title_of
from napari_lrmil.state.review_log import described, latest_in, of_other_models, read_by
from napari_lrmil.state.worklist import Entry


class Judgement(NamedTuple):
    """What a line of the worklist shows of its reviews."""

    reviewed: str
    """Decision and label of the newest review of the answer that is listed, "" without one."""
    hidden: bool
    """Whether the model's result waits for the reader's own label."""
    earlier: str = ""
    """Without such a review, that of another model's answer, with the name of the model; "" without one."""


Judge = Callable[[Entry], Judgement]


def judge_by(session: Session, bundle_sha256: str) -> Judge:
    """Return the function that judges a slide by the review log as it is now.

    Parameters
    ----------
    session
        Gives the log, the reader, and whether they asked to read first.
    bundle_sha256
        Hash of the model whose reviews count.
    """
    log, read_first = session.review_log, session.read_first
    latest, recorded = latest_in(log), read_by(log, session.reviewer)
    known = known_models(session.preferences.results)

    def earlier(entry: Entry) -> str:
        review = of_other_models(log, entry.fingerprint, bundle_sha256) if entry.fingerprint else None
        return f"{described(review)} ({title_of(review.bundle_sha256, known)})" if review else ""

    def judge(entry: Entry) -> Judgement:
        if not entry.done:
            return Judgement("", hidden=False, earlier=earlier(entry))
        review = latest.get((entry.fingerprint, bundle_sha256))
        hidden = not may_see(entry.fingerprint, recorded, read_first=read_first)
        if review:
            return Judgement(described(review), hidden)
        return Judgement("", hidden, earlier(entry))

    return judge
