"""The read-first rule: on demand a slide's output is hidden until the reader has recorded a label of their own.

Pure: `Session` keeps the `Blinding`, reads the clock and the review log, and emits the changes. The worklist asks
`may_see` for each of its lines.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from lrmil.reviews.log import Review


@dataclass(frozen=True, slots=True)
class Blinding:
    """What the reader may see of the slide that is shown, and what they have seen already.

    Made by the functions below for `Session`; views read it and never change it.

    Attributes
    ----------
    read_first
        Whether the reader asked that a slide's output is hidden until their own label is recorded.
    fingerprint
        Hash of the slide that is shown, None when there is none.
    complete
        Whether that slide has been read to its end.
    revealed
        Whether views may show the model's output.
    changed_at
        Moment of the last change of what is visible, in seconds of a monotonic clock.
    seen_slides
        Fingerprints of the slides whose output has been visible since the viewer was opened.
    """

    read_first: bool = False
    fingerprint: str | None = None
    complete: bool = False
    revealed: bool = True
    changed_at: float = 0.0
    seen_slides: frozenset[str] = frozenset()

    @property
    def seen(self) -> bool:
        """Whether the output of the slide that is shown has been visible."""
        return self.fingerprint in self.seen_slides


def may_see(fingerprint: str, recorded: AbstractSet[str], *, read_first: bool) -> bool:
    """Return whether a reader may see the output of a slide.

    Parameters
    ----------
    fingerprint
        Hash of the slide.
    recorded
        Fingerprints of the slides that this reader has a record of in the review log.
    read_first
        Whether the reader asked for the rule.
    """
    return not read_first or fingerprint in recorded


def was_read_first(fingerprint: str, reviewer: str, reviews: Iterable[Review]) -> bool:
    """Return whether a reader recorded a label of their own before they saw the output of a slide.

    Parameters
    ----------
    fingerprint
        Hash of the slide.
    reviewer
        Name of the reader, "" when it is not given.
    reviews
        Entries of the review log.
    """
    reads = (one for one in reviews if one.event == "read" and one.human_first)
    return any((one.slide_fingerprint, one.reviewer) == (fingerprint, reviewer) for one in reads)


def show_slide(
    blinding: Blinding, fingerprint: str | None, recorded: AbstractSet[str], *, complete: bool, now: float
) -> Blinding:
    """Return the state once another prediction, or none, is shown.

    Parameters
    ----------
    fingerprint
        Hash of its slide, None when nothing is shown.
    recorded
        As in `may_see`.
    complete
        Whether the slide has been read to its end.
    now
        Seconds of a monotonic clock.
    """
    if (blinding.fingerprint, blinding.complete) != (fingerprint, complete):
        blinding = replace(blinding, fingerprint=fingerprint, complete=complete, changed_at=now)
    return decide(blinding, recorded, now=now)


def set_read_first(blinding: Blinding, recorded: AbstractSet[str], *, read_first: bool, now: float) -> Blinding:
    """Return the state once the rule is switched on or off; parameters as in `show_slide`."""
    return decide(replace(blinding, read_first=read_first), recorded, now=now)


def decide(blinding: Blinding, recorded: AbstractSet[str], *, now: float) -> Blinding:
    """Return the state that follows from the rule, as after another reader's name; parameters as in `show_slide`."""
    fingerprint = blinding.fingerprint
    visible = fingerprint is None or may_see(fingerprint, recorded, read_first=blinding.read_first)
    return _set_revealed(blinding, visible=visible, now=now)


def reveal(blinding: Blinding, *, now: float) -> Blinding:
    """Return the state once the reader's own label of the slide is recorded."""
    return _set_revealed(blinding, visible=True, now=now)


def _set_revealed(blinding: Blinding, *, visible: bool, now: float) -> Blinding:
    if visible != blinding.revealed:
        blinding = replace(blinding, revealed=visible, changed_at=now)
    if visible and blinding.fingerprint is not None and not blinding.seen:
        blinding = replace(blinding, seen_slides=blinding.seen_slides | {blinding.fingerprint})
    return blinding
