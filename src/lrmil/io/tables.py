"""A table file (csv, tsv, xlsx) becomes rows of trimmed text, nothing guessed about what the text means."""

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import ParseError

from openpyxl.utils.exceptions import InvalidFileException

from lrmil.errors import CohortError
from lrmil.io.plain_files import read_bytes
from lrmil.io.safe_csv import plain_cell
from lrmil.io.workbooks import Sheet, read_sheet

INVISIBLE = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u200b": "", "\u2060": "", "\ufeff": ""})
SEPARATOR_LINE = re.compile(r"sep=(.)(?:\r\n|\r|\n)")  # Excel's own first line, which it does not show
TEXTS, WORKBOOKS = (".csv", ".tsv", ".txt"), (".xlsx", ".xlsm")
MAX_TEXT = 256 << 20  # bytes
LISTED = 10  # rows written out in one message
UNREADABLE = (
    EOFError,
    MemoryError,
    TypeError,
    OSError,
    LookupError,
    AttributeError,  # of openpyxl, for parts that are missing
    ValueError,
    csv.Error,
    zipfile.BadZipFile,
    zlib.error,
    ParseError,
    InvalidFileException,
)


class Table(NamedTuple):
    """The rows of a table file, and the sheet of a workbook that they are."""

    path: Path
    records: list[list[str]]
    """The header and the rows below it as a spreadsheet counts them: blank rows are kept, rows may differ in length."""
    sheet: Sheet | None = None
    what: str = "table"
    """Which table this is, for messages: "labels table"."""

    @property
    def title(self) -> str:
        """Which table this is and where, for messages."""
        return f"the {self.what} '{self.path}'"

    @property
    def sheet_hint(self) -> str:
        """Where the rows were looked for, to stand behind the path in a message; empty where that is plain."""
        if self.sheet is None or not self.sheet.others:
            return ""
        return f" (its first sheet, '{self.sheet.name}'; the others, {_quoted(self.sheet.others)}, are not read)"

    @property
    def unread(self) -> str:
        """A sentence about the sheets with content that are not read; empty where there are none."""
        if self.sheet is None or not self.sheet.others:
            return ""
        count = len(self.sheet.others) + 1
        others = _quoted(self.sheet.others)
        return (
            f"The {self.what} '{self.path.name}' has {count} sheets with rows; the first, '{self.sheet.name}', "
            f"is read, {others} not."
        )

    def require_values(self, columns: Collection[int]) -> None:
        """Refuse formulas that a program wrote and no spreadsheet has computed: their cells look empty.

        Raises
        ------
        CohortError
            If there are such in the header or in one of the columns (the first is 0).
        """
        found = () if self.sheet is None else self.sheet.uncomputed
        rows = sorted({row for row, column in found if row == 1 or column in columns})
        if rows:
            more = f" and {len(rows) - LISTED} more" if len(rows) > LISTED else ""
            raise CohortError(
                f"Expected values in {self.title}. Got formulas that were never computed in "
                f"{'row' if len(rows) == 1 else 'rows'} {', '.join(map(str, rows[:LISTED]))}{more}; open and save it "
                "in the spreadsheet program first."
            )


def read_table(path: Path, what: str = "table") -> Table:
    """Read every row of a table as text, so that "001" and "1e5" stay what they were.

    Parameters
    ----------
    path
        A ``.csv``, ``.tsv`` or ``.txt`` file (comma, semicolon or tab; UTF-8, UTF-16 or Windows' Western code page) or
        the first sheet that is not hidden of an ``.xlsx`` file, whose numbers are written as the sheet shows them.
    what
        Which table this is, for messages: "labels table".

    Raises
    ------
    CohortError
        If the file cannot be read as a table, is empty, or has nothing in its first row.
    """
    if not path.is_file():
        raise CohortError(f"Expected the {what} at '{path}'; there is no such file. Check the path.")
    if path.suffix.lower() not in TEXTS + WORKBOOKS:
        raise CohortError(
            f"Expected a .csv, .tsv or .xlsx file as the {what}; got '{path.name}'. Save it as CSV and try again."
        )
    try:
        table = _read_xlsx(path) if path.suffix.lower() in WORKBOOKS else Table(path, list(_read_text(path)))
    except UNREADABLE as error:
        raise CohortError(
            f"The {what} '{path}' cannot be read as a table: {error}. Save it again as CSV (UTF-8)."
        ) from error
    table = table._replace(what=what)
    if not any(any(cells) for cells in table.records):
        table.require_values(())
        remedy = "Move the sheet that is meant to the front." if table.sheet_hint else "Is it the right file?"
        raise CohortError(f"Expected a header and rows in {table.title}{table.sheet_hint}; it is empty. {remedy}")
    if not any(table.records[0]):
        table.require_values(())
        raise CohortError(
            f"Expected column names in the first row of {table.title}{table.sheet_hint}; it is empty. "
            "Put the header in row 1."
        )
    return table


def read_records(path: Path, what: str = "table") -> list[list[str]]:
    """Read the rows of a table alone; see `read_table`, which also tells which sheet they are.

    Raises
    ------
    CohortError
        As `read_table`.
    """
    return read_table(path, what).records


def _read_text(path: Path) -> Iterator[list[str]]:
    text = _decode(read_bytes(path, max_bytes=MAX_TEXT))
    hidden = 0  # lines that a spreadsheet does not show
    if hint := SEPARATOR_LINE.match(text):
        delimiter, text, hidden = hint[1], text[hint.end() :], 1
    else:
        first = re.split(r"[\r\n]", text, maxsplit=1)[0]
        delimiter = max(",;\t", key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    row, line = 1, 1 + hidden
    try:
        for cells in reader:
            yield [_trimmed(cell) for cell in cells]
            row, line = row + 1, reader.line_num + 1 + hidden
    except csv.Error as error:
        where = f"row {row}" if line == row else f"row {row} (line {line} of the file)"
        raise ValueError(
            f"expected quotes that open and close around a whole cell. Got {where}, where {_fault(str(error))}; "
            "fix the quotes there"
        ) from error


def _fault(reason: str) -> str:
    if "unexpected end" in reason:
        return "a quote is opened and never closed"
    if "field limit" in reason:
        return f"a cell has more than {csv.field_size_limit():,} characters, as where a quote is never closed"
    return f"a quote is opened and the next one does not end its cell ({reason})"


def _read_xlsx(path: Path) -> Table:
    sheet = read_sheet(path)
    return Table(path, [[_trimmed(cell) for cell in cells] for cells in sheet.rows], sheet)


def _quoted(names: Collection[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _decode(data: bytes) -> str:
    """Excel writes UTF-8 with a mark, UTF-16 ("Unicode text") or the local 8-bit code page, as the user chose."""
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = data.decode("utf-16") if marked else _decode_bytes(data)
    if "\x00" in text:
        raise ValueError("it holds binary data, not text")
    return text


def _decode_bytes(data: bytes) -> str:
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")  # cp1252 leaves five bytes undefined


def _trimmed(cell: str) -> str:
    """Take away what nobody sees: spaces around, spaces that do not break, marks without width."""
    return plain_cell(cell.translate(INVISIBLE).strip())
