"""Measure a classification class by class, and say in words which figures a set of slides does not define."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score, roc_auc_score

from lrmil.errors import names_of

MAX_CONFUSED = 100  # classes; a model states up to 12 matrices, and its bundle.json must stay below 4 MiB


class ClassFigures(TypedDict):
    """Figures of a classification by class, ready for JSON; None where a figure is not defined."""

    accuracy: float | None
    """Share of slides that are answered with the right class."""
    recall: dict[str, float | None]
    """Class -> share of its slides that are answered with it."""
    auroc_by_class: dict[str, float | None]
    """Class -> area under the ROC curve of its probability against all other classes."""
    confusion: list[list[int]] | None
    """(c, c) counts of slides: a row for each class, a column for each answer."""


def class_figures(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    classes: Sequence[str],
    said: NDArray[np.int64],
) -> ClassFigures:
    """Compute accuracy, and recall, area against the rest and confusions of each class, by scikit-learn.

    Parameters
    ----------
    labels
        (n,) class indices.
    probabilities
        (n, c) class probabilities.
    classes
        (c,) names.
    said
        (n,) class index that each slide is answered with.
    """
    places = range(len(classes))
    recalls = np.full(len(classes), np.nan)
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    if len(labels):
        recalls = recall_score(labels, said, labels=places, average=None, zero_division=np.nan)
        confusion = confusion_matrix(labels, said, labels=places)
    ranked = places if len(classes) > 2 else (1, 1)  # of two, class 0 mirrors class 1, also where its score rounds to 1
    areas = [_area(labels == place, probabilities[:, place]) for place in ranked]
    return {
        "accuracy": float(accuracy_score(labels, said)) if len(labels) else None,
        "recall": {name: None if np.isnan(one) else float(one) for name, one in zip(classes, recalls, strict=True)},
        "auroc_by_class": dict(zip(classes, areas, strict=True)),
        "confusion": confusion.tolist() if len(classes) <= MAX_CONFUSED else None,
    }


def why_undefined(labels: NDArray[np.int64], classes: Sequence[str], *, of: str) -> dict[str, str]:
    """Return which figures are not defined, wholly or for a class, because of the labels; and why.

    Parameters
    ----------
    labels
        (n,) class indices.
    classes
        (c,) names.
    of
        What has the labels: "slide" or "case".

    Returns
    -------
    dict
        Name of a figure of `lrmil.summary.summarise` -> the reason, as the end of a sentence.
    """
    counts = dict(zip(classes, np.bincount(labels, minlength=len(classes)).tolist(), strict=True))
    found: dict[str, str] = {}
    if absent := names_of(name for name, count in counts.items() if not count):
        none = f"there is no {of} of {absent}" if len(labels) else f"there is no {of}"
        found |= dict.fromkeys(("auroc", "balanced_accuracy", "recall", "auroc_by_class"), none)
    if len(labels) and (alone := names_of(name for name, count in counts.items() if count == len(labels))):
        found["auroc_by_class"] = f"every {of} is of {alone}"
    if not len(labels):
        found |= dict.fromkeys(("brier", "nll", "ece", "accuracy"), f"there is no {of}")
    if len(classes) > MAX_CONFUSED:
        found["confusion"] = f"it is kept for at most {MAX_CONFUSED} classes"
    return found


def why_no_interval(labels: NDArray[np.int64], cases: Sequence[str], classes: Sequence[str]) -> str:
    """Return why an AUROC has no interval, as the end of a sentence.

    Parameters
    ----------
    labels
        (n,) class indices.
    cases
        (n,) the case of each slide.
    classes
        (c,) names.
    """
    of_class: list[set[str]] = [set() for _ in classes]
    for label, case in zip(labels.tolist(), cases, strict=True):
        of_class[label].add(case)
    few = names_of(name for name, own in zip(classes, of_class, strict=True) if len(own) < 2)
    return f"there are fewer than two cases of {few}" if few else "no resample of the cases has every class"


def _area(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float | None:
    return float(roc_auc_score(positive, scores)) if 0 < positive.sum() < len(positive) else None
