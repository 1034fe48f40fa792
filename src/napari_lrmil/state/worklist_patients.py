"""The patients of a list: which slides are whose, by a table, and what the model says of each patient so far."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lrmil.cohorts.case_table import read_cases
from lrmil.errors import names_of
from napari_lrmil.state import folders
from napari_lrmil.state.worklist import Entry

if TYPE_CHECKING:
    from lrmil.models.bundle import Bundle

HIDDEN = "read first"


class Patients(NamedTuple):
    """The patient of each slide that the table has a row for."""

    case_of: dict[str, str]
    """Slide id -> case id."""
    note: str
    """Which slides have no patient; "" if all have one."""


def read_patients(table: Path, slide_ids: Sequence[str]) -> Patients:
    """Read which slides are whose.

    Parameters
    ----------
    table
        A table like a labels table, with the columns slide_id and case_id.
    slide_ids
        The slides of the list.

    Raises
    ------
    CohortError
        If the table cannot be used.
    """
    found = read_cases(table, slide_ids)
    note = f"{table.name} has no patient for {names_of(found.without)}." if found.without else ""
    return Patients(found.by_slide, note)


def remember_table(folder: Path, table: Path) -> None:
    """Save which table has the patients of a folder of slides."""
    folders.remember(_name(folder), str(table))


def recall_table(folder: Path) -> Path | None:
    """Return the table that was saved for a folder of slides; None without one."""
    found = folders.recall(_name(folder))
    return Path(found) if found else None


def patient_answer(
    entries: Sequence[Entry], bundle: "Bundle | None", *, uncertain_below: float = 0.0, hidden: bool = False
) -> str:
    """Return what a model says of a patient, from those of the slides that it has classified.

    Parameters
    ----------
    entries
        All slides of the patient.
    bundle
        The model in use, whose rule makes one answer of several; None without one.
    uncertain_below
        As in `lrmil.prediction.options.PredictOptions`.
    hidden
        Whether the output of one of these slides waits for the reader's own label.

    Returns
    -------
    str
        Such as "tumour 91.3 %", with "2 of 3 slides" while others are not classified, and "uncertain" where it is so.
    """
    rows = [entry.row for entry in entries if entry.row is not None and entry.done]
    so_far = [] if len(rows) == len(entries) else [f"{len(rows)} of {len(entries)} slides"]
    if not rows or bundle is None:
        return so_far[0] if so_far else ""
    if hidden:
        return ", ".join([HIDDEN, *so_far])
    from lrmil.prediction.patients import answer_patient  # takes torch's seconds, which the bundle has taken

    answer = answer_patient(rows, bundle, uncertain_below=uncertain_below)
    share = answer.values.get(answer.label)
    said = answer.label if share is None else f"{answer.label} {100 * share:.1f} %"
    return ", ".join([said, *(["uncertain"] if answer.status == "uncertain" else []), *so_far])


def _name(folder: Path) -> str:
    return f"patients of {folder.resolve()}"
