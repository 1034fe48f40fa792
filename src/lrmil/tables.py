"""A table file (csv, tsv, xlsx) becomes rows of trimmed text, nothing guessed about what the text means."""

import csv
import datetime
import io
import re
import zipfile
import zlib
from pathlib import Path
from xml.etree.ElementTree import ParseError

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from lrmil.csv_text import plain_cell
from lrmil.errors import CohortError

INVISIBLE = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u200b": "", "\u2060": "", "\ufeff": ""})
SEPARATOR_LINE = re.compile(r"sep=(.)(?:\r\n|\r|\n)")  # Excel's own first line, which it does not show
LONGEST = 1e15  # of a longer number the spreadsheet has already lost digits, and shows 1E+20
UNREADABLE = (
    EOFError,
    MemoryError,
    TypeError,
    OSError,
    KeyError,
    ValueError,
    csv.Error,
    zipfile.BadZipFile,
    zlib.error,
    ParseError,
    InvalidFileException,
)


def read_records(path: Path) -> list[list[str]]:
    """Read every row of a table as text, so that "001" and "1e5" stay what they were.

    Parameters
    ----------
    path
        A ``.csv``, ``.tsv`` or ``.txt`` file (comma, semicolon or tab; UTF-8, UTF-16 or Windows' Western code page) or
        the first sheet of an ``.xlsx`` file, whose numbers are written as the sheet shows them.

    Returns
    -------
    list of list of str
        The header and the rows below it as a spreadsheet counts them: blank rows are kept, rows may differ in length.

    Raises
    ------
    CohortError
        If the file cannot be read as a table, is empty, or has nothing in its first row.
    """
    readers = {".csv": _read_text, ".tsv": _read_text, ".txt": _read_text, ".xlsx": _read_xlsx, ".xlsm": _read_xlsx}
    if not path.is_file():
        raise CohortError(f"Expected a labels table at '{path}'; there is no such file. Check the path.")
    if path.suffix.lower() not in readers:
        raise CohortError(f"Expected a .csv, .tsv or .xlsx table; got '{path.name}'. Save it as CSV and try again.")
    try:
        records = readers[path.suffix.lower()](path)
    except UNREADABLE as error:
        raise CohortError(f"'{path}' cannot be read as a table: {error}. Save it again as CSV (UTF-8).") from error
    if not any(any(cells) for cells in records):
        raise CohortError(f"Expected a header and rows in '{path}'; it is empty. Is it the right file?")
    if not any(records[0]):
        raise CohortError(f"Expected column names in the first row of '{path}'; it is empty. Put the header in row 1.")
    return records


def _read_text(path: Path) -> list[list[str]]:
    text = _decode(path.read_bytes())
    if hint := SEPARATOR_LINE.match(text):
        delimiter, text = hint[1], text[hint.end() :]
    else:
        first = re.split(r"[\r\n]", text, maxsplit=1)[0]
        delimiter = max(",;\t", key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    return [[_trimmed(cell) for cell in cells] for cells in reader]


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


def _read_xlsx(path: Path) -> list[list[str]]:
    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    try:
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # what the file says of its size may be a million empty rows
        return [[_shown(cell.value, cell.number_format or "") for cell in row] for row in sheet.iter_rows()]
    finally:
        book.close()


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
    return _trimmed(str(value))


def _shown_number(value: float, number_format: str) -> str:
    whole = isinstance(value, int) or value.is_integer()
    if whole and re.fullmatch("0+", number_format):
        return str(int(value)).zfill(len(number_format))
    if whole and (abs(value) < LONGEST or number_format not in ("General", "")):
        return str(int(value))
    return f"{value:.15g}".upper()  # a spreadsheet keeps 15 digits
