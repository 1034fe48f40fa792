"""The table of patients: one answer for each case, from the answers for its slides by the rule of the model."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lrmil.errors import names_of
from lrmil.io import atomic
from lrmil.io.headers import PATIENTS, PATIENTS_TAIL
from lrmil.io.locks import output_lock
from lrmil.io.ownership import is_patient_table, require_free
from lrmil.io.plain_files import read_bytes
from lrmil.io.safe_csv import csv_text
from lrmil.models.bundle import Bundle
from lrmil.prediction.doubts import doubts_in_words
from lrmil.prediction.table import MAX_TABLE, PredictionRow, keep_copy
from lrmil.slides.inputs import Inputs
from lrmil.slides.source import SlideSource
from lrmil.tasks.answers import Answer
from lrmil.tasks.case_rule import cases_in_order
from lrmil.tasks.task import Task, columns

TABLE = "patients.csv"
BETWEEN = "; "  # of the slides of a case


@dataclass(frozen=True, slots=True)
class PatientRow:
    """One row of patients.csv, JSON-ready.

    Attributes
    ----------
    status
        "ok", "uncertain", or "failed" if all slides failed.
    probabilities
        Class -> probability, or the values of another task by name; empty if it failed.
    n_slides, failed_slides, uncertain_slides
        Number of its slides that were to be classified, of those that failed and so have no say, and of those whose own
        answer is uncertain.
    rule
        How the slides were answered as one (`Bundle.case_rule`).
    model
        SHA-256 of the model (`Bundle.sha256`).
    slides
        Their ids, sorted.
    message
        Why it is uncertain, how many slides are where it is not, and which slides failed.
    """

    case_id: str
    status: str
    label: str = ""
    probabilities: dict[str, float] = field(default_factory=dict)
    n_slides: int = 0
    failed_slides: int = 0
    uncertain_slides: int = 0
    rule: str = ""
    model: str = ""
    slides: tuple[str, ...] = ()
    message: str = ""


def answer_patients(
    rows: Sequence[PredictionRow], case_of: Mapping[str, str], bundle: Bundle, *, uncertain_below: float = 0.0
) -> list[PatientRow]:
    """Return a row for each case, sorted by its name, from the rows of its slides.

    Parameters
    ----------
    rows
        Answers of `bundle` for the slides.
    case_of
        Slide id -> its case.
    bundle
        The model, whose rule makes one answer of several.
    uncertain_below
        Status "uncertain" when the highest probability of a case is below this.
    """
    of_case = cases_in_order([case_of[row.slide_id] for row in rows])
    return [_answered(case, [rows[place] for place in own], bundle, uncertain_below) for case, own in of_case.items()]


def answer_patient(rows: Sequence[PredictionRow], bundle: Bundle, *, uncertain_below: float = 0.0) -> Answer:
    """Return one answer from those for the slides of a patient.

    Besides the doubts about the values of the patient, it has the reasons of its slides if all of them are uncertain.
    It is decided as the teacher decides if the teacher answered all of them, else as the student does.

    Parameters
    ----------
    rows
        Answers for its slides, one or more, none of which failed.
    bundle, uncertain_below
        As for `answer_patients`.
    """
    task = bundle.task
    values = np.array([[row.probabilities[name] for name in task.names] for row in rows])
    decision = bundle.decision_of(teacher=all(row.looked_closer for row in rows))
    answer = task.answer(task.pooled(values, bundle.case_rule), decision, uncertain_below=uncertain_below)
    if any(row.status != "uncertain" for row in rows):
        return answer
    reasons = dict.fromkeys(reason for row in rows for reason in row.reason.split())
    doubted = answer.with_doubts(reason for reason in reasons if reason not in answer.reasons)
    return doubted._replace(status="uncertain")  # slides that an earlier version classified state no reasons


def require_patients_writable(out: Path, slides: Collection[SlideSource], inputs: Sequence[Path]) -> None:
    """Require, before slides are classified, that patients.csv can be written.

    Parameters
    ----------
    out
        Output folder.
    slides, inputs
        All that is read.

    Raises
    ------
    OverwriteError
        If it would replace another file or an input.
    """
    Inputs(slides, inputs).require_clear([out / TABLE])
    require_free(out / TABLE, is_patient_table)


def write_patients(out: Path, rows: Sequence[PatientRow], task: Task) -> Path:
    """Write patients.csv, and keep an earlier table that says something else as patients-1.csv.

    Parameters
    ----------
    out
        Output folder, which exists.
    rows
        All rows.
    task
        What the model predicts, for the columns.

    Returns
    -------
    Path
        The table.

    Raises
    ------
    OverwriteError
        If another file has its name.
    OutputError, RunError
        If it cannot be written, or another process writes into the folder.
    """
    path = out / TABLE
    header = [*PATIENTS, *columns(task, task.names), *PATIENTS_TAIL]
    text = csv_text([header, *(_cells(row, task) for row in rows)])
    with output_lock(out):
        require_free(path, is_patient_table)
        if path.is_file() and read_bytes(path, max_bytes=MAX_TABLE) != text.encode(errors="backslashreplace"):
            keep_copy(path)
        atomic.write_text(path, text, is_patient_table)
    return path


def _answered(case_id: str, rows: Sequence[PredictionRow], bundle: Bundle, uncertain_below: float) -> PatientRow:
    task = bundle.task
    good = [one for one in rows if one.status != "failed"]
    failed = sorted(one.slide_id for one in rows if one.status == "failed")
    row = PatientRow(
        case_id,
        "failed",
        n_slides=len(rows),
        failed_slides=len(failed),
        uncertain_slides=sum(one.status == "uncertain" for one in rows),
        rule=bundle.case_rule,
        model=bundle.sha256,
        slides=tuple(sorted(one.slide_id for one in rows)),
    )
    if not good:
        return replace(row, message=f"Failed: {names_of(failed)}. The table of slides says why.")
    answer = answer_patient(good, bundle, uncertain_below=uncertain_below)
    words = [f"Uncertain: {doubts_in_words(answer.reasons, task)}."] if answer.reasons else []
    if answer.status != "uncertain" and row.uncertain_slides:
        words.append(f"Uncertain slides: {row.uncertain_slides} of {len(rows)}.")
    words += [f"{len(failed)} of {len(rows)} slides failed: {names_of(failed)}. The others answer."] if failed else []
    return replace(row, status=answer.status, label=answer.label, probabilities=answer.values, message=" ".join(words))


def _cells(row: PatientRow, task: Task) -> list[str]:
    values = [f"{row.probabilities[name]:.6f}" if name in row.probabilities else "" for name in task.names]
    counts = [str(row.n_slides), str(row.failed_slides), str(row.uncertain_slides)]
    words = [row.rule, row.model, BETWEEN.join(row.slides), row.message]
    return [row.case_id, row.status, row.label, *values, *counts, *words]
