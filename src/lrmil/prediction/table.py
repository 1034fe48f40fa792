"""The table of predictions: a row per slide, with the rows that earlier calls wrote."""

import csv
import io
import logging
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lrmil.errors import OverwriteError
from lrmil.io import atomic
from lrmil.io.ownership import is_out_of_fold_table, is_prediction_table, require_free
from lrmil.io.plain_files import read_bytes
from lrmil.io.safe_csv import csv_text, plain_cell
from lrmil.prediction.prediction import Prediction
from lrmil.slides.failures import Failure
from lrmil.tasks.task import Task, columns

TABLE = "predictions.csv"
MAX_TABLE = 1 << 30  # bytes
LABEL = 2  # column of the label, empty for a slide that failed
PAUSE = 1.0  # seconds between two writes, since the table of a large cohort is long

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PredictionRow:
    """One row of predictions.csv, JSON-ready.

    Attributes
    ----------
    status
        "ok", "uncertain", "escalated" (the teacher looked closer and answers) or "failed".
    probabilities
        Class -> probability, or the values of another task by name; empty if it failed.
    reason
        Why it failed, in one word (`lrmil.slides.failures.Failure`); or why it is uncertain, in one word or several
        (`lrmil.prediction.doubts`).
    checksum
        The checksum that the content was compared with (`lrmil.slides.checksums.comparison`), or that it was not.
    notes
        Sentences about how the slide was read, and which parts could not be.
    model
        SHA-256 of the model (`Bundle.sha256`).
    message
        Why it failed.
    slide_fingerprint
        Hash of the slide's content; "" if it failed. The table does not have it.
    plausible
        The classes in its conformal set, which the table does not have either; None if there is none.
    looked_closer
        Whether the answer is that of the teacher, which has looked closer, sure or not; the table has it in `notes`.
    """

    slide_id: str
    status: str
    label: str = ""
    probabilities: dict[str, float] = field(default_factory=dict)
    mpp: float | None = None
    mpp_source: str = ""
    n_patches: int = 0
    failed_patches: int = 0
    seconds: float = 0.0
    bytes_read: int | None = None
    reason: str = ""
    checksum: str = ""
    notes: tuple[str, ...] = ()
    model: str = ""
    message: str = ""
    slide_fingerprint: str = ""
    plausible: tuple[str, ...] | None = None
    looked_closer: bool = False


class PredictionTable:
    """The table of a batch while its slides are classified, written about once a second.

    Before an answer is replaced or left out, the table is copied, for instance to predictions-1.csv.

    Parameters
    ----------
    path
        The table, which may be absent.
    task
        What the model predicts.
    model
        SHA-256 of the model.
    rows
        Rows to start with, one for each slide of a list. None to keep the rows of an earlier call whose answers are
        still beside the table; a table with other columns, such as other classes, is renamed to predictions-1.csv.

    Raises
    ------
    OverwriteError
        If another file, or the table of a training run, has its name.
    """

    def __init__(self, path: Path, task: Task, *, model: str = "", rows: Sequence[PredictionRow] | None = None) -> None:
        self._path, self._task, self._written = path, task, 0.0
        self._copied = False
        if rows is None:
            self._lines = self._earlier()
        else:
            self._keep_other_models(model)
            self._lines = [_cells(row, task) for row in rows]
        self._index: dict[str, int] = {}  # of the first row of each slide: others of its name are never classified
        for index, line in enumerate(self._lines):
            self._index.setdefault(line[0], index)

    def add(self, row: PredictionRow) -> None:
        """Replace the row of a slide, or append it; the file follows about a second later."""
        cells = _cells(row, self._task)
        index = self._index.setdefault(row.slide_id, len(self._lines))
        if index == len(self._lines):
            self._lines.append(cells)
        elif self._lines[index] != cells:
            if self._lines[index][LABEL]:
                self._keep_copy()
            self._lines[index] = cells
        if time.monotonic() - self._written > PAUSE:
            self.write()

    def write(self) -> None:
        """Write the table, complete or not at all.

        Raises
        ------
        OverwriteError, OutputError
            If it cannot be written.
        """
        text = csv_text([_header(self._task), *self._lines])
        atomic.write_text(self._path, text, is_prediction_table)
        self._written = time.monotonic()

    def _earlier(self) -> list[list[str]]:
        if not os.path.lexists(self._path):
            return []
        if not is_prediction_table(self._path):
            _require_no_run(self._path)
            self._put_aside()
            return []
        try:
            text = read_bytes(self._path, max_bytes=MAX_TABLE).decode("utf-8", errors="backslashreplace")
            header, *lines = ([plain_cell(cell) for cell in line] for line in csv.reader(io.StringIO(text, newline="")))
        except (OSError, ValueError, csv.Error):
            header, lines = [], []
        if header != _header(self._task):
            self._put_aside()
            return []
        status = header.index("status")
        found = {
            line[0]: line
            for line in lines
            if len(line) == len(header) and (line[status] == "failed" or self._has_answer(line[0]))
        }
        if len(found) < len(lines):
            self._keep_copy()
        return list(found.values())

    def _has_answer(self, slide_id: str) -> bool:
        return (self._path.parent / f"{slide_id}.json").is_file()

    def _keep_copy(self) -> None:
        """Copy the table of an earlier call, once."""
        if not self._copied:
            keep_copy(self._path)
            self._copied = True

    def _keep_other_models(self, model: str) -> None:
        """Copy a table that has rows of another model."""
        require_free(self._path, is_prediction_table)
        if not self._path.is_file():
            return
        with self._path.open(encoding="utf-8", errors="replace", newline="") as file:
            if any(row.get("model") not in (None, "", model) for row in csv.DictReader(file)):
                self._keep_copy()

    def _put_aside(self) -> None:
        aside = atomic.move_aside(self._path)
        log.warning("%s was written with another model, version or program; it is kept as %s.", TABLE, aside.name)


