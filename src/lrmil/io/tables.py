"""Read a table file (csv, tsv, xlsx) as rows of trimmed text, without guessing what the text means."""

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.etree.ElementTree import ParseError

from lrmil.errors import CohortError
from lrmil.io.plain_files import read_bytes
from lrmil.io.safe_csv import plain_cell

if TYPE_CHECKING:
    from lrmil.io.workbooks import Sheet

INVISIBLE = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u200b": "", "\u2060": "", "\ufeff": ""})
UNWRITABLE = re.compile("[\0\ud800-\udfff]")  # binary data for a reader, and what UTF-8 cannot encode
SEPARATOR_LINE = re.compile(r"sep=(.)(?:\r\n|\r|\n)")  # a first line that Excel writes and does not show
TEXTS, WORKBOOKS = (".csv", ".tsv", ".txt"), (".xlsx", ".xlsm")
MAX_TEXT = 256 << 20  # bytes
LISTED = 10  # rows listed in one message
UNREADABLE = (
    EOFError,
    MemoryError,
    TypeError,
    OSError,
    LookupError,
    AttributeError,  # openpyxl raises it for missing parts
    ValueError,
    csv.Error,
    zipfile.BadZipFile,
    zlib.error,
    ParseError,
)


class Table(NamedTuple):
    """The rows of a table file and, for a workbook, the sheet they come from."""

    path: Path
    records: list[list[str]]
    """The header and all rows below it: blank rows are kept, so that row numbers match; rows may differ in length."""
    sheet: "Sheet | None" = None
    what: str = "table"
    """Kind of table for messages, such as "labels table"."""

    @property
    def title(self) -> str:
        """Kind and path of the table, for messages."""
        return f"the {self.what} '{self.path}'"

    @property
    def sheet_hint(self) -> str:
        """Which sheet was read, to follow the path in a message; empty if no other sheet has content."""
        if self.sheet is None or not self.sheet.others:
            return ""
        return f" (its first sheet, '{self.sheet.name}'; the other sheets, {_quoted(self.sheet.others)}, are not read)"

    @property
    def unread(self) -> str:
        """Sentence about sheets that have content but are not read; empty if there are none."""
        if self.sheet is None or not self.sheet.others:
            return ""
        count = len(self.sheet.others) + 1
        others = _quoted(self.sheet.others)
        return (
            f"The {self.what} '{self.path.name}' has {count} sheets with rows. Only the first, '{self.sheet.name}', is "
            f"read; {others} {'is' if count == 2 else 'are'} not."
        )

    def require_values(self, columns: Collection[int]) -> None:
        """Require that no formula without a stored value is in the header or in the given columns.

        A program writes such formulas; their cells look empty until a spreadsheet program computes them.

        Parameters
        ----------
        columns
            Indices of columns, from 0.

        Raises
        ------
        CohortError
            If there is such a formula; the message lists the rows.
        """
        found = () if self.sheet is None else self.sheet.uncomputed
        rows = sorted({row for row, column in found if row == 1 or column in columns})
        if rows:
            more = f" and {len(rows) - LISTED} more" if len(rows) > LISTED else ""
            raise CohortError(
                f"The {self.what} '{self.path}' has formulas without computed values in "
                f"{'row' if len(rows) == 1 else 'rows'} {', '.join(map(str, rows[:LISTED]))}{more}. Open and save it "
                "in a spreadsheet program first."
            )


def read_table(path: Path, *, what: str = "table") -> Table:
    """Read every row of a table as text, so that "001" and "1e5" are not changed.

    Parameters
    ----------
    path
        A ``.csv``, ``.tsv`` or ``.txt`` file (comma, semicolon or tab; UTF-8, UTF-16 or Windows-1252), or an ``.xlsx``
        file. Of a workbook the first visible sheet is read, with numbers as the sheet shows them.
    what
        Kind of table for messages, such as "labels table".

    Raises
    ------
    CohortError
        If the file cannot be read as a table, is empty, or has an empty first row.
    """
    if not path.is_file():
        raise CohortError(f"There is no {what} at '{path}'. Check the path.")
    if path.suffix.lower() not in TEXTS + WORKBOOKS:
        raise CohortError(
            f"Expected a .csv, .tsv or .xlsx file as the {what}. Got '{path.name}'. Save it as CSV and try again."
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
        remedy = "Move the sheet with the table to the front." if table.sheet_hint else "Is it the right file?"
        raise CohortError(f"The {what} '{path}'{table.sheet_hint} is empty. {remedy}")
    if not any(table.records[0]):
        table.require_values(())
        raise CohortError(f"The first row of {table.title}{table.sheet_hint} is empty. Put the column names in row 1.")
    return table


def read_records(path: Path, *, what: str = "table") -> list[list[str]]:
    """Return only the rows of a table; see `read_table`, which also returns the sheet.

    Raises
    ------
    CohortError
        As `read_table`.
    """
    return read_table(path, what=what).records


def visible_text(text: str) -> str:
    """Remove what a person cannot see, as every cell is read: outer spaces, non-breaking ones, zero-width marks."""
    return text.translate(INVISIBLE).strip()


def is_readable(text: str) -> bool:
    """Return whether a text that `lrmil.io.safe_csv` writes as a cell is read back as it was."""
    return visible_text(text) == text and not UNWRITABLE.search(text)


def _read_text(path: Path) -> Iterator[list[str]]:
    text = _decode(read_bytes(path, max_bytes=MAX_TEXT))
    hidden = 0  # lines that a spreadsheet program does not show
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
        raise ValueError(f"in {where} {_fault(str(error))}; fix the quotes there") from error


def _fault(reason: str) -> str:
    if "unexpected end" in reason:
        return "a quote opens and never closes"
    if "field limit" in reason:
        return f"a cell has more than {csv.field_size_limit():,} characters, perhaps because a quote never closes"
    return f"a quote opens and the next quote does not end the cell ({reason})"


def _read_xlsx(path: Path) -> Table:
    from openpyxl.utils.exceptions import InvalidFileException  # slow to import, and most tables are texts

    from lrmil.io.workbooks import read_sheet

    try:
        sheet = read_sheet(path)
    except InvalidFileException as error:
        raise ValueError(str(error)) from error
    return Table(path, [[_trimmed(cell) for cell in cells] for cells in sheet.rows], sheet)


def _quoted(names: Collection[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _decode(data: bytes) -> str:
    """Decode what Excel writes: UTF-8 with a byte order mark, UTF-16 ("Unicode text"), or the local 8-bit code page."""
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    text = data.decode("utf-16") if marked else _decode_bytes(data)
    if "\x00" in text:
        raise ValueError("it is binary data, not text")
    return text


def _decode_bytes(data: bytes) -> str:
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")  # cp1252 does not define five bytes


def _trimmed(cell: str) -> str:
    return plain_cell(visible_text(cell))
