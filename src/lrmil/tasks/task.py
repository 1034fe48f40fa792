"""The interface of a task: all that other rooms need to know of what is predicted."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from lrmil.operating_point import Points
from lrmil.tasks.answers import Answer, LabelProblem, Shown, Target, Validation, Wording
from lrmil.tasks.calibration import Calibration
from lrmil.tasks.case_rule import CaseRule
from lrmil.tasks.decision import Decision

if TYPE_CHECKING:  # torch takes seconds to load, and tables, cards and viewers need none of it
    from torch import Tensor

    from lrmil.delong import DeLong
    from lrmil.tasks.trust import Trust

UNDECIDED = Decision()


class Task(Protocol):
    """A kind of prediction, with what the labels determine, such as the classes.

    A frozen dataclass in a file of its own, and an entry of `lrmil.tasks.choice.TASKS`. Class methods need no labels;
    the other methods do. `to_dict` is how files state a task.
    """

    name: ClassVar[str]
    """Name in settings and files."""
    prefix: ClassVar[str]
    """Begins the name of each of its columns in a table."""
    expects: ClassVar[str]
    """What a cell of a labels table must hold, such as "a class name"."""
    score_name: ClassVar[str]
    """Which figure of `summarise` compares models; higher is better."""
    figures: ClassVar[Mapping[str, str]]
    """Figures of `summarise` that people are shown, with their titles: numbers, or lists of two; the score is first."""
    details: ClassVar[Mapping[str, str]]
    """More of its figures, for pages that have room: numbers, with their titles."""
    by_name: ClassVar[Mapping[str, str]]
    """Its figures that have a number for each of `names`, with their titles."""
    counts: ClassVar[Mapping[str, str]]
    """Its counts of slides, with the titles of their columns: a row for each label, a column for each answer."""

    @classmethod
    def is_label(cls, cell: str) -> bool:
        """Return whether a cell that is not empty holds a label."""
        ...

    @classmethod
    def label_problems(cls, labels: Iterable[str], *, trained: bool, positive: str) -> Iterator[LabelProblem]:
        """Yield what is wrong with the labels of a table taken together."""
        ...

    @classmethod
    def stratum(cls, label: str) -> str:
        """Return the group that a label counts to where folds are drawn; "" where all labels are one group."""
        ...

    @classmethod
    def of_labels(cls, labels: Iterable[str], positive: str = "") -> Self:
        """Return the task that labels without problems make."""
        ...

    @classmethod
    def from_dict(cls, document: Mapping[str, object]) -> Self:
        """Return the task that a document states; a ValueError says what was expected."""
        ...

    @classmethod
    def answer_problem(cls, label: str, values: Mapping[str, float], threshold: float | None = None) -> str:
        """Return why a saved answer cannot be one of this task at a threshold; "" if it can."""
        ...

    @classmethod
    def shown(cls, values: Mapping[str, float]) -> list[Shown]:
        """Return the values as a window draws them."""
        ...

    @classmethod
    def is_wrong(cls, label: str, said: str) -> bool | None:
        """Return whether an answer's label is wrong for a slide's label; None where answers are not right or wrong."""
        ...

    @classmethod
    def remarks(cls, arms: Sequence[Mapping[str, object]]) -> list[str]:
        """Return warnings about the figures of `summarise` that a reader must see."""
        ...

    def to_dict(self) -> dict[str, object]:
        """Return what files state of the task, JSON- and TOML-ready."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the values of an answer, in order."""
        ...

    @property
    def wording(self) -> Wording:
        """How pages and windows speak of the task."""
        ...

    @property
    def strata(self) -> tuple[str, ...]:
        """Every group of `stratum`, in order; each is needed in training."""
        ...

    @property
    def outputs(self) -> int:
        """How many numbers a head gives for a slide."""
        ...

    def unknown_labels(self, labels: Iterable[str]) -> str:
        """Return why labels cannot be compared with answers, and what to do; "" if they can."""
        ...

    def target(self, label: str) -> Target:
        """Return a label as `loss` needs it."""
        ...

    def loss(self, logits: "Tensor", targets: Sequence[Target]) -> "Tensor":
        """Return the losses (b,) between the (b, outputs) logits of slides and their targets."""
        ...

    def log_priors(self, targets: Sequence[Target]) -> list[float] | None:
        """Return log frequencies (outputs,) of what logits stand for among training slides; None if that has none."""
        ...

    def distillation(self, student: "Tensor", teacher: "Tensor", temperature: float) -> "Tensor":
        """Return the losses (b,) between the (b, outputs) logits of student and teacher."""
        ...

    def values(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the values (names,) that (outputs,) logits stand for."""
        ...

    def calibration_problem(self, targets: Sequence[Target]) -> str:
        """Return why slides of these targets cannot calibrate values, as the end of a sentence; "" if they can."""
        ...

    def fit_calibration(self, logits: NDArray[np.float32], targets: Sequence[Target]) -> Calibration | None:
        """Return what calibrates values, from out-of-fold logits (n, outputs) and targets; None without an order."""
        ...

    def calibrated(self, logits: NDArray[np.float32], calibration: Calibration | None) -> NDArray[np.float64]:
        """Return the values (..., names) of logits (..., outputs), calibrated; without a calibration as `values`."""
        ...

    def fit_decision(
        self, values: NDArray[np.float64], targets: Sequence[Target], *, rule: str, coverage: float, max_risk: float
    ) -> Decision:
        """Return how calibrated values (n, names) become answers; see `lrmil.tasks.decision.fit_decision`."""
        ...

    @property
    def case_rules(self) -> tuple[CaseRule, ...]:
        """The rules by which the slides of a case can be answered as one; the default is first."""
        ...

    def pooled(self, values: NDArray[np.float64], rule: CaseRule) -> NDArray[np.float64]:
        """Return the values (names,) of a case with slides of values (n, names); their order does not matter."""
        ...

    def answer(
        self, values: NDArray[np.float64], decision: Decision = UNDECIDED, *, uncertain_below: float = 0.0
    ) -> Answer:
        """Return the answer that the values (names,) give."""
        ...

    def brief(self, values: Sequence[float]) -> str:
        """Return the values (names,) in brief, for the cell of a table."""
        ...

    def validate(self, targets: Sequence[Target], values: NDArray[np.float64]) -> Validation:
        """Compare the values (n, names) of validation slides with their targets."""
        ...

    def score(self, targets: Sequence[Target], values: NDArray[np.float64]) -> float | None:
        """Return the figure of `score_name` for values (n, names); None where it is not defined."""
        ...

    def summarise(
        self, targets: Sequence[Target], values: NDArray[np.float64], cases: Sequence[str], thresholds: Points = None
    ) -> Mapping[str, object]:
        """Return the figures of a report, JSON-ready; `thresholds` has the operating point (n,) of each slide.

        Those of `figures`, `details`, `by_name` and `counts`; "undefined", which says of each that is None, or has a
        None, why; "n_slides", "n_cases"; "by_case" with all but intervals where the values are averaged by case, or
        None, and "by_case_reason", which says why there are none.
        """
        ...

    def means(self, targets: Sequence[Target], values: NDArray[np.float64]) -> dict[str, dict[str, float]]:
        """Return of each name the mean of its values (n, names), "predicted", and what it should be, "observed".

        Of a class, that is its frequency. There is at least one slide.
        """
        ...

    def difference_interval(
        self, targets: Sequence[Target], values: NDArray[np.float64], minus: NDArray[np.float64], cases: Sequence[str]
    ) -> tuple[float, float] | None:
        """Return a 95 % interval by case of the score of values (n, names) less that of `minus`; None where undefined.

        Both are of the same slides.
        """
        ...

    def within_folds(
        self, targets: Sequence[Target], values: NDArray[np.float64], cases: Sequence[str], folds: Sequence[str]
    ) -> Mapping[str, object] | None:
        """Return the score among slides of one fold alone, JSON-ready; None for a score that needs no such care.

        Its members are the name of the score, that with "_ci", "definition" and "reason", why it is not defined.
        """
        ...

    def linear_settings(self) -> Mapping[str, object]:
        """Return the settings of the linear head, JSON-ready; empty if the task has no such head."""
        ...

    def linear_problem(self, targets: Sequence[Target]) -> str:
        """Return why no linear head can learn from these targets, as the end of a sentence; "" if one can."""
        ...

    def linear_values(
        self, embeddings: NDArray[np.float64], targets: Sequence[Target], tested: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return what a linear head says of slides by their mean embeddings (m, d): values (m, names).

        It learns from mean embeddings (n, d) and their targets, of which `linear_problem` is "".
        """
        ...

    def curves(self, targets: Sequence[Target], values: NDArray[np.float64]) -> dict[str, dict[str, list[float]]]:
        """Return curves by name: false_positive_rate and true_positive_rate, {} where not defined."""
        ...

    def trust(self, targets: Sequence[Target], values: NDArray[np.float64]) -> "Trust | None":
        """Return what values (n, names) are worth beyond one score; None if the task has no such figures."""
        ...

    def difference_test(
        self, targets: Sequence[Target], values: NDArray[np.float64], minus: NDArray[np.float64]
    ) -> "DeLong | None":
        """Return DeLong's test of the score of values (n, names) less that of `minus`; None where there is none."""
        ...


def columns(task: Task | type[Task], names: Iterable[str]) -> list[str]:
    """Return the columns of a table that hold the values of a task's answers."""
    return [f"{task.prefix}{name}" for name in names]