def keep_copy(path: Path) -> None:
    """Copy a table whose rows are going to be replaced, for instance to predictions-1.csv."""
    if not path.is_file():
        return
    copy = atomic.numbered(path)
    with atomic.replacing(copy) as temporary:
        shutil.copyfile(path, temporary)
    log.warning("Rows of %s are replaced; the earlier table is kept as %s.", path.name, copy.name)


def _require_no_run(path: Path) -> None:
    """Require a plain file, and not the table of a training run, so that it can be renamed."""
    if path.is_symlink() or not path.is_file():
        require_free(path, is_prediction_table)
    if is_out_of_fold_table(path):
        raise OverwriteError(
            f"'{path.name}' in the output folder belongs to a training run. Choose another output folder, then run the "
            "same command again."
        )


def failed_row(slide_id: str, failure: Failure, model: str = "") -> PredictionRow:
    """Return the row of predictions.csv for a slide that failed.

    Parameters
    ----------
    slide_id
        The slide.
    failure
        Why it failed.
    model
        SHA-256 of the model.
    """
    return PredictionRow(
        slide_id=slide_id, status="failed", reason=failure.reason, model=model, message=failure.message
    )


def row_of(slide_id: str, prediction: Prediction) -> PredictionRow:
    """Return the row of predictions.csv for a slide that was classified.

    Parameters
    ----------
    slide_id
        The slide.
    prediction
        Its answer.
    """
    return PredictionRow(
        slide_id=slide_id,
        status=prediction.status,
        label=prediction.label,
        probabilities=prediction.probabilities,
        mpp=prediction.mpp,
        mpp_source=prediction.mpp_source,
        n_patches=len(prediction.patches) + prediction.failed_patches,
        failed_patches=prediction.failed_patches,
        seconds=prediction.timings["total"],
        bytes_read=prediction.bytes_read,
        checksum=prediction.checksum,
        reason=" ".join(prediction.reasons),
        notes=prediction.notes,
        model=prediction.bundle_sha256,
        slide_fingerprint=prediction.slide_fingerprint,
        plausible=prediction.plausible,
        looked_closer=prediction.escalation is not None,
    )


def table_of(rows: Sequence[PredictionRow], task: Task) -> str:
    """Return rows as CSV, with a column for each value of the task (`Task.names`).

    Parameters
    ----------
    rows
        The rows.
    task
        What the model predicts, for the columns.
    """
    return csv_text([_header(task), *(_cells(row, task) for row in rows)])


def _header(task: Task) -> list[str]:
    figures = ["mpp", "mpp_source", "n_patches", "failed_patches", "seconds"]
    words = ["reason", "checksum", "notes", "model", "message"]
    return ["slide_id", "status", "label", *columns(task, task.names), *figures, *words]


def _cells(row: PredictionRow, task: Task) -> list[str]:
    values = [f"{row.probabilities[name]:.6f}" if name in row.probabilities else "" for name in task.names]
    resolution = ["" if row.mpp is None else f"{row.mpp:.6g}", row.mpp_source]
    counts = [str(row.n_patches), str(row.failed_patches), f"{row.seconds:.3f}"]
    words = [row.reason, row.checksum, " ".join(row.notes), row.model, row.message]
    return [row.slide_id, row.status, row.label, *values, *resolution, *counts, *words]
