"""The table of patients that belongs to the list: chosen once for a folder, and read again with it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from qtpy.QtWidgets import QFileDialog

from lrmil.steps import Step
from napari_lrmil.jobs.latest import LatestJob
from napari_lrmil.session.session import Session
from napari_lrmil.state.messages import explain
from napari_lrmil.state.worklist_patients import Patients, patient_answer, read_patients, recall_table, remember_table
from napari_lrmil.widgets.parts import MessageLine
from napari_lrmil.widgets.worklist.line import Line
from napari_lrmil.widgets.worklist.table import WorklistTable
from napari_lrmil.widgets.worklist.view import WorklistView

KINDS = "Tables (*.csv *.tsv *.txt *.xlsx);;All files (*)"


class ListPatients:
    """Reads in a thread which slides of a folder are whose, and shows their patients in the table.

    Parameters
    ----------
    table, view
        The list; the columns of the patients are hidden while none is known.
    message
        Where to say which slides have no patient, or why the table of patients cannot be used.
    """

    def __init__(self, table: WorklistTable, view: WorklistView, message: MessageLine) -> None:
        self._table, self._view, self._message = table, view, message
        self._job = LatestJob(view)

    def ask(self, folder: Path | None) -> None:
        """Let the user choose the table of a folder."""
        title = "Choose a table with the columns slide_id and case_id (the patient)"
        if folder is None:
            self._message.say("Choose a folder of slides first.")
        elif name := QFileDialog.getOpenFileName(self._view, title, str(folder), KINDS)[0]:
            remember_table(folder, Path(name))
            self.read(folder)

    def read(self, folder: Path | None) -> None:
        """Read the table of a folder again, if one was chosen for it."""
        table, slide_ids = folder and recall_table(folder), [entry.slide_id for entry in self._table.entries]
        if table is None or not slide_ids:
            self.forget()
            return

        def steps() -> Iterator[Step[Patients]]:
            yield Step(("read patients",), 1, 1, result=read_patients(table, slide_ids))

        self._job.start(steps, name=f"read {table.name}", on_result=self._take, on_error=self._refuse)

    def forget(self) -> None:
        """Show no patients."""
        self._job.forget()
        self._show({})

    def _take(self, patients: Patients) -> None:
        self._show(patients.case_of)
        if patients.note:
            self._message.say(patients.note)

    def _refuse(self, error: Exception) -> None:
        self._show({})
        self._message.warn(explain(error))

    def _show(self, case_of: Mapping[str, str]) -> None:
        self._table.set_cases(case_of)
        self._view.show_patients(shown=self._table.has_cases)


def answer_by(session: Session) -> Callable[[Sequence[Line]], str]:
    """Return the function that answers for a patient, from the lines of all slides, by the model in use.

    Parameters
    ----------
    session
        Gives the model, and below which probability an answer is uncertain.
    """

    def answer(lines: Sequence[Line]) -> str:
        below, hidden = session.preferences.uncertain_below, any(line.hidden for line in lines)
        entries = [line.entry for line in lines]
        by = {entry.row.model for entry in entries if entry.row is not None and entry.done}
        bundle = session.bundle if by <= {session.hash_in_use} else None  # the rule is that of the model that answered
        return patient_answer(entries, bundle, uncertain_below=below, hidden=hidden)

    return answer
