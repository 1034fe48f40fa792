"""How classes are measured: the methods of `Classification` that compare answers with labels.

What they need is loaded when it is first used: tables, cards and viewers measure nothing.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lrmil.operating_point import Points
from lrmil.tasks.answers import Target, Validation

if TYPE_CHECKING:
    from lrmil.delong import DeLong
    from lrmil.tasks.trust import Trust

MIN_PROBABILITY = 1e-12  # whose logarithm is still a usable loss


class ClassMeasures:
    """Measures of probabilities (n, c) of the classes against targets, which are class indices."""

    __slots__ = ()
    classes: tuple[str, ...]

    def validate(self, targets: Sequence[Target], values: NDArray[np.float64]) -> Validation:
        """Return cross-entropy and AUROC; without every class, the loss is the score too."""
        truth = np.array(targets)
        loss = float(-np.log(np.clip(values[np.arange(len(truth)), truth], MIN_PROBABILITY, None)).mean())
        score = self.score(targets, values)
        return Validation(loss, -loss if score is None else score)

    def score(self, targets: Sequence[Target], values: NDArray[np.float64]) -> float | None:
        """Return the AUROC of probabilities (n, c); None where a class has no slide."""
        from lrmil import metrics

        return metrics.auroc(targets, values)

    def summarise(
        self, targets: Sequence[Target], values: NDArray[np.float64], cases: Sequence[str], thresholds: Points = None
    ) -> Mapping[str, object]:
        """Return `lrmil.summary.summarise`."""
        from lrmil.summary import summarise

        return summarise(targets, values, cases, self.classes, thresholds=thresholds)

    def means(self, targets: Sequence[Target], values: NDArray[np.float64]) -> dict[str, dict[str, float]]:
        """Return the mean probability of each class, and its frequency."""
        observed = np.bincount(np.array(targets), minlength=len(self.classes)) / len(targets)
        pairs = zip(self.classes, values.mean(axis=0).tolist(), observed.tolist(), strict=True)
        return {name: {"predicted": mean, "observed": share} for name, mean, share in pairs}

    def difference_interval(
        self, targets: Sequence[Target], values: NDArray[np.float64], minus: NDArray[np.float64], cases: Sequence[str]
    ) -> tuple[float, float] | None:
        """Return `lrmil.metrics.auroc_interval` of the difference."""
        from lrmil import metrics

        return metrics.auroc_interval(targets, values, cases, minus=minus)

    def within_folds(
        self, targets: Sequence[Target], values: NDArray[np.float64], cases: Sequence[str], folds: Sequence[str]
    ) -> Mapping[str, object]:
        """Return `lrmil.tasks.within_folds.within_folds`."""
        from lrmil.tasks.within_folds import within_folds

        return within_folds(targets, values, cases, folds)

    def linear_settings(self) -> Mapping[str, object]:
        """Return the constants of `lrmil.tasks.linear_head`."""
        from lrmil.tasks.linear_head import INVERSE_PENALTY, MAX_ITERATIONS

        return {"inverse_penalty": INVERSE_PENALTY, "max_iterations": MAX_ITERATIONS}

    def linear_problem(self, targets: Sequence[Target]) -> str:
        """Return which classes have no slide to learn from; "" if all have one."""
        absent = [name for place, name in enumerate(self.classes) if place not in targets]
        return f"there is no slide of {', '.join(absent)} to learn from" if absent else ""

    def linear_values(
        self, embeddings: NDArray[np.float64], targets: Sequence[Target], tested: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return `lrmil.tasks.linear_head.linear_probabilities`."""
        from lrmil.tasks.linear_head import linear_probabilities

        return linear_probabilities(embeddings, targets, tested)

    def curves(self, targets: Sequence[Target], values: NDArray[np.float64]) -> dict[str, dict[str, list[float]]]:
        """Return the ROC curve of each class against the rest; of two classes, that of the positive one alone."""
        from lrmil.tasks.class_curves import roc_curves

        return roc_curves(self.classes, targets, values)

    def trust(self, targets: Sequence[Target], values: NDArray[np.float64]) -> "Trust":
        """Return `lrmil.tasks.class_curves.class_trust`."""
        from lrmil.tasks.class_curves import class_trust

        return class_trust(targets, values)

    def difference_test(
        self, targets: Sequence[Target], values: NDArray[np.float64], minus: NDArray[np.float64]
    ) -> "DeLong | None":
        """Return `lrmil.delong.delong_test` of the positive class of two; None for more classes."""
        from lrmil.delong import delong_test

        return delong_test(np.array(targets) == 1, values[:, 1], minus[:, 1]) if len(self.classes) == 2 else None
