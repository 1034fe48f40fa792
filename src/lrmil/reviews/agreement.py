"""Agreement of readers with a model and with each other, as review logs record it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from lrmil.reviews.kappa import Kappa, kappa_of
from lrmil.reviews.readers import (
    Answers,
    Reader,
    Seconds,
    Switches,
    alike_notes,
    first_answers,
    newest_reviews,
    reader_of,
    seconds_of,
    switches_of,
    without_repeats,
)
from lrmil.reviews.several import Logs, Said, SlideKey, newest, read_logs
from lrmil.tasks.class_order import order_classes

CaseOf = Callable[[Said], str]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one reader, or all, said of one model's answers; a review is the newest of a slide and reader.

    Attributes
    ----------
    reviews, agree, override, uncertain
        Number of reviews, and of each decision. An uncertain one has no label, and is in no kappa.
    with_model
        Label of the reader against that of the model, in all reviews.
    read_first, model_first
        The same in the reviews of readers who had answered before the output was shown, and of those who had not.
    before
        The answer given before the output was shown against the label of the model.
    switches, seconds
        See there.
    """

    reviews: int
    agree: int
    override: int
    uncertain: int
    with_model: Kappa
    read_first: Kappa
    model_first: Kappa
    before: Kappa
    switches: Switches
    seconds: Seconds


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often readers gave a label (row) where the model gave one (column), each (c, c) in the order of `labels`."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class ReaderAgreement:
    """The figures of one reader."""

    reader: Reader
    figures: Figures


@dataclass(frozen=True, slots=True)
class ModelAgreement:
    """Readers and one model: all of them together, and each."""

    bundle_sha256: str
    all_readers: Figures
    confusion: Confusion
    readers: tuple[ReaderAgreement, ...]


@dataclass(frozen=True, slots=True)
class PairAgreement:
    """Two readers who reviewed the same slides: their newest labels, and their answers before the output was shown."""

    readers: tuple[Reader, Reader]
    reviewed: Kappa
    before: Kappa


@dataclass(frozen=True, slots=True)
class Agreement:
    """All that review logs say of agreement.

    Attributes
    ----------
    models
        By hash of the model.
    pairs
        Pairs of readers with a common slide, sorted.
    not_in_the_logs
        A sentence for each figure that the logs cannot give, with the reason.
    notes
        A sentence for each thing that could not be used of the logs.
    """

    models: tuple[ModelAgreement, ...]
    pairs: tuple[PairAgreement, ...]
    not_in_the_logs: tuple[str, ...]
    notes: tuple[str, ...]


def reader_agreement(
    reviews: Path | str | Iterable[Path | str], *, case_of: Mapping[str, str] | None = None
) -> Agreement:
    """Measure how readers agree with the model that they reviewed, and with each other.

    Parameters
    ----------
    reviews
        One review log or several; their order does not matter.
    case_of
        Slide id -> case. Intervals then resample cases; otherwise, and for other slides, each slide is a case.

    Raises
    ------
    FormatError, ReviewError
        If a log is missing, cannot be read or has another version.
    """
    return agreement_in(read_logs(reviews), case_of=case_of)


def agreement_in(logs: Logs, *, case_of: Mapping[str, str] | None = None) -> Agreement:
    """Measure the agreement in logs that were read; parameters as for `reader_agreement`."""
    entries = without_repeats(logs.entries)
    reviews, answers = newest_reviews(entries), first_answers(entries)
    drawn_as = _cases(entries, case_of or {})
    by_model = defaultdict[str, list[Said]](list)
    for one in reviews:
        by_model[one.review.bundle_sha256].append(one)
    models = tuple(_model(sha256, by_model[sha256], answers, drawn_as) for sha256 in sorted(by_model))
    pairs = tuple(_pairs(reviews, answers, drawn_as))
    missing = tuple(_not_in_the_logs(reviews, answers, pairs))
    return Agreement(models, pairs, missing, (*logs.notes, *alike_notes(entries)))


def _cases(entries: Iterable[Said], case_of: Mapping[str, str]) -> CaseOf:
    """Return the function that gives what is drawn with an entry: a case, or the slide where no case is known."""
    known: dict[SlideKey, str] = {}
    for one in entries:
        if (case := case_of.get(one.review.slide_id)) is not None:
            known[one.slide] = min(case, known.get(one.slide, case))
    return lambda one: f"case {known[one.slide]}" if one.slide in known else "slide {} {}".format(*one.slide)


