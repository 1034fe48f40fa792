"""Read a labels table as typed rows, with the problems of its header and cells."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from lrmil.cohorts.columns import ALIASES, Problem, TableOptions, find_columns
from lrmil.errors import ConfigError, quoted
from lrmil.io.tables import read_table
from lrmil.slides.resolution import PLAUSIBLE_MPP, parse_mpp
from lrmil.tasks.choice import task_named
from lrmil.tasks.task import Task

__all__ = [
    "ALIASES",
    "EMPTY",
    "LabelRow",
    "Labels",
    "Problem",
    "TableOptions",
    "mpp_of_cell",
    "mpp_remedy",
    "read_labels",
]

SPLITS: Mapping[str, Literal["train", "val", "test"]] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
EMPTY = frozenset({"", "nan", "<na>", "na", "n/a", "null", "none", "?"}) | {
    f"#{error}"
    for error in ("n/a", "ref!", "div/0!", "name?", "value!", "null!", "num!")  # errors of a formula
}
SHORTENED = re.compile(r"\d(\.\d+)?E\+\d{2,}")  # a long number as a spreadsheet shows it


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One row of a labels table; an absent, empty or invalid cell is None."""

    number: int
    slide_id: str
    label: str | None = None
    case_id: str | None = None
    split: Literal["train", "val", "test"] | None = None
    fold: str | None = None
    mpp: float | None = None
    site: str | None = None


class Labels(NamedTuple):
    """The rows of a table, its columns (role -> name in the file), and the problems of header and cells."""

    columns: Mapping[str, str]
    rows: tuple[LabelRow, ...]
    problems: tuple[Problem, ...]
    records: tuple[list[str], ...] = ()
    """The header and the rows as in the file."""

    @property
    def by_patient(self) -> bool:
        """True if each row stands for all slides of a patient, since no column names slides."""
        return "slide_id" not in self.columns

    @property
    def name_column(self) -> str | None:
        """The column that identifies the slides of a row."""
        return self.columns.get("case_id" if self.by_patient else "slide_id")


def read_labels(path: Path, options: TableOptions | None = None, *, what: str = "labels table") -> Labels:
    """Read a labels table; problems of cells are returned, not raised.

    Parameters
    ----------
    path
        See `lrmil.io.tables.read_table`.
    options
        How the table is read. Other columns are found by `lrmil.cohorts.columns.ALIASES`, in upper or lower case.
    what
        Kind of table for messages.

    Returns
    -------
    Labels
        Typed rows, and problems of the header and of cells. In a table by patient, `slide_id` is empty.

    Raises
    ------
    CohortError
        If the file cannot be read as a table, is empty, has an empty first row, or if a used column has formulas
        without a stored value.
    ConfigError
        If the options name an unknown task.
    """
    table = read_table(path, what=what)
    header = table.records[0]
    body = [(number, cells) for number, cells in enumerate(table.records[1:], start=2) if any(cells)]
    problems: list[Problem] = []
    if table.unread:
        hint = "Move the right sheet to the front, or delete the others."
        problems.append(Problem(None, None, table.unread, hint, "warning"))
    options = options or TableOptions()
    indices = find_columns(table, options, problems)
    table.require_values(indices.values())
    if not body:
        hint = "Add one row for each slide."
        problems.append(Problem(None, None, "The table has a header, but no rows.", hint, "error"))
    indices = _used(indices, header, body, problems)
    problems += [_overlong(number, len(header)) for number, cells in body if any(cells[len(header) :])]
    known = "slide_id" in indices or {"case_id", "label"} <= indices.keys()
    task = task_named(options.task)
    rows = [_row(number, cells, header, indices, problems, task) for number, cells in body if known]
    columns = {role: header[index] for role, index in indices.items()}
    return Labels(columns, tuple(row for row in rows if row is not None), tuple(problems), tuple(table.records))


def mpp_of_cell(text: str) -> float | None:
    """Parse um/px, such as "0.25", or "40x" for 10 / 40; return None if it is invalid or implausible."""
    try:
        value = parse_mpp(text)
    except ConfigError:
        try:
            value = float(text)  # such as 2.5e-1
        except ValueError:
            return None
    return value if PLAUSIBLE_MPP[0] <= value <= PLAUSIBLE_MPP[1] else None


def mpp_remedy(text: str) -> str:
    """Return what to write instead of a cell that `mpp_of_cell` rejects."""
    comma = mpp_of_cell(text.replace(",", ".")) if text.count(",") == 1 else None
    return f"with a decimal point, as in {comma:g}" if comma else "such as 0.25 or 40x"


