"""What a task takes and gives: labels, answers, the result of a validation, and the words for them."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self

Target = int | float | tuple[float, ...]
"""A label as the loss needs it; JSON-ready."""


class LabelProblem(NamedTuple):
    """A fault in the labels of a table that prevents training, and its remedy."""

    message: str
    hint: str


class Answer(NamedTuple):
    """The answer for one slide, as people read it."""

    label: str
    """The answer in one word. If it is the name of a value, the value is shown with it."""
    values: dict[str, float]
    """The values by name, in the order of `Task.names`."""
    status: str
    """ "ok" or "uncertain"."""
    reasons: tuple[str, ...] = ()
    """Why it is uncertain, in the words of `Wording.doubts`."""
    plausible: tuple[str, ...] | None = None
    """The names in its conformal set; None without such sets."""

    def with_doubts(self, reasons: Iterable[str]) -> Self:
        """Return the answer with more reasons why it is uncertain."""
        found = (*self.reasons, *reasons)
        return self._replace(status="uncertain" if found else self.status, reasons=found)


class Shown(NamedTuple):
    """One value of an answer as a window draws it."""

    name: str
    text: str
    share: float | None
    """Length of a bar, 0 to 1; None if the value is not a share."""


class Wording(NamedTuple):
    """How pages and windows speak of a task."""

    names: str
    """Title of `Task.names`, such as "Classes"."""
    remark: str
    """A remark about the names, such as " (positive: yes)"; "" if there is none."""
    values: str
    """Title of the values of an answer, such as "Class probabilities"."""
    brief: str
    """Title of `Task.brief`, such as "Probability of yes"."""
    loss: str
    """The loss against the labels."""
    score_note: str
    """A sentence that explains the score, or ""."""
    details_note: str
    """Sentences that explain `Task.details`, or ""."""
    by_name: str
    """Title of `Task.by_name` and `Task.counts`, or "" if there are none."""
    by_name_note: str
    """Sentences that explain `Task.by_name` and `Task.counts`, or ""."""
    wrong: str
    """A sentence on when an answer is wrong; or ""."""
    examples: str
    """A sentence on the order of the slides that a report shows."""
    undefined: str
    """A sentence on why a score is not defined, and what to do."""
    no_curves: str
    """A sentence on why there are no curves."""
    doubts: Mapping[str, str]
    """Reason why an answer is "uncertain" -> the same as the end of a sentence."""


class Validation(NamedTuple):
    """Result of an epoch on the validation slides."""

    loss: float
    score: float
    """Higher is better; the epoch of the highest is kept."""
