"""Find the columns of a labels table: by name, by an alias, or as the user chose."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pydantic.dataclasses
from pydantic import ConfigDict, ValidationError

from lrmil.errors import FormatError
from lrmil.io.tables import Table

ALIASES: Mapping[str, tuple[str, ...]] = {
    "slide_id": ("slide", "slide_name", "filename", "file", "image", "wsi", "image_id"),
    "label": ("class", "target", "y", "diagnosis"),
    "case_id": ("case", "patient", "patient_id", "p_id", "submitter_id", "case_submitter_id"),
    "split": (),
    "fold": ("fold_k",),
    "mpp": ("um_per_px", "um/px"),
    "site": (),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a cohort, and its remedy.

    Parameters
    ----------
    row
        Row as a spreadsheet counts it (the header is 1); None if the problem is not about one row.
    column
        Column as the table names it; None if the problem is not about one column.
    message
        What is wrong.
    hint
        What to do next.
    severity
        An ``"error"`` prevents training; a ``"warning"`` does not.
    """

    row: int | None
    column: str | None
    message: str
    hint: str
    severity: Literal["error", "warning"]


@pydantic.dataclasses.dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", strict=True))
class TableOptions:
    """How a labels table is read, as the user chose."""

    slide_column: str = ""
    """Column of slide names; if empty, `ALIASES` are searched."""
    case_column: str = ""
    """Column of patients. If no column names slides, each row stands for a patient."""
    label_column: str = ""
    """Column of labels."""
    skip_missing: bool = False
    """Skip rows whose slide is missing; otherwise they are errors."""
    positive: str = ""
    """The positive one of two classes; if empty, it is derived from their names."""
    task: str = ""
    """What is predicted: a name of `lrmil.tasks.choice.TASKS`; if empty, the first, classification."""

    @property
    def arguments(self) -> list[str]:
        """The equivalent options of the command line."""
        given = {"--slide-column": self.slide_column, "--case-column": self.case_column}
        given |= {"--label-column": self.label_column, "--positive": self.positive, "--task": self.task}
        skip = ["--skip-missing"] if self.skip_missing else []
        return [f"{name}={value}" for name, value in given.items() if value] + skip

    def column_of(self, role: str) -> str:
        """Return the column chosen for a role, or ""."""
        return {"slide_id": self.slide_column, "case_id": self.case_column, "label": self.label_column}.get(role, "")


def options_from_dict(values: object) -> TableOptions:
    """Make options from plain values, as the plan of a run stores them.

    Raises
    ------
    FormatError
        If they are not the fields of `TableOptions`.
    """
    if not isinstance(values, dict):
        raise FormatError(f"Expected the options of a labels table as names with values. Got {values!r}.")
    try:
        return TableOptions(**values)
    except (TypeError, ValidationError) as error:
        raise FormatError(f"Expected the options of a labels table. Got {values!r}: {error}.") from error


def normal_name(name: str) -> str:
    """Normalise the name of a column for comparisons: "Slide ID" becomes "slide_id"."""
    return re.sub(r"[\s-]+", "_", name.strip().casefold())


def find_columns(table: Table, options: TableOptions, problems: list[Problem]) -> dict[str, int]:
    """Find the column of each role.

    A chosen column takes precedence over a column with the name of the role, and that over its aliases. Without a
    column of slides, but with columns of cases and labels, each row stands for a patient.

    Parameters
    ----------
    table
        The table.
    options
        Chosen columns.
    problems
        Problems of the header are appended.

    Returns
    -------
    dict
        Role -> index of its column, from 0.
    """
    header = table.records[0]
    indices: dict[str, int] = {}
    for role in ALIASES:
        if chosen := options.column_of(role):
            index = _chosen(header, role, chosen, problems)
        else:
            index = _named(table, role, problems)
        if index is not None:
            indices[role] = index
    if options.case_column and not options.slide_column and indices.get("slide_id") == indices.get("case_id"):
        indices.pop("slide_id", None)
    problems += _missing(table, options, indices, problems)
    return indices


def _chosen(header: Sequence[str], role: str, chosen: str, problems: list[Problem]) -> int | None:
    found = [index for index, name in enumerate(header) if name == chosen.strip()]
    found = found or [index for index, name in enumerate(header) if normal_name(name) == normal_name(chosen)]
    if len(found) == 1:
        return found[0]
    given = f"{len(found)} columns of that name" if found else f"the columns {_listed(header)}"
    message = f"Expected one column '{chosen}', chosen for {role}; got {given}."
    problems.append(
        Problem(1, chosen, message, "Choose a column that occurs once in row 1, spelled as there.", "error")
    )
    return None


def _named(table: Table, role: str, problems: list[Problem]) -> int | None:
    header = table.records[0]
    candidates = [index for index, name in enumerate(header) if normal_name(name) in (role, *ALIASES[role])]
    found = candidates
    if len(candidates) > 1:  # prefer columns with values
        found = [index for index in candidates if _has_values(table, index)] or candidates
    found = [index for index in found if normal_name(header[index]) == role] or found
    if len(found) == 1 and len(candidates) > 1:
        others = [index for index in candidates if index not in found]
        message = f"The column '{header[found[0]]}' is read for {role}; {_of(header, others)} not."
        hint = f"Delete the wrong column{_choice(role)}."
        problems.append(Problem(1, header[found[0]], message, hint, "warning"))
    if len(found) > 1:
        twice = " and ".join(f"'{header[index]}'" for index in found)
        message = f"Expected one column for {role}; got {twice}."
        hint = f"Rename or delete the wrong columns{_choice(role)}."
        problems.append(Problem(1, role, message, hint, "error"))
    return found[0] if len(found) == 1 else None


def _has_values(table: Table, index: int) -> bool:
    return any(cells[index] for cells in table.records[1:] if len(cells) > index)


def _missing(
    table: Table, options: TableOptions, indices: Mapping[str, int], problems: Sequence[Problem]
) -> list[Problem]:
    """Report a missing column of slides or labels; a table by patient needs no column of slides."""
    reported = {problem.column for problem in problems if problem.severity == "error"}
    missing = []
    for role in ("slide_id", "label"):
        if role in indices or role in reported or (options.column_of(role) in reported - {""}):
            continue
        if role == "slide_id" and {"case_id", "label"} <= indices.keys():
            continue
        message = (
            f"Expected a column '{role}' (or {', '.join(ALIASES[role])}); "
            f"got the columns {_listed(table.records[0])}{table.sheet_hint}."
        )
        hint = f"Name the column '{role}'{_choice(role)}; if the table has no header row, add one above the data."
        missing.append(Problem(1, role, message, hint, "error"))
    return missing


def _choice(role: str) -> str:
    option = {"slide_id": "--slide-column", "case_id": "--case-column", "label": "--label-column"}.get(role)
    return f", or choose one with {option}" if option else ""


def _of(header: Sequence[str], indices: Sequence[int]) -> str:
    names = " and ".join(f"'{header[index]}'" for index in indices)
    return f"{names} {'is' if len(indices) == 1 else 'are'}"


def _listed(header: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in header if name)
