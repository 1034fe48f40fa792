"""What a model learned from, as keyed hashes, in which a slide or case can be looked up."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import Field, with_config

from lrmil.io.plain_data import CLOSED
from lrmil.models.keyed_hashes import Hash, Key, find_member, keyed_hash, new_key

MEMBER = "learned_from"  # of bundle.json
MAX_HASHES = 50_000  # so that bundle.json stays below the size at which it is refused
SEEN = (
    "The model learned from this slide or was selected on it: its answer here does not show how it does on new slides."
)


@with_config(CLOSED)
@dataclass(frozen=True, slots=True)
class LearnedFrom:
    """Keyed hashes of the slides and cases that a model learned from, or that selected or calibrated it.

    Attributes
    ----------
    key
        Key of the hashes, in hex.
    slides
        Sorted hashes of the fingerprints of the slides (`Slide.fingerprint`).
    cases
        Sorted hashes of the ids of the cases.
    """

    key: Key
    slides: Annotated[tuple[Hash, ...], Field(max_length=MAX_HASHES)]
    cases: Annotated[tuple[Hash, ...], Field(max_length=MAX_HASHES)]

    def has_slide(self, fingerprint: str) -> bool:
        """Return whether the slide with this fingerprint is among the slides."""
        return keyed_hash(self.key, "slide", fingerprint) in self.slides

    def has_case(self, case_id: str) -> bool:
        """Return whether the case of this id is among the cases."""
        return keyed_hash(self.key, "case", case_id) in self.cases

    def to_dict(self) -> dict[str, object]:
        """Return what bundle.json states."""
        return {"key": self.key, "slides": list(self.slides), "cases": list(self.cases)}

    @classmethod
    def from_dict(cls, document: Mapping[str, object]) -> Self | None:
        """Return what bundle.json states; None in those of earlier versions.

        Raises
        ------
        FormatError
            If it is damaged.
        """
        return find_member(document, MEMBER, cls)


def keep_hashes(fingerprints: Iterable[str], cases: Iterable[str], origin: object) -> LearnedFrom | None:
    """Return the keyed hashes of slides and cases; None if they are more than `MAX_HASHES`.

    Parameters
    ----------
    fingerprints
        Of the slides.
    cases
        Ids of the cases.
    origin
        As for `lrmil.models.keyed_hashes.new_key`.
    """
    key = new_key(MEMBER, origin)
    slides = tuple(sorted({keyed_hash(key, "slide", one) for one in fingerprints}))
    if len(slides) > MAX_HASHES:
        return None
    return LearnedFrom(key, slides, tuple(sorted({keyed_hash(key, "case", one) for one in cases})))


def seen_note(learned: LearnedFrom | None, fingerprint: str) -> tuple[str, ...]:
    """Return a sentence for a prediction if the model has seen its slide; () if not, or if that is not known.

    Parameters
    ----------
    learned
        What the model learned from, if it states it.
    fingerprint
        Of the slide.
    """
    return (SEEN,) if learned is not None and learned.has_slide(fingerprint) else ()
