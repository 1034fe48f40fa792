"""Turn reviews into the labels table of a training: what readers agree on, and a list of all that is left out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from lrmil.cohorts.case_table import read_cases
from lrmil.cohorts.labels import EMPTY, TableOptions
from lrmil.cohorts.names import SlideNames
from lrmil.cohorts.reviewed_slides import Matched, SlideFile, match_reviews, slide_file_steps
from lrmil.errors import ConfigError, names_of, printable
from lrmil.io.atomic import write_text
from lrmil.io.ownership import require_free
from lrmil.io.sealed_tables import is_sealed, sealed_text
from lrmil.io.tables import is_readable, visible_text
from lrmil.reviews.several import Said, age, newest, read_logs
from lrmil.slides.discovery import find_slides
from lrmil.slides.inputs import Inputs
from lrmil.slides.source import SlideSource, slide_id_of
from lrmil.steps import Step, last, relay

FORMAT = "lrmil.labels/1"
HEADER = (
    *("slide_id", "case_id", "label", "decision", "reviewer", "human_first"),
    *("reviewed_at", "slide_fingerprint", "bundle_sha256"),
)
Conflicts = Literal["list", "newest"]
Why = Literal["uncertain", "conflict", "not in the slides", "several slide files", "unfit name", "unfit label"]
is_labels = partial(is_sealed, mark=FORMAT, header=HEADER)


class ReviewedLabel(NamedTuple):
    """The label of one slide."""

    slide_id: str
    case_id: str
    """"" where it is not known."""
    said: Said
    """The review that gave it."""


class LeftOut(NamedTuple):
    """A slide without a label, and why: an unfit name or label cannot be written so that a table is read as meant."""

    slide_id: str
    why: Why
    said: tuple[Said, ...]
    """The newest review of each reader in each log."""


@dataclass(frozen=True, slots=True)
class ReviewedLabels:
    """The labels that reviews give, and what they do not.

    Attributes
    ----------
    labels
        By slide, sorted.
    left_out
        Slides with reviews, but without a label, sorted.
    notes
        A sentence for each thing worth knowing.
    table
        The file that was written; None if no slide has a label.
    """

    labels: tuple[ReviewedLabel, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    table: Path | None


def labels_from_reviews(
    reviews: Path | str | Iterable[Path | str],
    slides: Path | str | Iterable[Path | str],
    out: Path | str,
    *,
    cases: Path | str | None = None,
    conflicts: Conflicts = "list",
    options: TableOptions | None = None,
) -> ReviewedLabels:
    """Write the labels table that reviews give, as `lrmil.train` takes it.

    The newest review of each reader in each log counts. Where all agree, the slide has their label; where they are
    uncertain, or differ, it is left out and listed.

    Parameters
    ----------
    reviews
        One review log or several; their order does not matter.
    slides
        A folder, searched recursively, or slide files.
    out
        The table (.csv). Only an unedited one that lrmil wrote is replaced.
    cases
        Table with the columns slide_id and case_id.
    conflicts
        "list" leaves out slides whose newest reviews differ; "newest" takes the newest of them.
    options
        Chosen columns of `cases`.

    Returns
    -------
    ReviewedLabels
        The labels, and the slides that are left out with the reason.

    Raises
    ------
    FormatError, ReviewError
        If a log is missing, cannot be read or has another version.
    CohortError
        If the table of cases cannot be used.
    ConfigError
        If `conflicts` is another word.
    OverwriteError, OutputError
        If `out` is an input, or a file that lrmil did not write or someone edited, or cannot be written.
    """
    steps = labels_from_reviews_steps(reviews, slides, out, cases=cases, conflicts=conflicts, options=options)
    return last(steps)


def labels_from_reviews_steps(
    reviews: Path | str | Iterable[Path | str],
    slides: Path | str | Iterable[Path | str],
    out: Path | str,
    *,
    cases: Path | str | None = None,
    conflicts: Conflicts = "list",
    options: TableOptions | None = None,
) -> Iterator[Step[ReviewedLabels]]:
    """Write the labels table that reviews give, step by step; parameters and errors as `labels_from_reviews`.

    Yields
    ------
    Step
        One per slide; the last carries the ReviewedLabels.
    """
    given = [Path(path) for path in ([reviews] if isinstance(reviews, Path | str) else reviews)]
    sources = [SlideSource(slide_id_of(path), path) for path in find_slides(slides)]
    table = None if cases is None else Path(cases)
    Inputs(sources, [*given, table]).require_clear([Path(out)])
    require_free(Path(out), is_labels)
    logs = read_logs(given)
    names = SlideNames({source.slide_id for source in sources})
    case_of = read_cases(table, names.names, options).by_slide if table else None
    files = yield from relay(slide_file_steps(sources))
    matched = match_reviews((one for one in logs.entries if one.review.event == "review"), files)
    labels, left_out = decide_labels(matched, case_of or {}, names, conflicts=conflicts)
    if labels:
        write_text(Path(out), table_of(labels), is_labels)
    notes = (*logs.notes, *_slide_notes(files, matched), *_case_notes(labels, case_of))
    yield Step(("labels",), 1, 1, result=ReviewedLabels(labels, left_out, notes, Path(out) if labels else None))


def decide_labels(
    matched: Matched, case_of: Mapping[str, str], names: SlideNames, *, conflicts: Conflicts = "list"
) -> tuple[tuple[ReviewedLabel, ...], tuple[LeftOut, ...]]:
    """Give each slide the label that its reviews agree on; other slides are left out.

    Parameters
    ----------
    matched
        The reviews by slide.
    case_of
        Slide id -> case id, where it is known.
    names
        The names of all slides.
    conflicts
        As for `labels_from_reviews`.

    Raises
    ------
    ConfigError
        If `conflicts` is another word.
    """
    if conflicts not in get_args(Conflicts):
        raise ConfigError(f"Expected conflicts to be one of {', '.join(get_args(Conflicts))}. Got {conflicts!r}.")
    labels, left_out = list[ReviewedLabel](), list[LeftOut]()
    for slide_id, reviews in matched.by_slide.items():
        said = _newest_by_voice(reviews)
        times = [age(one)[0] for one in said]
        counted = [one for one, time in zip(said, times, strict=True) if conflicts == "list" or time == max(times)]
        chosen = max(counted, key=age)
        if len({one.review.human_label for one in counted}) > 1:
            left_out.append(LeftOut(slide_id, "conflict", said))
        elif why := _why_not(slide_id, chosen.review.human_label, names):
            left_out.append(LeftOut(slide_id, why, said))
        else:
            labels.append(ReviewedLabel(slide_id, case_of.get(slide_id, ""), chosen))
    left_out += _without_slide(matched.missing, "not in the slides")
    left_out += _without_slide(matched.unclear, "several slide files")
    return tuple(labels), tuple(sorted(left_out, key=lambda one: (one.slide_id, one.why)))


def table_of(labels: Sequence[ReviewedLabel]) -> str:
    """Return labels as CSV text; its last column is named by a hash of the rest."""
    rows = []
    for slide_id, case_id, said in labels:
        one = said.review
        first = "yes" if one.human_first else "no"
        who = [one.decision or "", one.reviewer, first, one.time, one.slide_fingerprint, one.bundle_sha256]
        rows.append([slide_id, case_id, one.human_label, *map(printable, who)])  # a null spoils a whole table
    return sealed_text(FORMAT, HEADER, rows)


def _why_not(slide_id: str, label: str, names: SlideNames) -> Why | None:
    """Return why a slide cannot stand in a labels table with a label; None if it can."""
    if not label:
        return "uncertain"
    if label.casefold() in EMPTY or not is_readable(label):
        return "unfit label"
    written = visible_text(slide_id)
    return None if is_readable(written) and names.find(written) == slide_id else "unfit name"


def _newest_by_voice(reviews: Iterable[Said]) -> tuple[Said, ...]:
    """Return the newest review of each reader in each log, of each content that has the slide's name, oldest first."""
    return tuple(sorted(newest(reviews, lambda one: (one.slide, one.review.reviewer, one.log)).values(), key=age))


def _without_slide(reviews: Iterable[Said], why: Why) -> Iterator[LeftOut]:
    of_slide: dict[tuple[object, str], list[Said]] = {}
    for one in reviews:
        of_slide.setdefault((one.slide, one.review.slide_id), []).append(one)
    for (_, slide_id), several in of_slide.items():
        yield LeftOut(slide_id, why, _newest_by_voice(several))


def _slide_notes(files: Sequence[SlideFile], matched: Matched) -> Iterator[str]:
    for file in files:
        if file.problem:
            yield f"Slide '{file.slide_id}' cannot be compared with the reviews by content: {file.problem}"
    if matched.by_name:
        yield (
            f"Reviews were matched by name alone for {names_of(matched.by_name)}: their content is another than was "
            "reviewed, or not known. Check that they are the same slides."
        )
    if unreviewed := {file.slide_id for file in files} - matched.by_slide.keys():
        yield f"Slides without a review: {names_of(unreviewed)}."


def _case_notes(labels: Sequence[ReviewedLabel], case_of: Mapping[str, str] | None) -> Iterator[str]:
    without = [one.slide_id for one in labels if not one.case_id]
    if case_of is not None and without:
        yield f"The table of cases has no case of {names_of(without)}."
