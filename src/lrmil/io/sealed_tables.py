"""CSV tables whose last column is named by a hash of the rest: an edited one is told and never replaced."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from lrmil.io.marks import csv_header, hash_from, head_of
from lrmil.io.safe_csv import csv_text

ESCAPES = "backslashreplace"  # as `lrmil.io.atomic.write_text` encodes names that are not UTF-8


def sealed_text(mark: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as CSV text with one more column, which is empty and named after mark and hash.

    Parameters
    ----------
    mark
        Name and version of the format, such as "lrmil.labels/1".
    header
        Names of the columns, without line breaks.
    rows
        The cells of each row, as many as the header has.
    """
    body = csv_text([*row, ""] for row in rows)
    return csv_text([[*header, f"{mark}:{hashlib.sha256(body.encode(errors=ESCAPES)).hexdigest()}"]]) + body


def is_sealed(path: Path, mark: str, header: Sequence[str]) -> bool:
    """Return whether a file is an unedited table that `sealed_text` made.

    Parameters
    ----------
    path
        The file.
    mark, header
        As for `sealed_text`.
    """
    found = csv_header(path)
    start = head_of(path).find(b"\n") + 1
    return start > 0 and found == [*header, f"{mark}:{hash_from(path, start)}"]
