"""Write CSV text that is safe to open in a spreadsheet: no cell can run as a formula."""

import csv
import io
import re
from collections.abc import Iterable

# A spreadsheet runs these as formulas. "-12", "+ve" and "-" are harmless and kept: such ids and labels are common, and
# other programs read the file too.
FORMULA = re.compile(r"'*(?:[=@\t\r]|[+-].*[(|!\[])", re.DOTALL)


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    r"""Return rows as CSV text with \n line ends, and an apostrophe before each text that is a formula.

    `plain_cell` removes the apostrophe again; `lrmil.io.tables` applies it to every cell.
    """
    return "".join(_line([_inert(value) for value in row]) for row in rows)


def plain_cell(cell: str) -> str:
    """Return the original text of a cell to which `csv_text` added an apostrophe."""
    return cell[1:] if cell.startswith("'") and FORMULA.match(cell, 1) else cell


def _line(cells: list[object]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerow(cells)  # the writer quotes only what is part of its line end
    return text.getvalue()[:-2] + "\n"


def _inert(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value
