"""Read several review logs as one: copies add nothing, and the newest entry counts, whatever the order of the logs."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

from lrmil.errors import LISTED, names_of
from lrmil.reviews.entry import Review
from lrmil.reviews.lines import line_of
from lrmil.reviews.log import require_reviews
from lrmil.reviews.withdrawals import standing

Key = TypeVar("Key", bound=Hashable)
SlideKey = tuple[str, str]


class Said(NamedTuple):
    """An entry and where it stands."""

    log: str
    """Path of the log, as it was given."""
    line: int
    """Its place among the entries of the log."""
    review: Review

    @property
    def slide(self) -> SlideKey:
        """Key of the slide: the fingerprint, or the name if there is no fingerprint."""
        review = self.review
        return (review.slide_fingerprint, "") if review.slide_fingerprint else ("", review.slide_id)


class Logs(NamedTuple):
    """The entries of several logs, and what could not be used of them."""

    entries: tuple[Said, ...]
    """By path of the log, then in the order of the log."""
    unreadable: dict[str, tuple[int, ...]]
    """Path of a log -> numbers of its lines (from 1) that are not valid entries."""
    copies: tuple[str, ...]
    """Paths of logs whose entries all stand in another log too; they are left out."""
    other_tasks: int
    """Number of entries about another task than a classification; they are left out."""
    of_parts: int = 0
    """Number of others about regions of a slide; they are left out, since they say nothing about all of it."""

    @property
    def notes(self) -> list[str]:
        """A sentence for each thing that could not be used."""
        lines = [f"Lines of {path} that cannot be read: {_listed(found)}." for path, found in self.unreadable.items()]
        copies = [f"All entries of {path} stand in another log, so it adds nothing." for path in self.copies]
        other = (
            [f"{self.other_tasks} entries are about another task than a classification."] if self.other_tasks else []
        )
        parts = [f"{self.of_parts} entries are about regions of a slide, not all of it."] if self.of_parts else []
        return [*lines, *copies, *other, *parts, *_misplaced(self.entries)]


def read_logs(paths: Path | str | Iterable[Path | str]) -> Logs:
    """Read one or several logs that must exist; the order of the paths does not matter.

    Raises
    ------
    FormatError, ReviewError
        As `lrmil.reviews.log.require_reviews`.
    """
    given = [paths] if isinstance(paths, Path | str) else paths
    logs = {str(path): require_reviews(Path(path)) for path in sorted(set(map(str, given)))}
    copies = find_copies({path: log.reviews for path, log in logs.items()})
    gone = {path: _taken_back(log.reviews) for path, log in logs.items()}
    every = [one for path in logs if path not in copies for one in _said(path, logs[path].reviews, gone)]
    known = [one for one in every if not one.review.task]
    whole = tuple(one for one in known if not one.review.regions)
    unreadable = {path: log.unreadable for path, log in logs.items() if log.unreadable}
    return Logs(whole, unreadable, copies, len(every) - len(known), len(known) - len(whole))


def find_copies(logs: Mapping[str, Sequence[Review]]) -> tuple[str, ...]:
    """Return the paths of logs, not empty, whose entries all stand in another log; of equal logs, all but one.

    Parameters
    ----------
    logs
        Path -> entries.
    """
    if len(logs) < 2:
        return ()
    lines = {path: frozenset(map(line_of, reviews)) for path, reviews in logs.items() if reviews}
    copies: list[str] = []
    for path in sorted(lines, key=lambda one: (len(lines[one]), one)):
        others = [other for other in lines if other != path and other not in copies]
        if any(lines[path] <= lines[other] for other in others):
            copies.append(path)
    return tuple(sorted(copies))


def _said(path: str, reviews: Sequence[Review], gone: Mapping[str, frozenset[str]]) -> Iterator[Said]:
    """Yield the entries of a log that count: a review that was taken back in one log is so in its copies."""
    counting = set(map(id, standing(reviews)))
    elsewhere = frozenset[str]().union(*(lines for other, lines in gone.items() if other != path))
    for number, review in enumerate(reviews):
        if id(review) in counting and not (elsewhere and line_of(review) in elsewhere):
            yield Said(path, number, review)


def _taken_back(reviews: Sequence[Review]) -> frozenset[str]:
    """Return the lines of reviews of a log that were taken back in it, and do not stand in it again."""
    if not any(one.event == "withdraw" for one in reviews):
        return frozenset()
    counting = standing(reviews)
    known = set(map(id, counting))
    lost = {line_of(one) for one in reviews if one.event == "review" and id(one) not in known}
    return frozenset(lost - set(map(line_of, counting)))


def age(said: Said) -> tuple[datetime, int, str]:
    """Return what orders entries: the time; of one second, the place in the log; then the path of the log."""
    return datetime.fromisoformat(said.review.time), said.line, said.log


def newest(entries: Iterable[Said], key: Callable[[Said], Key]) -> dict[Key, Said]:
    """Return the newest entry of each key, in the order in which the keys first occur.

    Parameters
    ----------
    entries
        The entries, in any order.
    key
        Returns what an entry is about.
    """
    found: dict[Key, Said] = {}
    for one in entries:
        known = found.get(at := key(one))
        if known is None or age(known) < age(one):
            found[at] = one
    return found


def _listed(numbers: Sequence[int]) -> str:
    more = f" and {len(numbers) - LISTED} more" if len(numbers) > LISTED else ""
    return ", ".join(map(str, numbers[:LISTED])) + more


def _misplaced(entries: Iterable[Said]) -> Iterator[str]:
    """Say for which slides the last review of a reader in a log is not the newest, as after a clock was set."""
    reviews = [one for one in entries if one.review.event == "review"]
    newest_of = newest(reviews, _voice)
    last_of = {_voice(one): one for one in reviews}
    found = {
        one.review.slide_id
        for voice, one in last_of.items()
        if one.review.human_label != newest_of[voice].review.human_label
    }
    if found:
        yield (
            f"The last review of {names_of(found)} in a log is not the latest by its time, which counts here. Check "
            "the clocks."
        )


def _voice(said: Said) -> tuple[str, SlideKey, str]:
    return said.log, said.slide, said.review.reviewer
