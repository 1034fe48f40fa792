"""Read which case (patient) each slide belongs to, from a table in the form of a labels table."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from lrmil.cohorts.labels import TableOptions, read_labels
from lrmil.cohorts.names import SlideNames
from lrmil.cohorts.row_matching import match_rows
from lrmil.errors import CohortError, names_of

MAX_PROBLEMS = 20  # problems listed


class Cases(NamedTuple):
    """The cases of slides, and which slides have none."""

    by_slide: dict[str, str]
    """Slide id -> case id."""
    without: tuple[str, ...]
    """Ids of the slides to which the table gives no case, sorted."""


def read_cases(path: Path, slide_ids: Collection[str], options: TableOptions | None = None) -> Cases:
    """Read the columns slide_id and case_id of a table; labels may be absent, other columns and slides are skipped.

    Parameters
    ----------
    path
        See `lrmil.io.tables.read_table`. Names are matched as in a labels table. In a table by patient (case_id and
        label alone) a case has the slides whose names begin with it.
    slide_ids
        The slides to find cases for.
    options
        Chosen columns.

    Raises
    ------
    CohortError
        If the table cannot be read, has no cases, or if a name in it fits several slides, or a slide several cases.
    """
    options = replace(options or TableOptions(), skip_missing=True)
    table = read_labels(path, options, what="table of cases")
    named = (
        None,
        "slide_id",
        table.name_column,
        table.columns.get("case_id"),
        options.slide_column or None,
        options.case_column or None,
    )
    problems = [one for one in table.problems if one.column in named]
    rows = match_rows(table, SlideNames(slide_ids), options, problems)
    errors = [f"{one.message} {one.hint}" for one in problems if one.severity == "error"]
    if not errors and "case_id" not in table.columns:
        errors = ["It has no column case_id with values. Add one, or choose it with --case-column."]
    found: dict[str, set[str]] = {}
    for row in rows:
        if row.case_id is not None:
            found.setdefault(row.slide_id, set()).add(row.case_id)
    errors += [
        f"Slide '{slide_id}' has several cases: {names_of(cases)}. Keep the right one."
        for slide_id, cases in sorted(found.items())
        if len(cases) > 1
    ]
    if errors:
        more = [f"{len(errors) - MAX_PROBLEMS} more problems."] if len(errors) > MAX_PROBLEMS else []
        lines = ("\n  " if len(errors) > 1 else " ").join(["", *errors[:MAX_PROBLEMS], *more])
        raise CohortError(f"The table of cases '{path}' cannot be used.{lines}")
    by_slide = {slide_id: min(cases) for slide_id, cases in found.items()}
    return Cases(by_slide, tuple(sorted(set(slide_ids) - by_slide.keys())))


def case_of_each(cases: Cases) -> dict[str, str]:
    """Return slide id -> case id; a slide to which the table gives no case is one of its own, named like the slide.

    Parameters
    ----------
    cases
        What the table says of all slides.

    Raises
    ------
    CohortError
        If a slide without a case has the name of a case of other slides.
    """
    if taken := sorted(set(cases.without) & set(cases.by_slide.values())):
        raise CohortError(
            f"The table of cases has no case for {names_of(taken)}, but gives other slides a case of that name. Add a "
            "row with the case of each of these slides."
        )
    return {**cases.by_slide, **{slide_id: slide_id for slide_id in cases.without}}
