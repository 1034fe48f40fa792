"""From slide to slide: the next one without a review, and back to the one whose review was taken back."""

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary, ref

from napari_lrmil.session.session import Session
from napari_lrmil.session.worklist_viewer import current_slide
from napari_lrmil.state import folders
from napari_lrmil.state.shown import ShownPrediction
from napari_lrmil.state.worklist import Entry
from napari_lrmil.widgets.parts import MessageLine
from napari_lrmil.widgets.worklist.table import WorklistOrder, WorklistTable
from napari_lrmil.widgets.worklist.tools import WorklistTools

NONE_WAITS = "No classified slide in the table waits for a review."
REMEMBERED, NO = "go_on", "no"


class GoingOn:
    """Opens slides one after the other in the order of the table.

    Parameters
    ----------
    session
        The session of the viewer. Of several worklists on it only the newest opens slides by itself.
    table, order, tools, message
        Parts of the worklist.
    open_slide
        Opens a slide of the list.
    """

    def __init__(
        self,
        session: Session,
        table: WorklistTable,
        order: WorklistOrder,
        tools: WorklistTools,
        message: MessageLine,
        open_slide: Callable[[Entry], None],
    ) -> None:
        self._session, self._table, self._order = session, table, order
        self._tools, self._message, self._open_slide = tools, message, open_slide
        _ACTING[session] = ref(self)  # a closed dock is only hidden, and must not open slides
        for filtered in (tools.words.textChanged, tools.choice.currentTextChanged):
            filtered.connect(lambda: message.take_back(NONE_WAITS))
        tools.go_on.setChecked(folders.recall(REMEMBERED) != NO)
        tools.go_on.toggled.connect(lambda on: folders.remember(REMEMBERED, "" if on else NO))

    def open_next(self) -> None:
        """Open the next slide that is classified and not reviewed, if there is one."""
        self._open_first(self._rows_from_current())

    def after_review(self, update: Callable[[], None]) -> None:
        """Bring the table up to date, then continue from the slide's row before that: a filter may take it away."""
        following = self._rows_from_current()
        update()
        listed = self._table.row_of(current_slide(self._session)) is not None
        if self.acting and self._tools.go_on.isChecked() and listed:
            self._open_first(following)

    def after_withdrawal(self, shown: ShownPrediction) -> None:
        """Open the slide whose review was taken back."""
        row = self._table.row_of(shown.source.path)
        if self.acting and row is not None and current_slide(self._session) != shown.source.path:
            self._open_slide(self._table.lines[row].entry)

    @property
    def acting(self) -> bool:
        """Whether this is the newest worklist of its session."""
        return _ACTING[self._session]() is self

    def _rows_from_current(self) -> list[int]:
        return self._order.table_rows(after=self._table.row_of(current_slide(self._session)))

    def _open_first(self, following: Sequence[int]) -> None:
        row = next((row for row in following if self._table.lines[row].waits), None)
        if row is None:
            self._message.say(NONE_WAITS)
        else:
            self._open_slide(self._table.lines[row].entry)


_ACTING: "WeakKeyDictionary[Session, ref[GoingOn]]" = WeakKeyDictionary()
