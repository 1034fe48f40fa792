"""Read the documents of a run folder, which may be damaged or made by others: bounded, typed, inside the folder."""

import csv
import io
import re
import tomllib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from lrmil.config_groups import MAX_INNER_FOLDS
from lrmil.configs import HeadName
from lrmil.errors import FormatError
from lrmil.io.plain_files import MAX_TEXT, read_bytes, read_text
from lrmil.io.safe_csv import plain_cell
from lrmil.io.untrusted import parse_json

MAX_TABLE = 256 << 20  # bytes
MAX_JSON = 64 << 20
MAX_NAME = 255  # bytes, as file systems allow
MAX_FOLDS = 10_000
FOLD = re.compile(r"fold-\w[\w.-]*|final")
SPLIT_COLUMNS = ("fold", "slide_id", "case_id", "label", "part")
PARTS = ("train", "val", "test")
MODEL_FOLDERS = ("model", "model/encoder", "model/teacher", "model/teacher/encoder")
FOLDERS = ("shared", "shared/hr", "shared/lr", "shared/patches", "shared/regions", "shared/start", *MODEL_FOLDERS)
FIRST_HEAD, *OTHER_HEADS = get_args(HeadName)


def inner_name(mil: str, head: str, number: int) -> str:
    """Return the name of the folder of a MIL of an inner fold; that of the first head does not state its head.

    Parameters
    ----------
    mil
        Name of the folder of the MIL that was trained on all slides.
    head
        Name of the head.
    number
        Number of the inner fold, from 0.
    """
    return f"{mil}.inner-{number}" if head == FIRST_HEAD else f"{mil}.{head}.inner-{number}"


def held_out_name(number: int) -> str:
    """Return the name of the folder of a student's MIL that has not seen the slides of a fold for the calibration.

    Parameters
    ----------
    number
        Number of that fold, from 0.
    """
    return f"lr_student.held-{number}"


INNER_FOLDERS = tuple(
    inner_name(mil, head, number)
    for mil in ("teacher", "lr_undistilled")
    for head in (FIRST_HEAD, *OTHER_HEADS)
    for number in range(MAX_INNER_FOLDS)
)
ARTEFACTS = (
    "head",
    "teacher",
    "evidence",
    "lr_encoder",
    "lr_student",
    "finish",
    "lr_undistilled",
    "outputs",
    "linear_heads",
    "calibration",
    "escalation",
    "escalation_test",
    *INNER_FOLDERS,
    *map(held_out_name, range(MAX_INNER_FOLDS + 1)),
)
FOLD_FOLDERS = (*ARTEFACTS, "lr", "lr_finished")


def read_toml_document(path: Path) -> dict[str, Any]:
    """Read a TOML document of a run.

    Raises
    ------
    FormatError
        If it is not TOML, too large, a link, or not a plain file.
    OSError
        If it cannot be read.
    """
    text = read_text(path, max_bytes=MAX_TEXT, follow=False)
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "it nests too deeply" if isinstance(error, RecursionError) else str(error)
        raise FormatError(f"{path} is not a valid TOML document: {reason}.") from error


def read_json_document(path: Path) -> Any:
    """Read a JSON document of a run.

    Raises
    ------
    FormatError
        If it is not JSON, too large, a link, or not a plain file.
    OSError
        If it cannot be read.
    """
    return parse_json(read_bytes(path, max_bytes=MAX_JSON, follow=False), path, printable=False)


def read_csv_rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV table of a run as one dict per row, keyed by column name.

    Raises
    ------
    FormatError
        If it is not CSV, too large, a link, or a row and the header differ in their number of cells.
    OSError
        If it cannot be read.
    """
    header, rows = _table(path)
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise FormatError(f"Expected {len(header)} values in row {number} of {path}. Got {len(row)}.")
    return [{name: plain_cell(cell) for name, cell in zip(header, row, strict=True)} for row in rows]


def read_split_rows(path: Path) -> list[list[str]]:
    """Read the rows of splits.csv: fold, slide_id, case_id, label, part.

    Raises
    ------
    FormatError
        If the columns, a part, a fold or a slide id are not valid for a run, or as `read_csv_rows`.
    OSError
        If it cannot be read.
    """
    header, rows = _table(path)
    if tuple(header) != SPLIT_COLUMNS:
        found = ",".join(header)[:200]
        raise FormatError(
            f"Expected the columns {','.join(SPLIT_COLUMNS)} in '{path}'. Got {found}. Delete this file and rerun."
        )
    for number, row in enumerate(rows, start=2):
        if len(row) != len(SPLIT_COLUMNS) or row[4] not in PARTS:
            raise FormatError(
                f"Expected five values in row {number} of '{path}', the last one train, val or test. Got {row}."
            )
        require_fold(row[0])
        require_slide_id(plain_cell(row[1]))
    return rows


def require_fold(name: str) -> str:
    """Return the name of a fold if it is a plain name; any other could lead out of the run folder.

    Raises
    ------
    FormatError
        If it is not the name of a fold.
    """
    if not FOLD.fullmatch(name) or len(name.encode(errors="replace")) > MAX_NAME:
        raise FormatError(f"Expected a fold named fold-... or final. Got {name[:80]!r}; the run was edited by hand.")
    return name


def require_slide_id(name: str) -> str:
    """Return the id of a slide if it is a plain name; one with a folder in it could lead out of the run folder.

    Raises
    ------
    FormatError
        If it is not the name of a slide.
    """
    if name in ("", ".", "..") or set(name) & set("/\\\0") or len(name.encode(errors="replace")) > MAX_NAME:
        raise FormatError(f"Expected a slide name without folders. Got {name[:80]!r}; the run was edited by hand.")
    return name


def require_no_links(run: Path) -> None:
    """Require that every folder of a run lies inside it: a link would let a run write or delete files elsewhere.

    Raises
    ------
    FormatError
        With the folder that is a link.
    """
    for path in _paths_in(run):
        if path.is_symlink():
            raise FormatError(
                f"The folder {path.relative_to(run)} of the run {run} is a link to another folder. Replace the link by "
                "the folder itself, or move the whole run."
            )


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    text = read_text(path, max_bytes=MAX_TABLE, follow=False)
    try:
        header, *rows = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
    except csv.Error as error:
        raise FormatError(f"{path} is not a valid CSV table: {error}.") from error
    return header, rows


def _paths_in(run: Path) -> Iterator[Path]:
    yield from (run / name for name in FOLDERS)
    try:
        folds = [path for path in islice(run.iterdir(), MAX_FOLDS) if FOLD.fullmatch(path.name)]
    except OSError:  # reading or writing it reports the reason
        return
    for fold in folds:
        yield fold
        yield from (fold / name for name in FOLD_FOLDERS)
