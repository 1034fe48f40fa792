"""The sheet of an xlsx workbook that a person sees first, as the text that the spreadsheet program shows."""

import datetime
import re
from collections.abc import Iterator
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import openpyxl
from openpyxl.workbook.workbook import Workbook

from lrmil.io.plain_files import open_plain
from lrmil.io.zip_limits import require_safe_zip

MAX_CELLS = 10_000_000  # a cell in the last column of a row makes 16,384 of it
MAX_EXACT = 1e15  # of a longer number the spreadsheet has already lost digits, and shows 1E+20
LOOKED_AT = 10_000  # rows of each other sheet that are searched for content


class Sheet(NamedTuple):
    """One sheet of a workbook, and what else there is."""

    name: str
    rows: list[list[str]]
    """Not trimmed; rows may differ in length."""
    others: tuple[str, ...]
    """The other sheets that have content."""
    uncomputed: tuple[tuple[int, int], ...]
    """Row (the first is 1) and place in it (the first is 0) of each formula whose value was never stored."""


def read_sheet(path: Path) -> Sheet:
    """Read the first sheet that is not hidden; its numbers are written as it shows them.

    Raises
    ------
    ValueError
        If there is none, the archive unfolds to far more than it is, or it has more than 10 million cells. What else
        openpyxl raises for a damaged file is passed on.
    """
    with BufferedReader(open_plain(path)) as file:
        require_safe_zip(file)
        return _read(file)


def _read(file: BinaryIO) -> Sheet:
    book = openpyxl.load_workbook(file, read_only=True, data_only=True)
    try:
        names = [sheet.title for sheet in book.worksheets if sheet.sheet_state == "visible"]
        if not names:
            raise ValueError("it has no sheet with cells that is not hidden")
        rows, blank = _rows(book, names[0])
        others = (sheet.title for sheet in book.worksheets if sheet.title != names[0])
        filled = tuple(name for name in others if _has_content(book, name))
    finally:
        book.close()
    return Sheet(names[0], rows, filled, _formulas(file, names[0], blank) if blank else ())


def _rows(book: Workbook, name: str) -> tuple[list[list[str]], set[tuple[int, int]]]:
    """Give the text of each row, and which cells are there without a value."""
    rows, blank = list[list[str]](), set[tuple[int, int]]()
    for row, cells in enumerate(_rows_of(book, name), start=1):
        rows.append([_shown(cell.value, cell.number_format or "") for cell in cells])
        for column, cell in enumerate(cells):
            # an empty text that a formula gave has the type "str"
            if cell.value is None and hasattr(cell, "row") and cell.data_type != "str":
                blank.add((row, column))
    return rows, blank


def _formulas(file: BinaryIO, name: str, blank: set[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Give those of the blank cells that hold a formula, which only a second look tells."""
    file.seek(0)
    book = openpyxl.load_workbook(file, read_only=True)
    try:
        return tuple(
            (row, column)
            for row, cells in enumerate(_rows_of(book, name), start=1)
            for column, cell in enumerate(cells)
            if (row, column) in blank and cell.data_type == "f"
        )
    finally:
        book.close()


def _has_content(book: Workbook, name: str) -> bool:
    return any(cell.value is not None for row in islice(_rows_of(book, name), LOOKED_AT) for cell in row)


def _rows_of(book: Workbook, name: str) -> Iterator[tuple[Any, ...]]:
    """Give the rows of a sheet as long as their cells are not too many."""
    book[name].reset_dimensions()  # what the file says of its size may be a million empty rows
    cells = 0
    for row in book[name].iter_rows():
        cells += max(1, len(row))
        if cells > MAX_CELLS:
            raise ValueError(
                f"its sheet '{name}' has more than {MAX_CELLS:,} cells; delete what lies far off the table"
            )
        yield row


def _shown(value: object, number_format: str) -> str:
    """Write a cell as the spreadsheet shows it: 7 in the format "000" is the id "007"."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return _shown_number(value, number_format)
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value)


def _shown_number(value: float, number_format: str) -> str:
    whole = isinstance(value, int) or value.is_integer()
    if whole and re.fullmatch("0+", number_format):
        return str(int(value)).zfill(len(number_format))
    if whole and (abs(value) < MAX_EXACT or number_format not in ("General", "")):
        return str(int(value))
    return f"{value:.15g}".upper()  # a spreadsheet keeps 15 digits
