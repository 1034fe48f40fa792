"""Check a cohort before its training, and say what was found in words."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lrmil.cohorts.cohort import CohortReport, Problem, validate_cohort
from lrmil.cohorts.columns import TableOptions
from lrmil.io.tables import read_records
from lrmil.steps import Step
from napari_lrmil.widgets.train.reading import with_names_of_fields

if TYPE_CHECKING:
    from lrmil.cohorts.screening import Screened

SHOWN = 10  # slides between two progress messages


class Checked(NamedTuple):
    """Result of the check of a cohort: its report, the rows of the table, and what was seen of the slides."""

    report: CohortReport
    records: list[list[str]]
    screened: tuple["Screened", ...] = ()
    """Empty until all slides have been looked at."""


class Planned(NamedTuple):
    """The patches of the settings."""

    mpp: float
    size: int
    """Of a patch in pixels."""
    children: int
    """How many times finer the HR patches are."""


def describe(checked: Checked) -> str:
    """Return one line about a checked cohort."""
    report = checked.report
    errors = sum(problem.severity == "error" for problem in report.problems)
    warnings = len(report.problems) - errors
    if report.cohort is None:
        return f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}. Fix the errors below, then check again."
    slides, task = report.cohort.slides, report.cohort.task
    counts = Counter(task.stratum(slide.label) for slide in slides)
    groups = ", ".join(f"{name} {counts[name]}" for name in task.strata if name)
    counted = f"{_counted(len(slides), 'slide')} of {_counted(len(report.cohort.cases), 'case')}"
    noted = f"; {_counted(warnings, 'warning')} below" if warnings else ""
    return f"{counted}{': ' if groups else ''}{groups}{noted}."


def foretold(checked: Checked, planned: Planned | None) -> str:
    """Return how many patches the slides have with the settings, and a warning if they are too few; "" if unknown.

    Parameters
    ----------
    checked
        The checked cohort.
    planned
        The patches of the settings; None while these are not valid.
    """
    if not checked.screened or planned is None:
        return ""
    from lrmil.cohorts.forecast import expectation, few_patches

    warnings = few_patches(checked.screened, mpp=planned.mpp, size=planned.size)
    sentences = [f"{one.message} {one.hint}" for one in warnings]
    return with_names_of_fields("\n".join([expectation(checked.screened, **planned._asdict()), *sentences]))


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def check_steps(
    slides: Path, labels: Path, folds: int, test_fraction: float, options: TableOptions
) -> Iterator[Step[Checked]]:
    """Check the table, then the slides, which takes about a tenth of a second each.

    Parameters
    ----------
    slides, labels
        Folder and table.
    folds, test_fraction, options
        As in `lrmil.cohorts.cohort.validate_cohort`.
    """
    from lrmil.cohorts.screening import near_duplicates, screen_steps, sources_of, unusable

    report = validate_cohort(slides, labels, folds=folds, options=options, test_fraction=test_fraction)
    checked = Checked(report, read_records(labels, what="labels table"))
    yield Step(("check",), 1, 1, result=checked)
    found: list[Problem] = []
    screened: tuple[Screened, ...] = ()
    for step in screen_steps(sources_of(slides, report)):
        if step.result is not None:
            screened = step.result
            found += unusable(screened)
            found += near_duplicates(screened, report.cohort) if report.cohort is not None else []
        elif step.done % SHOWN == 0:
            yield Step(("check",), step.done, step.total, step.unit, checked)
    complete = replace(report, problems=(*report.problems, *found))
    yield Step(("check",), 1, 1, result=checked._replace(report=complete, screened=screened))
