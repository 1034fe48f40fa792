"""One class out of several for a slide: the probability of each, learned by cross-entropy, measured by AUROC."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from lrmil.operating_point import answered
from lrmil.tasks.answers import Answer, LabelProblem, Shown, Target, Wording
from lrmil.tasks.calibration import MIN_OF_CLASS, Calibration, fit_calibration
from lrmil.tasks.case_rule import CaseRule, pool_probabilities, rules_of
from lrmil.tasks.class_measures import ClassMeasures
from lrmil.tasks.class_order import order_classes
from lrmil.tasks.class_problems import class_problems
from lrmil.tasks.class_wording import class_wording
from lrmil.tasks.decision import LOW, Decision, fit_decision
from lrmil.tasks.task import UNDECIDED

if TYPE_CHECKING:
    from torch import Tensor


MAX_CLASSES = 1000
MAX_NAME = 1000  # characters
ROUNDING = 1e-6  # how far a sum of probabilities may be from 1


@dataclass(frozen=True, slots=True)
class Classification(ClassMeasures):
    """A `lrmil.tasks.task.Task`.

    Parameters
    ----------
    classes
        Names of the classes in the order of the probabilities; of two, the positive one is last.
    """

    classes: tuple[str, ...]

    name: ClassVar[str] = "classification"
    prefix: ClassVar[str] = "prob_"
    expects: ClassVar[str] = "a class name"
    score_name: ClassVar[str] = "auroc"
    figures: ClassVar[Mapping[str, str]] = {
        "auroc": "AUROC",
        "auroc_ci": "95 % interval by patient",
        "balanced_accuracy": "balanced accuracy",
    }
    details: ClassVar[Mapping[str, str]] = {
        "accuracy": "accuracy",
        "brier": "Brier score",
        "nll": "log loss",
        "ece": "ECE",
    }
    by_name: ClassVar[Mapping[str, str]] = {"recall": "recall", "auroc_by_class": "AUROC against the rest"}
    counts: ClassVar[Mapping[str, str]] = {"confusion": "answered with"}

    @classmethod
    def is_label(cls, cell: str) -> bool:  # noqa: ARG003 - asked of every task
        """Return True: every word is the name of a class."""
        return True

    @classmethod
    def label_problems(cls, labels: Iterable[str], *, trained: bool, positive: str) -> Iterator[LabelProblem]:
        """Yield what is wrong with the classes of a table."""
        return class_problems(labels, trained=trained, positive=positive)

    @classmethod
    def stratum(cls, label: str) -> str:
        """Return the class itself: each is spread over the folds."""
        return label

    @classmethod
    def of_labels(cls, labels: Iterable[str], positive: str = "") -> Self:
        """Return the task whose classes are the labels in their order."""
        return cls(order_classes(labels, positive))

    @classmethod
    def from_dict(cls, document: Mapping[str, object]) -> Self:
        """Return the task of a document with "classes".

        Raises
        ------
        ValueError
            If they are not names of two classes or more, each once; its text says what was expected.
        """
        classes = document["classes"] if isinstance(document["classes"], list) else []
        if not 2 <= len(classes) <= MAX_CLASSES:
            raise ValueError(f"from two to {MAX_CLASSES} classes. Got {len(classes)}.")
        for name in classes:
            if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME:
                raise ValueError(f"class names of at most {MAX_NAME} characters. Got {str(name)[:80]!r}.")
        if len(set(classes)) != len(classes):
            raise ValueError(f"different names for the classes. Got {tuple(classes[:10])}.")
        return cls(tuple(classes))

    @classmethod
    def answer_problem(cls, label: str, values: Mapping[str, float], threshold: float | None = None) -> str:
        """Return why a saved answer cannot be a class and the probabilities of all; "" if it can."""
        if len(values) < 2 or not all(0 <= value <= 1 + ROUNDING for value in values.values()):
            return "its probabilities are not of two classes or more, or not from 0 to 1"
        if abs(math.fsum(values.values()) - 1) > ROUNDING:
            return "its probabilities do not sum to 1"
        if threshold is not None and len(values) != 2:
            return "it has a threshold, and not two classes"
        said = values.get(label, -1) >= max(values.values())  # of equal ones, either
        if threshold is not None:
            said = label == list(values)[int(answered(np.array(list(values.values())), threshold))]
        return "" if said else "its label is not the class that its probabilities say"

    @classmethod
    def shown(cls, values: Mapping[str, float]) -> list[Shown]:
        """Return a bar for every class."""
        return [Shown(name, f"{100 * value:.1f} %", value) for name, value in values.items()]

    @classmethod
    def is_wrong(cls, label: str, said: str) -> bool:
        """Return whether the class that was answered is another than the label."""
        return label != said

    @classmethod
    def remarks(cls, arms: Sequence[Mapping[str, object]]) -> list[str]:
        """Return what is to be said of the intervals of the AUROC."""
        intervals = [figures["auroc_ci"] for figures in arms]
        remarks = []
        if any(isinstance(interval, list) and interval[0] == interval[1] for interval in intervals):
            remarks.append(
                "An interval has no width, because every resample of the test cases has the same order. "
                "Few cases or a perfect order cause this; it does not mean certainty."
            )
        if None in intervals:
            remarks.append("An interval is not defined: it needs at least two test cases of every class.")
        return remarks

    def to_dict(self) -> dict[str, object]:
        """Return the classes; a document that states no task is of this one."""
        return {"classes": list(self.classes)}

    @property
    def names(self) -> tuple[str, ...]:
        """The classes."""
        return self.classes

    @property
    def wording(self) -> Wording:
        """Words for classes and their probabilities."""
        return class_wording(self.classes)

    @property
    def strata(self) -> tuple[str, ...]:
        """The classes."""
        return self.classes

    @property
    def outputs(self) -> int:
        """One logit for each class."""
        return len(self.classes)

    def unknown_labels(self, labels: Iterable[str]) -> str:
        """Return which labels are not classes of the model; "" if all are."""
        if unknown := sorted(set(labels) - set(self.classes)):
            known = ", ".join(self.classes)
            return (
                f"Expected labels among the model's classes {known}. Got also {', '.join(unknown)}; rename them in the "
                "table."
            )
        return ""

    def target(self, label: str) -> int:
        """Return the position of a class."""
        return self.classes.index(label)

    def loss(self, logits: "Tensor", targets: Sequence[Target]) -> "Tensor":
        """Return the cross-entropy (b,) of (b, c) logits."""
        import torch  # takes seconds, and who reads tables or cards needs none of it
        from torch.nn import functional

        return functional.cross_entropy(logits, torch.tensor(targets, device=logits.device), reduction="none")

    def log_priors(self, targets: Sequence[Target]) -> list[float] | None:
        """Return the log frequency (c,) of each class; a class without a slide counts as one that has one."""
        return [
            math.log(max(1, sum(target == place for target in targets)) / len(targets)) for place in range(self.outputs)
        ]

    def distillation(self, student: "Tensor", teacher: "Tensor", temperature: float) -> "Tensor":
        """Return `lrmil.losses.bag_loss`."""
        from lrmil import losses

        return losses.bag_loss(student, teacher, temperature)

    def values(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probabilities (c,): the softmax of (c,) logits in double precision."""
        import torch

        probabilities: NDArray[np.float64] = torch.from_numpy(logits).double().softmax(-1).numpy()
        return probabilities

    def calibration_problem(self, targets: Sequence[Target]) -> str:
        """Return which classes have fewer than `MIN_OF_CLASS` slides; "" if none has."""
        few = [name for place, name in enumerate(self.classes) if targets.count(place) < MIN_OF_CLASS]
        return f"there are fewer than {MIN_OF_CLASS} slides of {', '.join(few)}" if few else ""

    def fit_calibration(self, logits: NDArray[np.float32], targets: Sequence[Target]) -> Calibration | None:
        """Return `lrmil.tasks.calibration.fit_calibration`."""
        return fit_calibration(logits, targets)

    def calibrated(self, logits: NDArray[np.float32], calibration: Calibration | None) -> NDArray[np.float64]:
        """Return the probabilities (..., c) of logits (..., c), calibrated if there is a calibration."""
        return self.values(logits) if calibration is None else calibration.probabilities(logits)

    def fit_decision(
        self, values: NDArray[np.float64], targets: Sequence[Target], *, rule: str, coverage: float, max_risk: float
    ) -> Decision:
        """Return `lrmil.tasks.decision.fit_decision`."""
        return fit_decision(values, targets, rule=rule, coverage=coverage, max_risk=max_risk)

    @property
    def case_rules(self) -> tuple[CaseRule, ...]:
        """All rules for two classes, the mean alone for more."""
        return rules_of(len(self.classes))

    def pooled(self, values: NDArray[np.float64], rule: CaseRule) -> NDArray[np.float64]:
        """Return `lrmil.tasks.case_rule.pool_probabilities`."""
        return pool_probabilities(values, rule)

    def answer(
        self, values: NDArray[np.float64], decision: Decision = UNDECIDED, *, uncertain_below: float = 0.0
    ) -> Answer:
        """Return the class that is decided on; "uncertain" with a doubt, or if all are less probable than asked for."""
        label = self.classes[int(answered(values, decision.threshold))]
        doubts = [LOW] * bool(values.max() < uncertain_below) + decision.doubts(values)
        inside = zip(self.classes, decision.plausible(values), strict=True) if decision.sets else None
        return Answer(
            label,
            dict(zip(self.classes, values.tolist(), strict=True)),
            "uncertain" if doubts else "ok",
            tuple(doubts),
            None if inside is None else tuple(name for name, plausible in inside if plausible),
        )

    def brief(self, values: Sequence[float]) -> str:
        """Return the probability of the positive class; of more than two classes, the most probable one and its own."""
        if len(self.classes) == 2:
            return f"{values[1]:.3f}"
        best = int(np.argmax(values))
        return f"{self.classes[best]} {values[best]:.3f}"