def _used(
    indices: Mapping[str, int],
    header: Sequence[str],
    body: Sequence[tuple[int, Sequence[str]]],
    problems: list[Problem],
) -> dict[str, int]:
    """Drop optional columns without a value, and the fold column if there is a split column."""
    required = ("label", "slide_id" if "slide_id" in indices else "case_id")
    used = {
        role: index
        for role, index in indices.items()
        if role in required or any(_cell(cells, index) is not None for _, cells in body)
    }
    if "split" in used and "fold" in used:
        column = header[used.pop("fold")]
        message = "The table has both a split and a fold column. The split column is used."
        problems.append(Problem(1, column, message, "Delete the wrong column.", "warning"))
    return used


def _text(cells: Sequence[str], index: int | None) -> str:
    return cells[index] if index is not None and index < len(cells) else ""


def _cell(cells: Sequence[str], index: int | None) -> str | None:
    value = _text(cells, index)
    return None if value.casefold() in EMPTY else value


def _missing_value(given: str) -> str:
    return ", which stands for a missing value" if given else ""


def _label_remedy(given: str) -> str:
    """Return the remedy for a missing label; words such as None and NA may be meant as a class."""
    if not given or given.startswith("#"):
        return "Give a label or delete the row."
    return (
        f"Delete the row if its label is unknown. If '{given}' is a class, rename it in every row, such as to 'other'."
    )


def _overlong(number: int, expected: int) -> Problem:
    message = f"Expected {expected} values, as many as the header has; got more."
    return Problem(number, None, message, 'Put values that hold the separator in quotes, as in "a, b".', "error")


def _row(
    number: int,
    cells: Sequence[str],
    header: Sequence[str],
    indices: Mapping[str, int],
    problems: list[Problem],
    task: type[Task],
) -> LabelRow | None:
    value = {role: _cell(cells, indices.get(role)) for role in ALIASES}

    def add(role: str, message: str, hint: str) -> None:
        problems.append(Problem(number, header[indices[role]], message, hint, "error"))

    slide_id = _text(cells, indices.get("slide_id"))
    if not slide_id and "slide_id" in indices:
        add("slide_id", "The cell of the slide name is empty.", "Write the slide's file name without extension.")
        return None
    if not slide_id and value["case_id"] is None:
        add("case_id", "The cell of the case is empty.", "Write the case that the names of its slides start with.")
        return None
    named = f"slide '{slide_id}'" if slide_id else f"case '{value['case_id']}'"
    if "label" in indices and value["label"] is None:
        given = _text(cells, indices["label"])
        add(
            "label",
            f"Expected {task.expects} for {named}; got {quoted(given)}{_missing_value(given)}.",
            _label_remedy(given),
        )
    elif value["label"] is not None and not task.is_label(value["label"]):
        hint = f"Write {task.expects}, or delete the row."
        add("label", f"Expected {task.expects} for {named}; got '{value['label']}'.", hint)
        value["label"] = None
    split = SPLITS.get((value["split"] or "").casefold())
    if "split" in indices and split is None:
        message = f"Expected train, val or test for {named}; got {quoted(value['split'] or '')}."
        add("split", message, "Use one of the three words in every row.")
    fold = value["fold"]
    if "fold" in indices and not re.fullmatch(r"\w[\w.-]*", fold or ""):
        message = f"Expected a fold number or plain name for {named}; got {quoted(fold or '')}."
        add("fold", message, "Use only letters, digits, '-', '_' and '.', and name a fold in every row.")
    for role in ("slide_id", "case_id"):
        if SHORTENED.fullmatch(value[role] or ""):
            message = f"Expected a name in {role}; got '{value[role]}', a long number that a spreadsheet truncated."
            hint = "Format the column as text and write the names again: different names may have become equal."
            problems.append(Problem(number, header[indices[role]], message, hint, "warning"))
    mpp = None if value["mpp"] is None else mpp_of_cell(value["mpp"])
    if value["mpp"] is not None and mpp is None:
        low, high = PLAUSIBLE_MPP
        message = f"Expected micrometres per pixel from {low} to {high}; got '{value['mpp']}'."
        add("mpp", message, f"Write it {mpp_remedy(value['mpp'])}, or leave the cell empty.")
    return LabelRow(number, slide_id, value["label"], value["case_id"], split, fold, mpp, value["site"])
