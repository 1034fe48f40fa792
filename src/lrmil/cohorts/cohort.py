"""Check a folder of slides and a labels table, and return a Cohort, or a report of all problems."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from lrmil.cohorts.checks import find_row_problems
from lrmil.cohorts.labels import LabelRow, Labels, Problem, TableOptions, read_labels
from lrmil.cohorts.names import SlideNames, dicom_names
from lrmil.cohorts.row_matching import match_rows
from lrmil.errors import CohortError, ConfigError, names_of
from lrmil.slides.discovery import find_slides
from lrmil.slides.source import slide_id_of
from lrmil.tasks.answers import Target
from lrmil.tasks.choice import task_named
from lrmil.tasks.task import Task

__all__ = ["Cohort", "CohortReport", "Problem", "SlideRecord", "TableOptions", "validate_cohort"]

MAX_WARNINGS = 20  # warnings listed one by one


@dataclass(frozen=True, slots=True)
class SlideRecord:
    """One labelled slide.

    Attributes
    ----------
    slide_id, path
        The slide.
    label, case_id, site
        As in the table; without a case_id, the slide_id.
    split, fold
        What the table says of the folds, if it has such a column.
    mpp
        um/px from the table, which overrides that of the file.
    """

    slide_id: str
    path: Path
    label: str
    case_id: str
    split: Literal["train", "val", "test"] | None = None
    fold: str | None = None
    mpp: float | None = None
    site: str | None = None


@dataclass(frozen=True)  # no slots: cached properties need a __dict__
class Cohort:
    """Labelled slides sorted by slide_id, and what is predicted."""

    slides: tuple[SlideRecord, ...]
    task: Task

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the values of an answer, in order; for a classification, its classes with the positive one last."""
        return self.task.names

    @cached_property
    def by_id(self) -> Mapping[str, SlideRecord]:
        """The slides by slide_id."""
        return {slide.slide_id: slide for slide in self.slides}

    @cached_property
    def targets(self) -> Mapping[str, Target]:
        """Slide id -> its label as losses and metrics need it; for a classification, the position of the class."""
        of_label = {label: self.task.target(label) for label in {slide.label for slide in self.by_id.values()}}
        return {slide.slide_id: of_label[slide.label] for slide in self.slides}

    @cached_property
    def cases(self) -> Mapping[str, tuple[str, ...]]:
        """Case -> groups of its labels (`Task.stratum`; classes), each once and in order, sorted by case_id."""
        found: dict[str, set[str]] = defaultdict(set)
        for slide in self.slides:
            found[slide.case_id].add(self.task.stratum(slide.label))
        return {case: tuple(sorted(found[case], key=self.task.strata.index)) for case in sorted(found)}

    @property
    def case_labels(self) -> dict[str, str]:
        """The label of each case whose slides have one label, sorted by case_id; other cases have none."""
        return {case: labels[0] for case, labels in self.cases.items() if len(labels) == 1}

    @property
    def split_by(self) -> Literal["split", "fold"] | None:
        """The column of the table that defines test slides; None if folds are drawn."""
        if any(slide.split for slide in self.slides):
            return "split"
        return "fold" if any(slide.fold for slide in self.slides) else None


@dataclass(frozen=True, slots=True)
class CohortReport:
    """All problems of a cohort, by row; `cohort` is None when one of them is an error."""

    problems: tuple[Problem, ...]
    cohort: Cohort | None

    @property
    def ok(self) -> bool:
        """True if there is no error; there may be warnings."""
        return not any(problem.severity == "error" for problem in self.problems)

    def require(self) -> Cohort:
        """Return the cohort.

        Raises
        ------
        CohortError
            With all errors, if there are any.
        """
        if not self.ok or self.cohort is None:
            raise CohortError(self.explain())
        return self.cohort

    def explain(self) -> str:
        """Return all errors as one message, one per line."""
        lines = [
            f"  row {problem.row or '-'}, column {problem.column or '-'}: {problem.message} {problem.hint}"
            for problem in self.problems
            if problem.severity == "error"
        ]
        return "\n".join([f"The labels table has {len(lines)} error{'' if len(lines) == 1 else 's'}:", *lines])

    @property
    def warnings(self) -> list[str]:
        """The first `MAX_WARNINGS` warnings, one sentence each, and the number of others."""
        found = [problem for problem in self.problems if problem.severity == "warning"]
        more = (
            [f"{len(found) - MAX_WARNINGS} more warnings; lrmil validate lists them."]
            if len(found) > MAX_WARNINGS
            else []
        )
        return [f"{problem.message} {problem.hint}" for problem in found[:MAX_WARNINGS]] + more


