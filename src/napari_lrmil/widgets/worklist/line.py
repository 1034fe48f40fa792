"""One line of the worklist, and what each column shows of it."""

from dataclasses import dataclass

from napari_lrmil.state.worklist import Entry
from napari_lrmil.state.worklist_patients import HIDDEN

COLUMNS = (
    "Slide",
    "Patient",
    "Patient's answer",
    "Class",
    "Probability",
    "Reviewed",
    "Status",
    "Message",
    "Patches",
    "Unreadable",
)
NUMBERS = ("Probability", "Patches", "Unreadable")
SLIDE, PATIENT, ANSWER, CLASS, PROBABILITY, REVIEWED, STATUS, MESSAGE, PATCHES, UNREADABLE = range(len(COLUMNS))
OF_PATIENTS = (PATIENT, ANSWER)
Value = str | float | None


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table.

    Attributes
    ----------
    entry
        The slide.
    reviewed
        Decision and label of the newest review of this answer; "" if there is none.
    hidden
        Whether the prediction is hidden until the reader records a label.
    case_id
        Its patient; "" where it is not known.
    answer
        What the model says of that patient so far.
    earlier
        Review of another model's answer; "" if there is none, or one of this answer.
    """

    entry: Entry
    reviewed: str = ""
    hidden: bool = False
    case_id: str = ""
    answer: str = ""
    earlier: str = ""

    @property
    def waits(self) -> bool:
        """True if the slide is classified but not reviewed."""
        return self.entry.done and not self.reviewed

    @property
    def overridden(self) -> bool:
        """True if the newest review gave this answer another label."""
        return self.reviewed.startswith("override")

    def value(self, column: int) -> Value:
        """Return the value that a column sorts by; None if there is none or it is hidden."""
        entry = self.entry
        visible = None if self.hidden or not entry.done else entry
        row = entry.row if entry.done else None
        return {
            SLIDE: entry.slide_id,
            PATIENT: self.case_id or None,
            ANSWER: self.answer or None,
            STATUS: self._status(),
            CLASS: visible.label if visible else None,
            PROBABILITY: visible.probability if visible else None,
            PATCHES: row.n_patches - row.failed_patches if row else None,
            UNREADABLE: row.failed_patches if row else None,
            REVIEWED: self.reviewed or self.earlier or None,
            MESSAGE: entry.message or None,
        }[column]

    def text(self, column: int) -> str:
        """Return the text of a column."""
        value = self.value(column)
        if column == STATUS and self.entry.status == "running":
            return f"running {100 * self.entry.part:.0f} %"
        if column == PROBABILITY and isinstance(value, float):
            return f"{100 * value:.1f} %"
        return "" if value is None else str(value)

    def _status(self) -> str:
        return HIDDEN if self.hidden and self.entry.done else self.entry.status
