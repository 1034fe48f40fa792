"""Read a table of slide_id and mpp, for slides whose files state no resolution or a wrong one."""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from lrmil.cohorts.columns import ALIASES, normal_name
from lrmil.cohorts.labels import EMPTY, mpp_of_cell, mpp_remedy
from lrmil.cohorts.names import SlideNames
from lrmil.errors import CohortError, quoted
from lrmil.io.tables import Table, read_table
from lrmil.slides.resolution import PLAUSIBLE_MPP

ROLES = ("slide_id", "mpp")
MAX_PROBLEMS = 20  # problems listed
MAX_UNUSED = 100  # rows without a slide that are listed


class MppTable(NamedTuple):
    """The resolutions in a table, and notes about what was not used."""

    mpp: dict[str, float]
    """Slide id -> um/px of level 0."""
    unused: tuple[str, ...]
    """A sentence for each row without a slide, up to `MAX_UNUSED`, and for each sheet or column that was not read."""


def read_mpp_table(path: Path, slide_ids: Collection[str]) -> MppTable:
    """Read a csv, tsv or xlsx table with the columns slide_id and mpp; see `lrmil.io.tables.read_table`.

    Lists of TRIDENT and AtlasPatch have the columns wsi (a file, perhaps with its folder) and mpp.

    Parameters
    ----------
    path
        The table. A resolution is written as 0.25 or 40x; an empty cell leaves the resolution of the file.
    slide_ids
        The known slides; the table may contain others.

    Returns
    -------
    MppTable
        Resolutions in um/px, and notes.

    Raises
    ------
    CohortError
        If a column is missing, or no row belongs to a known slide. Also with all problems of rows: an invalid
        resolution, two resolutions of a slide, a resolution without a slide.
    """
    table = read_table(path, what="um/px table")
    notes = [table.unread]
    indices = [_index_of(table, role, notes) for role in ROLES]
    table.require_values(indices)
    names, problems = SlideNames(slide_ids), list[str]()
    found, unused, rows = dict[str, float](), dict[str, str](), dict[str, int]()
    for number, cells in enumerate(table.records[1:], start=2):
        name, text = (cells[index] if index < len(cells) else "" for index in indices)
        if text.casefold() in EMPTY:
            continue
        slide_id, value = names.find(name) or name, mpp_of_cell(text)
        if not name:
            problems.append(f"row {number}: there is no slide name beside '{text}'")
        elif value is None:
            problems.append(f"row {number}: {_no_resolution(name, text)}")
        elif found.setdefault(slide_id, value) != value:
            problems.append(
                f"row {number}: '{name}' has {value:g} here and {found[slide_id]:g} in row {rows[slide_id]}"
            )
        elif slide_id not in names.names and slide_id not in unused:
            unused[slide_id] = _unused(name, number, names)
        rows.setdefault(slide_id, number)
    if problems:
        more = f"; and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
        raise CohortError(f"Rows of {table.title} are wrong: {'; '.join(problems[:MAX_PROBLEMS])}{more}.")
    known = {slide_id: value for slide_id, value in found.items() if slide_id in names.names}
    if not known:
        details = " ".join([*unused.values()][:MAX_PROBLEMS]) or "It has no row with a value."
        raise CohortError(f"No row of {table.title}{table.sheet_hint} belongs to one of the slides. {details}")
    rest = [f"{len(unused) - MAX_UNUSED} more rows belong to none of the slides."] if len(unused) > MAX_UNUSED else []
    return MppTable(known, (*filter(None, notes), *[*unused.values()][:MAX_UNUSED], *rest))


def _index_of(table: Table, role: str, notes: list[str]) -> int:
    """Return the index of a column. Of several columns of slide names, slide_id is read; two of mpp are an error."""
    header = table.records[0]
    names = [normal_name(name) for name in header]
    indices = [index for index, name in enumerate(names) if name in (role, *ALIASES[role])]
    own = [index for index in indices if names[index] == "slide_id"]
    if len(own) == 1 and len(indices) > 1:
        others = " and ".join(f"'{header[index]}'" for index in indices if index not in own)
        notes.append(f"The column '{header[own[0]]}' names the slides, {others} not.")
        indices = own
    if len(indices) > 1:
        given = " and ".join(f"'{header[index]}'" for index in indices)
        raise CohortError(f"Expected one column for {role} in {table.title}; got {given}. Rename the wrong one.")
    if not indices:
        given = ", ".join(name for name in header if name)
        raise CohortError(
            f"Expected the columns slide_id and mpp in {table.title}{table.sheet_hint}; got {given}. "
            "Rename them in row 1."
        )
    return indices[0]


def _no_resolution(name: str, text: str) -> str:
    low, high = PLAUSIBLE_MPP
    return f"expected um/px from {low} to {high} for '{name}', {mpp_remedy(text)}; got {quoted(text)}"


def _unused(name: str, row: int, names: SlideNames) -> str:
    hint = names.hint(name)
    return f"Row {row}: there is no slide '{name}'{f'; {hint[0].lower()}{hint[1:]}' if hint else '.'}"
