"""List what a model states of itself that reporting guidelines ask for; what it does not state is not there."""

from collections.abc import Mapping

from lrmil.models.card import ModelCard
from lrmil.reports.model_facts import UNKNOWN, model_facts

SETTINGS = (
    *("teacher", "mpp_hr", "mpp_lr", "folds", "val_fraction", "seed", "stage1.fit.steps", "stage1.lambda_keep"),
    *("mil.head", "mil.seeds", "mil.fit.epochs", "stage2.inner_folds", "calibration.folds", "finish.epochs"),
)


def checklist_facts(card: ModelCard) -> dict[str, str]:
    """Return the known facts of a card by name: those of `model_facts`, and some that only checklists ask for.

    Parameters
    ----------
    card
        Card of the model. Its training and metrics may have any form.
    """
    training = card.training if isinstance(card.training, Mapping) else {}
    student = card.metrics.get("lr_student")
    student = student if isinstance(student, Mapping) else {}
    facts = {
        **model_facts(card),
        "Output": f"{card.task.wording.values.lower()}: {', '.join(card.task.names)}",
        "Settings": _settings(training.get("settings"), SETTINGS),
        "Rare classes": _settings(training.get("settings"), ("mil.balance",)),
        "Evaluation": _evaluation(student, card),
        "Intervals": _intervals(student, card),
        "Test slides by class": _by_class(student, card),
        "Partitions": _partitions(training),
    }
    return {name: value for name, value in facts.items() if value and value != UNKNOWN}


def _settings(stated: object, names: tuple[str, ...]) -> str:
    """Return those of the named settings that a model states."""
    found = []
    for name in names:
        value = stated
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, str | int | float):
            found.append(f"{name} = {value}")
    return ", ".join(found)


def _evaluation(student: Mapping[str, object], card: ModelCard) -> str:
    folds = student.get(f"{card.task.score_name}_by_fold")
    if not isinstance(folds, Mapping) or not folds:
        return ""
    if len(folds) == 1:
        return "on test slides of one split of the cohort"
    return f"on the test slides of {len(folds)} folds, each answered by models of a fold that did not learn from it"


def _intervals(student: Mapping[str, object], card: ModelCard) -> str:
    if not isinstance(student.get(f"{card.task.score_name}_ci"), list):
        return ""
    return "95 % bootstrap percentile intervals, which draw cases, the same ones for both arms of a difference"


def _by_class(student: Mapping[str, object], card: ModelCard) -> str:
    """Return how many test slides each class has, by the rows of the confusion matrix."""
    rows = student.get("confusion")
    if not isinstance(rows, list) or len(rows) != len(card.task.names):
        return ""
    if not all(isinstance(row, list) and all(type(count) is int for count in row) for row in rows):
        return ""
    return ", ".join(f"{name} {sum(row)}" for name, row in zip(card.task.names, rows, strict=True))


def _partitions(training: Mapping[str, object]) -> str:
    """Say how slides were divided where a training of ours states its settings; other makers may divide otherwise."""
    if "settings_sha256" not in training:
        return ""
    return "all slides of a case are in one part of a split (lrmil train); a table without case_id has slides as cases"
