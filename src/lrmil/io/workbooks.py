"""Read the first visible sheet of an xlsx workbook as the text that a spreadsheet program shows."""

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

MAX_CELLS = 10_000_000  # a row with a cell in the last column counts as 16,384
MAX_EXACT = 1e15  # spreadsheets have lost digits of larger numbers, and show 1E+20
LOOKED_AT = 10_000  # rows of each other sheet searched for content


class Sheet(NamedTuple):
    """One sheet of a workbook, and the names of other sheets with content."""

    name: str
    rows: list[list[str]]
    """Not trimmed; rows may differ in length."""
    others: tuple[str, ...]
    """Names of the other sheets with content."""
    uncomputed: tuple[tuple[int, int], ...]
    """Row (from 1) and column (from 0) of each formula without a stored value."""


def read_sheet(path: Path) -> Sheet:
    """Read the first visible sheet, with numbers as the sheet shows them.

    Raises
    ------
    ValueError
        If there is no visible sheet, the archive expands to far more than its size, or the sheet has more than 10
        million cells.
    Exception
        Whatever openpyxl raises for a damaged file.
    """
    with BufferedReader(open_plain(path)) as file:
        require_safe_zip(file)
        return _read(file)


def _read(file: BinaryIO) -> Sheet:
    book = openpyxl.load_workbook(file, read_only=True, data_only=True)
    try:
        names = [sheet.title for sheet in book.worksheets if sheet.sheet_state == "visible"]
        if not names:
            raise ValueError("it has no visible sheet with cells")
        rows, blank = _rows(book, names[0])
        others = (sheet.title for sheet in book.worksheets if sheet.title != names[0])
        filled = tuple(name for name in others if _has_content(book, name))
    finally:
        book.close()
    return Sheet(names[0], rows, filled, _formulas(file, names[0], blank) if blank else ())


def _rows(book: Workbook, name: str) -> tuple[list[list[str]], set[tuple[int, int]]]:
    """Return the text of each row, and the cells that exist without a value."""
    rows, blank = list[list[str]](), set[tuple[int, int]]()
    for row, cells in enumerate(_rows_of(book, name), start=1):
        rows.append([_shown(cell.value, cell.number_format or "") for cell in cells])
        for column, cell in enumerate(cells):
            # an empty text computed by a formula has the type "str"
            if cell.value is None and hasattr(cell, "row") and cell.data_type != "str":
                blank.add((row, column))
    return rows, blank


def _formulas(file: BinaryIO, name: str, blank: set[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return the blank cells that hold a formula; only a second pass, without values, shows them."""
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
    """Yield the rows of a sheet, up to `MAX_CELLS` cells."""
    book[name].reset_dimensions()  # the stated size may include a million empty rows
    cells = 0
    for row in book[name].iter_rows():
        cells += max(1, len(row))
        if cells > MAX_CELLS:
            raise ValueError(
                f"its sheet '{name}' has more than {MAX_CELLS:,} cells; delete the cells far away from the table"
            )
        yield row


def _shown(value: object, number_format: str) -> str:
    """Return a cell as the spreadsheet shows it: 7 in the format "000" is the id "007"."""
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
