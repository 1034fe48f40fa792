"""Rows as CSV text that is safe to open in a spreadsheet: no cell of it can become a formula that runs."""

import csv
import io
import re
from collections.abc import Iterable

# A spreadsheet takes these for formulas. "-12", "+ve" or "-" it shows or computes at worst, so they stay what they are:
# ids and labels like them are common, and other programs read the file too.
FORMULA = re.compile(r"'*(?:[=@\t\r]|[+-].*[(|!\[])", re.DOTALL)


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Write rows as CSV with plain line ends; text that a spreadsheet would run as a formula gets an apostrophe before.

    `plain_cell` takes the apostrophe away again, as `lrmil.io.tables` does for every cell that it reads.
    """
    return "".join(_line([_inert(value) for value in row]) for row in rows)


def plain_cell(cell: str) -> str:
    """Give back the text of a cell that `csv_text` made inert."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell, 1) else cell


def _line(cells: list[object]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # the writer quotes only what is part of its line end
    return text.getvalue()[:-2] + "\n"


def _inert(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value
