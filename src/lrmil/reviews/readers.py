"""Who reviewed what: readers by name, the newest review of each, and their own answer before the output was shown."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from lrmil.reviews.several import Said, SlideKey, age, newest


@dataclass(frozen=True, slots=True, order=True)
class Reader:
    """A reader: a name is one person in all logs; without one, each log has a reader of its own."""

    name: str
    log: str = ""
    """Path of the log of a reader without a name; "" for others."""

    @property
    def title(self) -> str:
        """What to call the reader."""
        return self.name or f"unnamed in {self.log}"


@dataclass(frozen=True, slots=True)
class Switches:
    """What became of the answers that readers gave before the output was shown.

    Attributes
    ----------
    answered
        Number of reviews of readers who had answered first.
    changed
        How many have another label than the answer: `to_model` that of the model, `from_model` another although the
        answer was that of the model, and others neither.
    uncertain
        How many have no label any more.
    rate
        `changed` / `answered`; None if there is no such review.
    without_answer
        Reviews that say that the reader answered first, while no log has the answer.
    """

    answered: int
    changed: int
    to_model: int
    from_model: int
    uncertain: int
    rate: float | None
    without_answer: int


@dataclass(frozen=True, slots=True)
class Seconds:
    """Seconds from showing the output to saving the review, of the newest reviews: how many are measured, quartiles."""

    measured: int
    lower: float | None
    median: float | None
    upper: float | None


Answers = Mapping[tuple[SlideKey, Reader], Said]


def reader_of(said: Said) -> Reader:
    """Return who wrote an entry."""
    return Reader(said.review.reviewer) if said.review.reviewer else Reader("", said.log)


def alike_notes(entries: Iterable[Said]) -> list[str]:
    """Return a sentence for each group of readers whose names have the same letters and digits."""
    groups = defaultdict[str, set[str]](set)
    for one in entries:
        folded = unicodedata.normalize("NFKC", one.review.reviewer).casefold()
        groups["".join(letter for letter in folded if letter.isalnum()) or folded].add(one.review.reviewer)
    return [
        f"Readers {', '.join(map(repr, sorted(names)))} count as different ones, though their names look alike."
        for _, names in sorted(groups.items())
        if len(names) > 1
    ]


def without_repeats(entries: Iterable[Said]) -> list[Said]:
    """Drop entries that stand in an earlier log too, as when two logs go on from one."""
    found: dict[object, str] = {}
    kept = []
    for one in entries:
        review = one.review
        same = (one.slide, review.bundle_sha256, review.event, review.reviewer, review.time, review.human_label)
        if found.setdefault((*same, review.note, review.seconds_viewed), one.log) == one.log:
            kept.append(one)
    return kept


def newest_reviews(entries: Iterable[Said]) -> list[Said]:
    """Return the newest review of each slide, model and reader."""
    reviews = (one for one in entries if one.review.event == "review")
    return list(newest(reviews, lambda one: (one.slide, one.review.bundle_sha256, reader_of(one))).values())


def first_answers(entries: Iterable[Said]) -> Answers:
    """Return the first answer of each reader on each slide, if it was given before the output was shown."""
    found: dict[tuple[SlideKey, Reader], Said] = {}
    for one in entries:
        if one.review.event == "read" and one.review.human_first:
            key = one.slide, reader_of(one)
            if key not in found or age(one) < age(found[key]):
                found[key] = one
    return found


def switches_of(reviews: Sequence[Said], answers: Answers) -> Switches:
    """Compare reviews with the answers given before.

    Parameters
    ----------
    reviews
        Newest reviews.
    answers
        As from `first_answers`; those given before the output of the model that was reviewed.
    """
    pairs, without = list[tuple[str, str, str]](), 0
    for one in reviews:
        before = answers.get((one.slide, reader_of(one)))
        if one.review.human_first and before is not None and age(before)[0] <= age(one)[0]:
            pairs.append((before.review.human_label, one.review.human_label, one.review.output_label))
        else:
            without += one.review.human_first
    changed = [(first, last, model) for first, last, model in pairs if last and last != first]
    return Switches(
        answered=len(pairs),
        changed=len(changed),
        to_model=sum(last == model for _, last, model in changed),
        from_model=sum(first == model for first, _, model in changed),
        uncertain=sum(not last for _, last, _ in pairs),
        rate=len(changed) / len(pairs) if pairs else None,
        without_answer=without,
    )


def seconds_of(reviews: Iterable[Said]) -> Seconds:
    """Return the quartiles of the seconds from showing the output to saving."""
    found = [one.review.seconds_viewed for one in reviews if one.review.seconds_viewed is not None]
    if not found:
        return Seconds(0, None, None, None)
    lower, _, upper = quantiles(found, n=4, method="inclusive") if len(found) > 1 else found * 3
    return Seconds(len(found), lower, median(found), upper)
