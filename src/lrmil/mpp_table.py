"""A table of slide_id and mpp: the resolutions of slides whose files state none, or a wrong one."""

import difflib
import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from lrmil.errors import CohortError
from lrmil.labels import ALIASES, EMPTY
from lrmil.resolution import PLAUSIBLE_MPP
from lrmil.slide_files import slide_id_of
from lrmil.tables import read_records

COLUMNS = {"slide_id": ("slide_id", *ALIASES["slide_id"]), "mpp": ("mpp", "um_per_px", "um/px")}
SHOWN = 20  # problems written out


class MppTable(NamedTuple):
    """The resolutions that a table gives, and what of it was not used."""

    mpp: dict[str, float]
    """Slide id -> um/px of level 0."""
    unused: tuple[str, ...]
    """A sentence for each row of which there is no such slide."""


def read_mpp_table(path: Path, slide_ids: Collection[str]) -> MppTable:
    """Read a csv, tsv or xlsx table with the columns slide_id and mpp; see `lrmil.tables.read_records`.

    Parameters
    ----------
    path
        The table. An empty mpp leaves a slide as its file has it.
    slide_ids
        The slides that are there; the table may be about more.

    Raises
    ------
    CohortError
        With every problem and its row: a column is missing, a value is no resolution, a slide has two of them. Also if
        no row is about a slide that is there.
    """
    header, *body = read_records(path)
    names = [re.sub(r"[\s-]+", "_", name.casefold()) for name in header]
    places = {role: next((i for i, name in enumerate(names) if name in COLUMNS[role]), None) for role in COLUMNS}
    slide, mpp = places["slide_id"], places["mpp"]
    if slide is None or mpp is None:
        came = ", ".join(name for name in header if name)
        raise CohortError(f"Expected the columns slide_id and mpp in '{path}'; got {came}. Name them so in row 1.")
    found, rows, problems = dict[str, float](), dict[str, int](), list[str]()
    for number, cells in enumerate(body, start=2):
        name, text = (cells[place] if place < len(cells) else "" for place in (slide, mpp))
        if not name or text.casefold() in EMPTY:
            continue
        slide_id, value = _slide_id(name, slide_ids), _number(text)
        if value is None:
            low, high = PLAUSIBLE_MPP
            problems.append(
                f"row {number}: expected um/px from {low} to {high} for '{name}', such as 0.25; got '{text}'"
            )
        elif found.setdefault(slide_id, value) != value:
            problems.append(
                f"row {number}: '{name}' has {value:g} here and {found[slide_id]:g} in row {rows[slide_id]}"
            )
        rows.setdefault(slide_id, number)
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise CohortError(f"Expected a resolution in each row of '{path}'. Got {'; '.join(problems[:SHOWN])}{more}.")
    known = {slide_id: value for slide_id, value in found.items() if slide_id in slide_ids}
    unused = tuple(_unused(slide_id, rows[slide_id], slide_ids) for slide_id in found if slide_id not in slide_ids)
    if not known:
        said = " ".join(unused[:SHOWN]) or "It has no row with a value."
        raise CohortError(f"Expected rows for the slides in '{path}'; none is about one of them. {said}")
    return MppTable(known, unused)


def _slide_id(name: str, slide_ids: Collection[str]) -> str:
    """Reduce "folder/a.svs" to "a", unless a slide is called just so."""
    return name if name in slide_ids else slide_id_of(Path(re.split(r"[\\/]", name)[-1]))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if PLAUSIBLE_MPP[0] <= value <= PLAUSIBLE_MPP[1] else None


def _unused(slide_id: str, row: int, slide_ids: Collection[str]) -> str:
    close = difflib.get_close_matches(slide_id, list(slide_ids), n=1)
    return f"Row {row}: there is no slide '{slide_id}'{f'; did you mean {close[0]!r}?' if close else '.'}"
