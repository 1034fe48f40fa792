"""Open slides of the list in the viewer, and show there what the chosen model said of them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lrmil.steps import Step
from napari_lrmil.jobs.latest import LatestJob
from napari_lrmil.session.session import Session
from napari_lrmil.session.worklist_viewer import current_slide, show_opened
from napari_lrmil.state.messages import explain
from napari_lrmil.state.shown import ShownPrediction
from napari_lrmil.state.worklist import Entry
from napari_lrmil.widgets.parts import MessageLine
from napari_lrmil.widgets.worklist.answers import ListAnswers
from napari_lrmil.widgets.worklist.table import WorklistTable
from napari_lrmil.widgets.worklist.view import WorklistView

if TYPE_CHECKING:
    from napari_lrmil.jobs.classify_list import Opened


class Opening:
    """Opens one slide of the list at a time, in a thread; the latest one counts.

    Parameters
    ----------
    session
        The session of the viewer.
    table, view, answers, message
        Parts of the worklist.
    """

    def __init__(
        self, session: Session, table: WorklistTable, view: WorklistView, answers: ListAnswers, message: MessageLine
    ) -> None:
        self._session, self._table, self._view = session, table, view
        self._answers, self._message = answers, message
        self._job, self._reading = LatestJob(view), LatestJob(view)

    def forget(self) -> None:
        """Show nothing of what is being read."""
        self._job.forget()
        self._reading.forget()

    def open_slide(self, entry: Entry) -> None:
        """Show a slide of the list in the viewer, with its saved prediction."""
        results, model = self._session.preferences.results, self._answers.model

        def steps() -> "Iterator[Step[Opened]]":
            from napari_lrmil.jobs.classify_list import open_entry

            yield from open_entry(entry, results, model)

        self._message.say(f"Opening {entry.slide_id}.")
        self._job.start(
            steps,
            name=f"open {entry.slide_id}",
            on_result=lambda opened: self._show_opened(entry, opened),
            on_error=lambda error: self._message.warn(explain(error)),
        )

    def show_saved(self) -> None:
        """Show the saved answer of the slide that the user is on, if it is of the list and none is shown."""
        row = self._table.row_of(current_slide(self._session))
        if row is None or self._session.shown is not None:
            return
        entry = self._table.lines[row].entry
        results, model = self._session.preferences.results, self._answers.model

        def steps() -> "Iterator[Step[ShownPrediction | None]]":
            from napari_lrmil.jobs.classify_list import read_shown

            yield Step(("read results",), 1, 1, result=read_shown(entry, results, model)[0])

        def take(shown: ShownPrediction | None) -> None:
            if shown is not None and model == self._answers.model:
                self._session.take(shown)

        self._reading.start(
            steps,
            name=f"read {entry.slide_id}",
            on_result=take,
            on_error=lambda error: self._message.warn(explain(error)),
        )

    def _show_opened(self, entry: Entry, opened: "Opened") -> None:
        show_opened(self._session, entry, opened)
        self._message.say(opened.note)
        if (row := self._table.row_of(entry.path)) is not None:
            self._view.go_to(row)
