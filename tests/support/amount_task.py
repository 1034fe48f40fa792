"""A task that only tests know: one number for each slide, learned by the squared error; a new task is no more."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrmil.tasks.answers import Answer, LabelProblem, Shown, Target, Validation, Wording
from lrmil.tasks.case_rule import CaseRule
from lrmil.tasks.decision import Decision
from lrmil.tasks.task import UNDECIDED


@dataclass(frozen=True, slots=True)
class Amount:
    """A number, learned as its distance to the mean of the cohort."""

    mean: float

    name: ClassVar[str] = "amount"
    prefix: ClassVar[str] = "value_"
    expects: ClassVar[str] = "a number"
    score_name: ClassVar[str] = "closeness"
    figures: ClassVar[Mapping[str, str]] = {"closeness": "Closeness"}
    details: ClassVar[Mapping[str, str]] = {}
    by_name: ClassVar[Mapping[str, str]] = {}
    counts: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def is_label(cls, cell: str) -> bool:
        try:
            return bool(np.isfinite(float(cell)))
        except ValueError:
            return False

    @classmethod
    def label_problems(cls, labels: Iterable[str], *, trained: bool, positive: str) -> Iterator[LabelProblem]:
        if positive:
            yield LabelProblem("Expected no positive class for amounts.", "Leave --positive out.")
        if any(float(label) < 0 for label in labels):
            yield LabelProblem("Expected amounts of 0 or more.", "Fix the labels.")

    @classmethod
    def stratum(cls, label: str) -> str:
        return ""

    @classmethod
    def of_labels(cls, labels: Iterable[str], positive: str = "") -> Self:
        return cls(float(np.mean([float(label) for label in labels])))

    @classmethod
    def from_dict(cls, document: Mapping[str, object]) -> Self:
        mean = document["mean"]
        if not isinstance(mean, float):
            raise ValueError(f"a mean amount. Got {mean!r}.")
        return cls(mean)

    @classmethod
    def answer_problem(cls, label: str, values: Mapping[str, float], threshold: float | None = None) -> str:
        return "" if set(values) == {"mm"} and label == f"{values['mm']:.2f} mm" else "it is not an amount"

    @classmethod
    def shown(cls, values: Mapping[str, float]) -> list[Shown]:
        return [Shown(name, f"{value:.2f}", None) for name, value in values.items()]

    @classmethod
    def is_wrong(cls, label: str, said: str) -> None:
        return None

    @classmethod
    def remarks(cls, arms: Sequence[Mapping[str, object]]) -> list[str]:
        return [f"{len(arms)} arms were compared by their amounts."]

    def to_dict(self) -> dict[str, object]:
        return {"task": self.name, "mean": self.mean}

    @property
    def names(self) -> tuple[str, ...]:
        return ("mm",)

    @property
    def wording(self) -> Wording:
        return Wording(
            names="Amounts",
            remark="",
            values="Amount",
            brief="Amount in mm",
            loss="the squared error",
            score_note="",
            details_note="",
            by_name="",
            by_name_note="",
            wrong="",
            examples="Slides in the order of the table.",
            undefined="There are no slides.",
            no_curves="Amounts have no curves.",
            doubts={},
        )

    @property
    def strata(self) -> tuple[str, ...]:
        return ("",)

    @property
    def outputs(self) -> int:
        return 1

    def unknown_labels(self, labels: Iterable[str]) -> str:
        return ""

    def target(self, label: str) -> float:
        return float(label)

    def loss(self, logits: Tensor, targets: Sequence[Target]) -> Tensor:
        return (logits[:, 0] - (torch.tensor(targets, device=logits.device) - self.mean)).square()

    def log_priors(self, targets: Sequence[Target]) -> None:
        return None

    def distillation(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        return ((student - teacher) / temperature).square().sum(-1)

    def values(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        return logits.astype(float) + self.mean

    def calibration_problem(self, targets: Sequence[Target]) -> str:
        return "amounts have none"

    def fit_calibration(self, logits: NDArray[np.float32], targets: Sequence[Target]) -> None:
        raise NotImplementedError

    def calibrated(self, logits: NDArray[np.float32], calibration: object) -> NDArray[np.float64]:
        return self.values(logits)

    def fit_decision(
        self, values: NDArray[np.float64], targets: Sequence[Target], *, rule: str, coverage: float, max_risk: float
    ) -> Decision:
        return Decision()

    @property
    def case_rules(self) -> tuple[CaseRule, ...]:
        return ("mean",)

    def pooled(self, values: NDArray[np.float64], rule: CaseRule) -> NDArray[np.float64]:
        return np.array([math.fsum(values[:, 0]) / len(values)])

    def answer(
        self, values: NDArray[np.float64], decision: Decision = UNDECIDED, *, uncertain_below: float = 0.0
    ) -> Answer:
        return Answer(f"{values[0]:.2f} mm", {"mm": float(values[0])}, "ok")

    def brief(self, values: Sequence[float]) -> str:
        return f"{values[0]:.2f}"

    def validate(self, targets: Sequence[Target], values: NDArray[np.float64]) -> Validation:
        error = float(np.square(values[:, 0] - np.array(targets)).mean())
        return Validation(error, -error)

    def score(self, targets: Sequence[Target], values: NDArray[np.float64]) -> float | None:
        return float(1 / (1 + np.abs(values[:, 0] - np.array(targets)).mean()))

    def summarise(
        self,
        targets: Sequence[Target],
        values: NDArray[np.float64],
        cases: Sequence[str],
        thresholds: Sequence[float] | None = None,
    ) -> Mapping[str, object]:
        figures = {"closeness": self.score(targets, values), "n_slides": len(targets), "n_cases": len(set(cases))}
        return figures | {"undefined": {}, "by_case": None, "by_case_reason": "amounts are of slides"}

    def means(self, targets: Sequence[Target], values: NDArray[np.float64]) -> dict[str, dict[str, float]]:
        return {"mm": {"predicted": float(values.mean()), "observed": float(np.mean(targets))}}

    def difference_interval(
        self,
        targets: Sequence[Target],
        values: NDArray[np.float64],
        minus: NDArray[np.float64],
        cases: Sequence[str],
    ) -> None:
        return None

    def within_folds(
        self, targets: Sequence[Target], values: NDArray[np.float64], cases: Sequence[str], folds: Sequence[str]
    ) -> None:
        return None

    def linear_settings(self) -> Mapping[str, object]:
        return {}

    def linear_problem(self, targets: Sequence[Target]) -> str:
        return "amounts have none"

    def linear_values(
        self, embeddings: NDArray[np.float64], targets: Sequence[Target], tested: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        raise NotImplementedError

    def curves(self, targets: Sequence[Target], values: NDArray[np.float64]) -> dict[str, dict[str, list[float]]]:
        return {}

    def trust(self, targets: Sequence[Target], values: NDArray[np.float64]) -> None:
        return None

    def difference_test(
        self, targets: Sequence[Target], values: NDArray[np.float64], minus: NDArray[np.float64]
    ) -> None:
        return None
