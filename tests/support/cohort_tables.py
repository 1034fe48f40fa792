"""Labels tables of twelve slides in six cases of each class, and what a table's check said."""

from collections.abc import Sequence
from pathlib import Path

from lrmil.cohorts.cohort import Cohort, CohortReport, Problem, validate_cohort

HEADER = "slide_id,case_id,label"
ROWS = [f"s{n:02},p{n:02},{'tumour' if n % 2 else 'normal'}" for n in range(12)]


def make_slide_folder(parent: Path) -> Path:
    """Return a new folder with s00.svs to s11.svs, some of them in a subfolder; nothing opens them."""
    slides = parent / "slides"
    (slides / "deeper").mkdir(parents=True)
    for n in range(12):
        (slides / ("deeper" if n > 8 else "") / f"s{n:02}.svs").touch()
    return slides


def check(
    folder: Path, rows: Sequence[str] = ROWS, header: str = HEADER, *, name: str = "labels.csv", folds: int = 5
) -> CohortReport:
    """Write a table beside a folder of slides, and validate both."""
    table = folder.parent / name
    table.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return validate_cohort(folder, table, folds=folds)


def checked(report: CohortReport) -> Cohort:
    """Return the cohort of a report that has one."""
    assert report.cohort is not None, report.problems
    return report.cohort


def only(report: CohortReport) -> Problem:
    """Return the one problem of a report."""
    (problem,) = report.problems
    return problem


def with_column(header: str, values: Sequence[str]) -> tuple[str, list[str]]:
    """Return header and rows with one more column."""
    return f"{HEADER},{header}", [f"{row},{value}" for row, value in zip(ROWS, values, strict=True)]


def replaced(index: int, row: str) -> list[str]:
    """Return the rows with another one in place of that at index."""
    return [*ROWS[:index], row, *ROWS[index + 1 :]]