def validate_cohort(
    slides: Path | str | Iterable[Path | str],
    labels: Path | str,
    *,
    folds: int | None = 5,
    options: TableOptions | None = None,
    test_fraction: float = 0.0,
) -> CohortReport:
    """Check a cohort without opening a slide; the order of rows does not matter.

    Parameters
    ----------
    slides
        A folder, searched recursively, or slide files.
    labels
        The labels table; see `lrmil.cohorts.labels.read_labels`.
    folds
        Folds of the cross-validation; each class needs at least that many cases. Ignored if the table has a split or
        fold column. None if nothing is trained: then one class, or only test rows, is enough.
    options
        Chosen columns, whether rows without a slide are skipped, and the positive class.
    test_fraction
        Share of the cases that will be the only test part, in place of folds; 0 for none. Whether there are enough is
        checked; `lrmil.cohorts.test_part.with_test_part` draws them.

    Returns
    -------
    CohortReport
        All problems, and the cohort if none is an error.

    Raises
    ------
    CohortError
        If the table cannot be read.
    ConfigError
        If `folds` is less than 2, or the options name an unknown task.
    """
    if folds is not None and folds < 2:
        raise ConfigError(f"Expected at least 2 folds. Got {folds}.")
    options = options or TableOptions()
    table = read_labels(Path(labels), options)
    problems = list(table.problems)
    files = _slide_files(slides, problems)
    names = SlideNames(files, also=dicom_names(files))
    rows = _unique_rows(match_rows(table, names, options, problems), table, problems)
    task = task_named(options.task)
    problems += find_row_problems(
        rows, table.columns, folds=folds, positive=options.positive, task=task, test_fraction=test_fraction
    )
    problems.sort(key=lambda problem: (problem.row or 0, problem.column or "", problem.message))
    report = CohortReport(tuple(problems), None)
    return replace(report, cohort=_build(rows, files, task, options.positive)) if report.ok else report


def _slide_files(slides: Path | str | Iterable[Path | str], problems: list[Problem]) -> dict[str, Path]:
    roots = [Path(slides)] if isinstance(slides, Path | str) else [Path(path) for path in slides]
    for root in roots:
        if not root.exists():
            message = f"There is no file or folder '{root}'."
            problems.append(Problem(None, None, message, "Check the path, and that its disk is mounted.", "error"))
    by_stem: dict[str, set[Path]] = defaultdict(set)
    for path in find_slides(root for root in roots if root.exists()):
        by_stem[slide_id_of(path)].add(path)
    if not by_stem and all(root.exists() for root in roots):
        message = "There is no slide in " + (names_of(map(str, roots)) or "an empty list") + "."
        problems.append(
            Problem(None, None, message, "Choose the folder that contains the whole-slide images.", "error")
        )
    for stem, paths in by_stem.items():
        if len(paths) > 1:
            message = f"Expected one file for slide '{stem}'; got {names_of(map(str, paths))}."
            hint = "Rename or remove one: outputs are named after the slide without its extension."
            problems.append(Problem(None, None, message, hint, "error"))
    for names in _groups(by_stem, str.casefold):
        message = f"The names {names_of(names)} differ only in upper and lower case."
        hint = "Rename all but one: on Windows and macOS, their outputs have the same name."
        problems.append(Problem(None, None, message, hint, "warning"))
    return {stem: min(paths) for stem, paths in by_stem.items()}


def _groups(names: Iterable[str], key: Callable[[str], str]) -> list[list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        found[key(name)].append(name)
    return [group for group in found.values() if len(group) > 1]


def _unique_rows(rows: Sequence[LabelRow], table: Labels, problems: list[Problem]) -> list[LabelRow]:
    """Return one row per slide, sorted by name; conflicting rows are an error."""
    by_slide: dict[str, list[LabelRow]] = defaultdict(list)
    for row in rows:
        by_slide[row.slide_id].append(row)
    for slide_id, same in by_slide.items():
        if len(same) == 1:
            continue
        differing = [role for role in table.columns if len({getattr(row, role) for row in same}) > 1]
        for role in differing:
            values = names_of({str(getattr(row, role)) for row in same})
            message = f"Expected one {role} for slide '{slide_id}'; got {values}."
            hint = "Keep only the row that is right."
            problems.append(Problem(same[1].number, table.columns[role], message, hint, "error"))
        if not differing:
            message = f"Slide '{slide_id}' has {len(same)} equal rows; one is used."
            hint = "Delete the repeated rows."
            problems.append(Problem(same[1].number, table.name_column, message, hint, "warning"))
    return [_kept(by_slide[slide_id]) for slide_id in sorted(by_slide)]


def _kept(rows: Sequence[LabelRow]) -> LabelRow:
    return rows[0] if len(rows) == 1 else min(rows, key=lambda row: str(replace(row, number=0)))


def _build(rows: Sequence[LabelRow], files: Mapping[str, Path], task: type[Task], positive: str) -> Cohort:
    slides = tuple(
        SlideRecord(
            row.slide_id,
            files[row.slide_id],
            row.label,
            row.case_id or row.slide_id,
            split=row.split,
            fold=row.fold,
            mpp=row.mpp,
            site=row.site,
        )
        for row in rows
        if row.label is not None
    )
    return Cohort(slides, task.of_labels((slide.label for slide in slides), positive))