def _model(sha256: str, reviews: Sequence[Said], answers: Answers, case_of: CaseOf) -> ModelAgreement:
    by_reader = defaultdict[Reader, list[Said]](list)
    for one in reviews:
        by_reader[reader_of(one)].append(one)
    own = {key: one for key, one in answers.items() if one.review.bundle_sha256 == sha256}

    def figures(of: Sequence[Said], readers: Iterable[Reader]) -> Figures:
        known = set(readers)
        first = [one for (_, reader), one in own.items() if reader in known]
        return _figures(of, first, own, case_of)  # an answer before another model's output says nothing on this one

    readers = tuple(ReaderAgreement(one, figures(by_reader[one], [one])) for one in sorted(by_reader))
    return ModelAgreement(sha256, figures(reviews, by_reader), _confusion(reviews), readers)


def _figures(reviews: Sequence[Said], first: Sequence[Said], answers: Answers, case_of: CaseOf) -> Figures:
    decisions = Counter(one.review.decision for one in reviews)
    return Figures(
        reviews=len(reviews),
        agree=decisions["agree"],
        override=decisions["override"],
        uncertain=decisions["uncertain"],
        with_model=_with_model(reviews, case_of),
        read_first=_with_model([one for one in reviews if one.review.human_first], case_of),
        model_first=_with_model([one for one in reviews if not one.review.human_first], case_of),
        before=_with_model(first, case_of),
        switches=switches_of(reviews, answers),
        seconds=seconds_of(reviews),
    )


def _with_model(entries: Iterable[Said], case_of: CaseOf) -> Kappa:
    said = [one for one in entries if one.review.human_label]
    labels = [one.review.human_label for one in said], [one.review.output_label for one in said]
    return kappa_of(*labels, list(map(case_of, said)))


def _confusion(reviews: Iterable[Said]) -> Confusion:
    found = Counter((one.review.human_label, one.review.output_label) for one in reviews if one.review.human_label)
    labels = order_classes({label for pair in found for label in pair})
    return Confusion(labels, tuple(tuple(found[row, column] for column in labels) for row in labels))


def _pairs(reviews: Iterable[Said], answers: Answers, case_of: CaseOf) -> Iterator[PairAgreement]:
    last = newest(reviews, lambda one: (one.slide, reader_of(one)))
    said, before = _by_reader(last), _by_reader(answers)
    for one, other in combinations(sorted(said), 2):
        if said[one].keys() & said[other].keys():
            found = (_between(of.get(one, {}), of.get(other, {}), case_of) for of in (said, before))
            yield PairAgreement((one, other), *found)


def _by_reader(said: Answers) -> dict[Reader, dict[SlideKey, Said]]:
    found = defaultdict[Reader, dict[SlideKey, Said]](dict)
    for (slide, reader), one in said.items():
        found[reader][slide] = one
    return found


def _between(one: Mapping[SlideKey, Said], other: Mapping[SlideKey, Said], case_of: CaseOf) -> Kappa:
    both = [key for key in one if key in other and one[key].review.human_label and other[key].review.human_label]
    first, second = ([of[key].review.human_label for key in both] for of in (one, other))
    return kappa_of(first, second, [case_of(one[key]) for key in both])


def _not_in_the_logs(reviews: Sequence[Said], answers: Answers, pairs: Sequence[PairAgreement]) -> Iterator[str]:
    if not reviews:
        yield "The logs have no review, so there is nothing to compare."
        return
    readers = {reader_of(one) for one in reviews}
    if len(readers) == 1:
        yield "There is one reader, so there is no agreement between readers."
    elif not pairs:
        yield "No two readers reviewed the same slide, so there is no agreement between readers."
    if any(not reader.name for reader in readers):
        yield "Reviews without a reviewer's name count as those of one reader in each log, who may be several."
    if not any(one.review.human_first for one in reviews):
        yield "No reviewer answered before the output was shown: no figures of reading first, and no switches."
    elif not answers:
        yield "The logs lack the answers given before the output was shown, so how many were changed is not known."
    else:
        yield "How long a reader looked before the output was shown is not recorded."
    if all(one.review.human_first for one in reviews):
        yield "Every reviewer answered before the output was shown: no figures of seeing the model first."
    if all(one.review.seconds_viewed is None for one in reviews):
        yield "No review has a time, so the seconds per slide are not known."
