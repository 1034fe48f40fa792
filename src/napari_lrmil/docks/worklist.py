"""The dock widget "Worklist": a folder of slides as a table, to classify them all and review them in turn."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from qtpy.QtCore import QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QVBoxLayout, QWidget

from lrmil.steps import Step
from napari_lrmil.jobs.latest import LatestJob
from napari_lrmil.session.worklist_review import judge_by
from napari_lrmil.session.worklist_viewer import current_slide
from napari_lrmil.state import folders
from napari_lrmil.state.answers import table_file
from napari_lrmil.state.messages import explain
from napari_lrmil.state.shown import ShownPrediction
from napari_lrmil.state.worklist import FIND, JOB, Entry, scan, summary, unread, with_prediction
from napari_lrmil.widgets.parts import MessageLine, Text, beside, keeping_room, listen
from napari_lrmil.widgets.review_strip import show_strip
from napari_lrmil.widgets.session_dock import Place, SessionDock
from napari_lrmil.widgets.worklist.going_on import GoingOn
from napari_lrmil.widgets.worklist.opening import Opening
from napari_lrmil.widgets.worklist.patients import ListPatients, answer_by
from napari_lrmil.widgets.worklist.progress import STOPPING, WorklistProgress, finished_text
from napari_lrmil.widgets.worklist.table import WorklistOrder, WorklistTable
from napari_lrmil.widgets.worklist.tools import WorklistTools, ask_for_folder
from napari_lrmil.widgets.worklist.view import AboveMessage, WorklistView

if TYPE_CHECKING:
    from napari.viewer import Viewer

NEXT_KEY = "Ctrl+Shift+N"
UPDATE_MS = 200  # at most this often is the whole list judged while slides finish


class Worklist(SessionDock):
    """View of a folder and of the viewer's session; all that it shows is on disk and outlives the window."""

    FIRST: ClassVar = Place("bottom", 260)

    def __init__(self, napari_viewer: "Viewer", parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self.folder: Path | None = None
        self._scan = LatestJob(self)
        self._before_running: Entry | None = None
        self._update_timer = QTimer(self)
        self._update_timer.setSingleShot(True)
        self._update_timer.setInterval(UPDATE_MS)
        self._make_parts()
        self._listen()
        show_strip(self.session, self.session.viewer)
        self.tools.say_model()
        self._recall()
        self._update()

    def open_folder(self, folder: Path) -> None:
        """List the slides in a folder and in the folders below it."""
        self.folder = folder.resolve()
        self.tools.answers.open_list(self.folder)
        self.opening.forget()
        folders.remember("worklist_folder", str(self.folder))
        self.tools.say_folder(self.folder)
        self.table.fill([])
        self.patients.forget()
        self.progress.begin(self.session.jobs.job_name)
        self._update()
        self.read_again()

    def read_again(self) -> None:
        """Read the folder and the saved results of its slides, in a thread."""
        if self.folder is None:
            return
        self.message.say("")  # it is about the list as it was
        folder, results, model = self.folder, self.session.preferences.results, self._model()
        self._scan.start(
            lambda: scan(folder, results, model),
            name=f"read {folder.name}",
            on_step=self._take_scanned,
            on_result=lambda _: self._update(),
            on_error=lambda error: self.message.warn(explain(error)),
        )

    @property
    def scanning(self) -> bool:
        """Whether the folder is being read."""
        return self._scan.running

    def classify_all(self) -> None:
        """Classify every slide of the list, those that are shown first; skip those that are classified already."""
        shown = self.order.table_rows()
        rows = [*shown, *sorted(set(range(len(self.table.lines))) - set(shown))]
        self.classify([self.table.lines[row].entry for row in rows])

    def classify_selected(self) -> None:
        """Classify the selected slides."""
        self.classify([self.table.lines[row].entry for row in self.view.selected_rows()])

    def classify(self, chosen: Sequence[Entry]) -> None:
        """Classify some slides of the list in a thread, one after the other."""
        bundle, folder, todo = self.session.bundle, self.folder, [entry for entry in chosen if not entry.duplicate_name]
        if bundle is None or folder is None or not todo:
            self.message.say("Nothing to classify. Choose a folder, a model, and slides whose names differ.")
            return
        if self._model() != bundle.sha256:
            self._follow_model_in_use()
            todo = [unread(entry) for entry in todo]
        entries, device = self.table.entries, self.tools.device.device
        results, below = self.session.preferences.results, self.session.preferences.uncertain_below

        def steps() -> Iterator[Step[list[Entry]]]:
            from napari_lrmil.jobs.classify_list import classify_list

            yield from classify_list(todo, entries, bundle, folder, results, device=device, uncertain_below=below)

        self.session.note_model()
        self._table_file, self._list_name = table_file(results, folder, bundle.sha256), folder.name
        self.session.jobs.run(steps, name=f"classify {len(todo)} slides of {folder.name}", on_result=self._say_finished)

    def open_slide(self, entry: Entry) -> None:
        """Show a slide of the list in the viewer, with its saved prediction."""
        self.opening.open_slide(entry)

    def next_unreviewed(self) -> None:
        """Open the next slide that is classified and not reviewed, in the order of the table."""
        self.going_on.open_next()

    def _make_parts(self) -> None:
        self.tools = WorklistTools(self.session, NEXT_KEY)
        self.progress, self.message, self.status = WorklistProgress(), MessageLine(), Text()
        self.table = WorklistTable(answer_by(self.session), self)
        self.order = WorklistOrder(self.table, self)
        self.view = WorklistView(self.order)
        self.opening = Opening(self.session, self.table, self.view, self.tools.answers, self.message)
        opened = self.opening.open_slide
        self.going_on = GoingOn(self.session, self.table, self.order, self.tools, self.message, opened)
        self.patients = ListPatients(self.table, self.view, self.message)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 6, 6, 6)
        column.addWidget(self.tools)
        column.addWidget(AboveMessage(self.view, self.message), 1)
        column.addWidget(beside(self.status, keeping_room(self.progress)))

    def _listen(self) -> None:
        session = self.session
        listen(session.jobs.began, self.message.clear)
        listen(session.jobs.failed, self.message.warn)
        listen(session.jobs.stepped, self._take_step)
        listen(session.jobs.job_changed, self._job_changed)
        self.tools.answers.changed.connect(self._list_other_answers)
        listen(session.model_changed, self._model_changed)
        listen(session.shown_changed, self._shown_changed)
        listen(session.reviewed, self._reviewed)
        listen(session.reviewing.withdrawn, self._withdrawn)
        listen(session.reviewing.next_asked, self._next_asked)
        listen(session.revealed_changed, self._update)
        listen(session.read_first_changed, self._update)
        self._update_timer.timeout.connect(self._update)
        self.tools.choose_folder.clicked.connect(self._ask_for_folder)
        self.tools.choose_model.clicked.connect(self._ask_for_model)
        self.tools.choose_patients.clicked.connect(lambda: self.patients.ask(self.folder))
        self.tools.run_all.clicked.connect(self.classify_all)
        self.tools.run_selected.clicked.connect(self.classify_selected)
        self.tools.cancel.clicked.connect(self._cancel)
        self.tools.labels.said.connect(self.message.say)
        self.tools.next.clicked.connect(self.next_unreviewed)
        self.tools.words.textChanged.connect(self.order.search)
        self.tools.choice.currentTextChanged.connect(self.order.choose)
        self.view.opened.connect(lambda row: self.open_slide(self.table.lines[row].entry))
        self.view.selection_changed.connect(self._update_buttons)
        QShortcut(QKeySequence(NEXT_KEY), self).activated.connect(self.next_unreviewed)

    def _recall(self) -> None:
        self.session.recall_model()
        if (folder := folders.recall("worklist_folder")) and Path(folder).is_dir():
            self.open_folder(Path(folder))
        self.tools.device.look()

    def _model(self) -> str:
        return self.tools.answers.model

    def _take_scanned(self, step: Step[list[Entry]]) -> None:
        if step.job == FIND:
            self.table.fill(step.result or [])
            self.patients.read(self.folder)
            self._update()
        else:  # what a job has answered meanwhile is newer than what was read
            known = {one.path: one for one in self.table.entries} if self.session.jobs.busy else {}
            self._put([one for one in step.result or [] if one.path not in known or known[one.path].status == "new"])

    def _take_step(self, step: Step[object]) -> None:
        if step.job != JOB or not isinstance(step.result, list):
            return
        for entry in step.result:
            self._note_running(entry)
        if all(self.table.row_of(entry.path) is None for entry in step.result):
            return  # of a list that is not shown any more; the bar still names the job
        self._put(step.result)
        self.progress.follow(step)

    def _put(self, entries: Sequence[Entry]) -> None:
        """Show slides as they are now, each judged first: a hidden result is never shown; the summary follows later."""
        self.table.put(entries, judge_by(self.session, self._model()))
        if any(entry.status != "running" for entry in entries) and not self._update_timer.isActive():
            self._update_timer.start()

    def _note_running(self, entry: Entry) -> None:
        """Keep the entry of a slide as it was before its run, to restore it when the run is stopped."""
        row = self.table.row_of(entry.path)
        if entry.status != "running":
            self._before_running = None
        elif self._before_running is None and row is not None:
            self._before_running = self.table.lines[row].entry

    def _job_changed(self) -> None:
        if not self.session.jobs.busy:
            self.message.take_back(STOPPING)
            if self._before_running is not None:
                self._put([self._before_running])
                self._before_running = None
        self.progress.begin(self.session.jobs.job_name)
        self.tools.answers.refresh()
        self._update()

    def _model_changed(self) -> None:
        self.tools.say_model()
        self.tools.answers.follow_model()
        self._list_other_answers()

    def _follow_model_in_use(self) -> None:
        self.tools.answers.follow_model(chosen=True)
        self._list_other_answers()

    def _list_other_answers(self) -> None:
        """Read the list again for the model whose answers are to be shown now; those of another never stand there."""
        self._put([unread(entry) for entry in self.table.entries])
        self.read_again()
        self.opening.show_saved()
        self._update()

    def _shown_changed(self) -> None:
        shown = self.session.shown
        row = None if shown is None or not shown.complete else self.table.row_of(shown.source.path)
        if shown is not None and row is not None and not self.table.lines[row].entry.duplicate_name:
            by = shown.prediction.bundle_sha256
            if by == self._model():
                self._put([with_prediction(self.table.lines[row].entry, shown.prediction, by)])
            elif by == self.session.hash_in_use:  # it has just classified this slide, whosever answers are listed
                self._follow_model_in_use()
        self.table.mark(current_slide(self.session))

    def _reviewed(self) -> None:
        self.going_on.after_review(self._update)

    def _withdrawn(self, shown: ShownPrediction) -> None:
        self._update()
        self.going_on.after_withdrawal(shown)

    def _next_asked(self) -> None:
        if self.going_on.acting:
            self.next_unreviewed()

    def _update(self) -> None:
        """Judge all lines by the review log, and sum them up."""
        self._update_timer.stop()
        self.table.judge(judge_by(self.session, self._model()))
        self.table.mark(current_slide(self.session))
        entries = self.table.entries
        listed = self._model() == self.session.hash_in_use
        self.session.listed_answers = sum(entry.done for entry in entries) if listed else 0
        self.tools.answers.take(entries)
        self.status.setText(summary(entries, *self.table.count()))
        self.view.fit_reviewed()
        self._update_buttons()

    def _update_buttons(self) -> None:
        self.tools.allow(
            ready=self.session.bundle is not None and bool(self.table.lines),
            busy=self.session.jobs.busy,
            selected=self.view.has_selection,
            waiting=any(line.waits for line in self.table.lines),
        )
        self.progress.setVisible(self.session.jobs.busy)

    def _say_finished(self, entries: list[Entry]) -> None:
        self.message.say(f"{finished_text(entries, self._list_name)} Table: {self._table_file}")
        self.opening.show_saved()

    def _cancel(self) -> None:
        self.session.jobs.cancel()
        self.message.say(STOPPING)

    def _ask_for_folder(self) -> None:
        if folder := ask_for_folder(self, "Choose a folder of slides", self.folder):
            self.open_folder(folder)

    def _ask_for_model(self) -> None:
        if folder := ask_for_folder(self, "Choose a model folder", self.session.model_folder):
            self.session.load_model(folder, then=lambda: self.tools.answers.follow_model(chosen=True))
