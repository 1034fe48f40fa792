"""The dock widget "Worklist": a folder of slides as a table, to classify all of them and review one after the other."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

from qtpy.QtCore import QItemSelectionModel, Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QFileDialog, QProgressBar, QVBoxLayout, QWidget

from lrmil.steps import Step
from napari_lrmil.jobs.worker import JobWorker, start_job
from napari_lrmil.session.session import Session, session_of
from napari_lrmil.session.worklist_viewer import current_slide, show_opened
from napari_lrmil.state import folders
from napari_lrmil.state.messages import explain
from napari_lrmil.state.review_log import described, latest_in, read_by
from napari_lrmil.state.worklist import FIND, JOB, Entry, answered, scan, summary
from napari_lrmil.state.worklist_memory import list_file, read_memory
from napari_lrmil.widgets.parts import MessageLine, Text, listen
from napari_lrmil.widgets.worklist.table import WorklistOrder, WorklistTable, make_view
from napari_lrmil.widgets.worklist.tools import WorklistTools, progress_text

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_lrmil.jobs.classify_list import Opened

NEXT_KEY = "Ctrl+Shift+N"


class Worklist(QWidget):
    """View of a folder and of the viewer's session; all it shows is on disk, so that it outlives the window.

    Parameters
    ----------
    napari_viewer
        The viewer; napari passes it by this name.
    """

    def __init__(self, napari_viewer: "Viewer", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session_of(napari_viewer)
        self.folder: Path | None = None
        self._scans = self._openings = 0  # what an earlier one still reports is not listened to
        self._scan: JobWorker | None = None
        self._before_running: Entry | None = None
        self._make_parts()
        self._listen()
        _ACTING[self.session] = ref(self)  # a dock that was closed is only hidden, and would open slides too
        self._say_model()
        self._recall()
        self._update()

    def open_folder(self, folder: Path) -> None:
        """Make a list of the slides in a folder and in those below it."""
        self.folder = folder.resolve()
        self._openings += 1
        folders.remember("worklist_folder", str(self.folder))
        self.tools.say_folder(self.folder)
        self.table.fill([])
        self._name_job()
        self._update()
        self.read_again()

    def read_again(self) -> None:
        """Read the folder and what is saved of its slides, in a thread."""
        if self.folder is None:
            return
        self._scans += 1
        self.message.say("")  # what was said is of the list as it was
        number, folder, results, model = self._scans, self.folder, self.session.preferences.results, self._model()

        def read() -> Iterator[Step[list[Entry]]]:
            yield from scan(folder, results, model)

        if self._scan is not None:
            self._scan.quit()
        self._scan = start_job(
            read,
            name=f"read {folder.name}",
            on_step=lambda step: self._take_scanned(step) if number == self._scans else None,
            on_result=lambda _: None,
            on_error=lambda error: self._warn(explain(error)) if number == self._scans else None,
            on_end=lambda: self._end_scan(number),
            owner=self,
        )

    @property
    def scanning(self) -> bool:
        """Whether the folder is being read."""
        return self._scan is not None

    def _end_scan(self, number: int) -> None:
        if number == self._scans:
            self._scan = None

    def classify_all(self) -> None:
        """Classify every slide of the list, those that are shown first; what is classified already is passed over."""
        shown = self.order.places()
        places = [*shown, *sorted(set(range(len(self.table.lines))) - set(shown))]
        self.classify([self.table.lines[place].entry for place in places])

    def classify_selected(self) -> None:
        """Classify the selected slides."""
        rows = self.selection.selectedRows()
        self.classify([self.table.lines[self.order.mapToSource(row).row()].entry for row in rows])

    def classify(self, chosen: Sequence[Entry]) -> None:
        """Classify some slides of the list in a thread, one after the other."""
        bundle, folder, todo = self.session.bundle, self.folder, [entry for entry in chosen if not entry.twin]
        if bundle is None or folder is None or not todo:
            self.message.say("Nothing to classify: choose a folder, a model and slides that have names of their own.")
            return
        entries, device = self.table.entries, self.tools.device.device
        results, below = self.session.preferences.results, self.session.preferences.uncertain_below

        def steps() -> Iterator[Step[list[Entry]]]:
            from napari_lrmil.jobs.classify_list import classify_list

            yield from classify_list(todo, entries, bundle, folder, results, device=device, uncertain_below=below)

        self.message.say("")
        self._table_file, self._list_name = list_file(results, folder, ".csv"), folder.name
        self.session.run(steps, name=f"classify {len(todo)} slides of {folder.name}", on_result=self._say_finished)

    def open_slide(self, entry: Entry) -> None:
        """Show a slide of the list in the viewer, with what is saved of it."""
        self._openings += 1
        number, results, model = self._openings, self.session.preferences.results, self._model()

        def steps() -> "Iterator[Step[Opened]]":
            from napari_lrmil.jobs.classify_list import open_entry

            yield from open_entry(entry, results, model)

        self.message.say(f"Opening {entry.slide_id}.")
        start_job(
            steps,
            name=f"open {entry.slide_id}",
            on_result=lambda opened: self._show_opened(entry, opened) if number == self._openings else None,
            on_error=lambda error: self._warn(explain(error)) if number == self._openings else None,
            owner=self,
        )

    def next_unreviewed(self) -> None:
        """Open the next slide that is classified and not reviewed, in the order of the table."""
        self._open_first(self._from_current())

    def _make_parts(self) -> None:
        self.tools = WorklistTools(self.session.preferences.device, NEXT_KEY)
        self.progress, self.message, self.status = QProgressBar(), MessageLine(), Text()
        self.table = WorklistTable(self)
        self.order = WorklistOrder(self.table, self)
        self.view = make_view(self.order)
        self.selection = QItemSelectionModel(self.order, self)
        self.view.setSelectionModel(self.selection)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 6, 6, 6)
        for part in (self.tools, self.progress, self.message, self.view, self.status):
            column.addWidget(part, 1 if part is self.view else 0)

    def _listen(self) -> None:
        session = self.session
        listen(session.failed, self._warn)
        listen(session.stepped, self._take_step)
        listen(session.job_changed, self._job_changed)
        listen(session.model_changed, self._model_changed)
        listen(session.shown_changed, self._shown_changed)
        listen(session.reviewed, self._reviewed)
        listen(session.revealed_changed, self._update)
        listen(session.read_first_changed, self._update)
        self.tools.choose_folder.clicked.connect(self._ask_for_folder)
        self.tools.choose_model.clicked.connect(self._ask_for_model)
        self.tools.run_all.clicked.connect(self.classify_all)
        self.tools.run_selected.clicked.connect(self.classify_selected)
        self.tools.cancel.clicked.connect(self._cancel)
        self.tools.next.clicked.connect(self.next_unreviewed)
        self.tools.words.textChanged.connect(self.order.search)
        self.tools.choice.currentTextChanged.connect(self.order.choose)
        self.view.doubleClicked.connect(lambda index: self._open_row(self.order.mapToSource(index).row()))
        self.selection.selectionChanged.connect(self._update_buttons)
        QShortcut(QKeySequence(NEXT_KEY), self).activated.connect(self.next_unreviewed)
        for key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            enter = QShortcut(QKeySequence(key), self.view)
            enter.setContext(Qt.ShortcutContext.WidgetShortcut)
            enter.activated.connect(self._open_selected)

    def _recall(self) -> None:
        model = self.session.preferences.model_folder or folders.recall("model_folder")
        if self.session.bundle is None and not self.session.busy and model and Path(model).is_dir():
            self.session.load_model(Path(model))
        folder = folders.recall("worklist_folder")
        if folder and Path(folder).is_dir():
            self.open_folder(Path(folder))
        self.tools.device.look()

    def _model(self) -> str:
        """Hash of the model in use, or of the one that the list was classified with last."""
        if self.session.bundle is not None:
            return self.session.bundle.sha256
        results = self.session.preferences.results
        return read_memory(list_file(results, self.folder, ".json")).bundle_sha256 if self.folder else ""

    def _take_scanned(self, step: Step[list[Entry]]) -> None:
        if step.job == FIND:
            self.table.fill(step.result or [])
        else:
            self.table.put(step.result or [])
        self._update()

    def _take_step(self, step: Step[object]) -> None:
        if step.job != JOB or not isinstance(step.result, list):
            return
        for entry in step.result:
            self._note_running(entry)
        if all(self.table.place_of(entry.path) is None for entry in step.result):
            return  # of a list that is not shown any more; the bar goes on to name the job
        self.table.put(step.result)
        self.progress.setRange(0, step.total or 0)
        self.progress.setValue(step.done)
        self.progress.setFormat(progress_text(step))
        if any(entry.status != "running" for entry in step.result):
            self._update()

    def _note_running(self, entry: Entry) -> None:
        """Keep what a slide was before it ran, to put it back when it is stopped."""
        place = self.table.place_of(entry.path)
        if entry.status != "running":
            self._before_running = None
        elif self._before_running is None and place is not None:
            self._before_running = self.table.lines[place].entry

    def _job_changed(self) -> None:
        if not self.session.busy and self._before_running is not None:
            self.table.put([self._before_running])
            self._before_running = None
        self._name_job()
        self._update()

    def _name_job(self) -> None:
        self.progress.setRange(0, 0)
        self.progress.setFormat(self.session.job_name)

    def _model_changed(self) -> None:
        self._say_model()
        self.read_again()
        self._update()

    def _say_model(self) -> None:
        bundle, folder = self.session.bundle, self.session.model_folder
        if bundle is not None and folder is not None:
            self.tools.say_model(bundle, folder)

    def _shown_changed(self) -> None:
        shown = self.session.shown
        place = None if shown is None or not shown.complete else self.table.place_of(shown.source.path)
        if shown is not None and place is not None and not self.table.lines[place].entry.twin:
            self.table.put([answered(self.table.lines[place].entry, shown.prediction, self._model())])
        self._update()

    def _reviewed(self) -> None:
        """Bring the table up to date, then go on from the slide's place before that: a filter may take it away."""
        following = self._from_current()
        self._update()
        acting = _ACTING[self.session]() is self
        if acting and self.tools.go_on.isChecked() and self.table.place_of(current_slide(self.session)) is not None:
            self._open_first(following)

    def _from_current(self) -> list[int]:
        """Places in the table, in the order that is shown, from the one after the current slide round to it."""
        shown, place = self.order.places(), self.table.place_of(current_slide(self.session))
        cut = shown.index(place) + 1 if place in shown else 0
        return shown[cut:] + shown[:cut]

    def _open_first(self, following: Sequence[int]) -> None:
        waiting = [place for place in following if self.table.lines[place].waits]
        if waiting:
            self._open_row(waiting[0])
        else:
            self.message.say("No classified slide in the table waits for a review.")

    def _open_row(self, place: int) -> None:
        self.open_slide(self.table.lines[place].entry)

    def _open_selected(self) -> None:
        index = self.view.currentIndex()
        if index.isValid():
            self._open_row(self.order.mapToSource(index).row())

    def _show_opened(self, entry: Entry, opened: "Opened") -> None:
        show_opened(self.session, entry, opened)
        self.message.say(opened.note)
        self._select(entry.path)

    def _select(self, path: Path) -> None:
        place = self.table.place_of(path)
        if place is not None:
            index = self.order.mapFromSource(self.table.index(place, 0))
            self.view.selectRow(index.row())
            self.view.scrollTo(index)

    def _update(self) -> None:
        """Judge all lines by the review log, and say what there is."""
        model, latest = self._model(), latest_in(self.session.review_log)
        known = read_by(self.session.review_log, self.session.reviewer)
        read_first = self.session.read_first

        def judge(entry: Entry) -> tuple[str, bool]:
            review = latest.get((entry.fingerprint, model)) if entry.done else None
            return described(review) if review else "", read_first and entry.done and entry.fingerprint not in known

        self.table.judge(judge)
        self.table.mark(current_slide(self.session))
        self.status.setText(summary(self.table.entries, *self.table.count()))
        self._update_buttons()

    def _update_buttons(self) -> None:
        busy = self.session.busy
        self.tools.allow(
            ready=self.session.bundle is not None and bool(self.table.lines),
            busy=busy,
            selected=self.selection.hasSelection(),
            waiting=any(line.waits for line in self.table.lines),
        )
        self.progress.setVisible(busy)

    def _say_finished(self, entries: list[Entry]) -> None:
        failures = sum(entry.status == "failed" for entry in entries)
        noted = sum(entry.done and bool(entry.message) for entry in entries)
        counts = ((failures, "failed"), (noted, "with notes"))
        parts = ", ".join(f"{count} {what}" for count, what in counts if count)
        said = f" {parts}; the column Message says why." if parts else ""
        done = f"Classified {len(entries) - failures} of {len(entries)} slides of {self._list_name}."
        self.message.say(f"{done}{said} Table: {self._table_file}")

    def _warn(self, message: str) -> None:
        self.message.warn(message)

    def _cancel(self) -> None:
        self.session.cancel()
        self.message.say("Stopping after the patches in progress. What is finished is kept.")

    def _ask_for_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose a folder of slides", str(self.folder or ""))
        if folder:
            self.open_folder(Path(folder))

    def _ask_for_model(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose a model folder", str(self.session.model_folder or ""))
        if folder:
            self.session.load_model(Path(folder))


_ACTING: "WeakKeyDictionary[Session, ref[Worklist]]" = WeakKeyDictionary()
