"""Write reviews as rows of a table: the model's answer, then the person's."""

from collections.abc import Sequence
from pathlib import Path

from lrmil.io import atomic
from lrmil.io.ownership import is_review_table
from lrmil.io.safe_csv import csv_text
from lrmil.reviews.log import Review
from lrmil.tasks.choice import task_named
from lrmil.tasks.task import columns as value_columns

COLUMNS = ("decision", "human_label", "note", "reviewer", "human_first", "reviewed_at")


def write_review_table(path: Path, reviews: Sequence[Review]) -> None:
    """Write reviews as CSV, complete or not at all.

    Parameters
    ----------
    path
        The .csv file.
    reviews
        One row each. The probability of a class, or another value, that the model of a review does not have is empty.

    Raises
    ------
    OverwriteError
        If there is a file at `path` that is not a table of reviews.
    OutputError
        If the disk is full, or the folder is not writable.
    """
    values = [_columns(review) for review in reviews]
    columns = list(dict.fromkeys(column for one in values for column in one))
    output = ["slide_id", "output_status", "output_label", *columns]
    rows = [[*output, *COLUMNS, "seconds_viewed", "slide_fingerprint", "bundle_sha256", "version"]]
    for one, found in zip(reviews, values, strict=True):
        figures = [_figure(found.get(column)) for column in columns]
        output_cells = [one.slide_id, one.output_status, one.output_label, *figures]
        viewed = "" if one.seconds_viewed is None else f"{one.seconds_viewed:g}"
        rows.append([*output_cells, *cells_of(one), viewed, one.slide_fingerprint, one.bundle_sha256, one.version])
    atomic.write_text(path, csv_text(rows), is_review_table)


def cells_of(review: Review | None) -> list[str]:
    """Return the cells of `COLUMNS` for a review; all empty if there is none."""
    if review is None:
        return [""] * len(COLUMNS)
    first = "yes" if review.human_first else "no"
    return [review.decision or "", review.human_label, review.note, review.reviewer, first, review.time]


def _columns(review: Review) -> dict[str, float]:
    """Return the values of a prediction by the names of their columns."""
    found = review.output_probabilities
    return dict(zip(value_columns(task_named(review.task), found), found.values(), strict=True))


def _figure(chance: float | None) -> str:
    return "" if chance is None else f"{chance:.6f}"
