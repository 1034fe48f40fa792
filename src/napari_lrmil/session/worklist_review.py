"""What the review log says of the slides of a list: how each was reviewed, and whether its result is hidden."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from napari_lrmil.session.blinding import may_see
from napari_lrmil.session.session import Session
from napari_lrmil.state.review_log import described, latest_in, read_by
from napari_lrmil.state.worklist import Entry
from napari_lrmil.state.worklist_memory import list_file, read_memory


class Judgement(NamedTuple):
    """What a line of the worklist shows of its reviews."""

    reviewed: str
    """Decision and label of the newest review, "" without one."""
    hidden: bool
    """Whether the model's result waits for the reader's own label."""


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
    latest, recorded = latest_in(session.review_log), read_by(session.review_log, session.reviewer)
    read_first = session.read_first

    def judge(entry: Entry) -> Judgement:
        if not entry.done:
            return Judgement("", hidden=False)
        review = latest.get((entry.fingerprint, bundle_sha256))
        hidden = not may_see(entry.fingerprint, recorded, read_first=read_first)
        return Judgement(described(review) if review else "", hidden)

    return judge


def model_of(session: Session, folder: Path | None) -> str:
    """Return the hash of the model whose results a list shows: the one in use, or else that of its last run.

    Parameters
    ----------
    session
        Gives the model in use.
    folder
        Folder of the list, None when there is none.
    """
    if session.bundle is not None:
        return session.bundle.sha256
    return read_memory(list_file(session.preferences.results, folder, ".json")).bundle_sha256 if folder else ""
