"""How a prediction was decided, and why it is uncertain, in words."""

from collections.abc import Iterable

from lrmil.models.familiarity import WORDS
from lrmil.prediction.escalation import Escalation
from lrmil.tasks.task import Task


def doubts_in_words(reasons: Iterable[str], task: Task) -> str:
    """Return the reasons of an uncertain prediction as the end of a sentence; "" if there is none.

    Parameters
    ----------
    reasons
        Those of `lrmil.prediction.prediction.Prediction`. One that this version does not know is given as it is.
    task
        What is predicted.
    """
    words = {**WORDS, **task.wording.doubts}
    return "; ".join(words.get(reason, reason) for reason in reasons)


def status_in_words(status: str, reasons: Iterable[str], task: Task) -> str:
    """Return the status of a prediction, such as "uncertain: more than one class is plausible".

    Parameters
    ----------
    status
        "ok", "uncertain" or "escalated".
    reasons, task
        As for `doubts_in_words`. Uncertain predictions of earlier versions have no reasons.
    """
    if status == "escalated":
        return "escalated: the teacher looked closer, and answers"
    return ": ".join(filter(None, (status, doubts_in_words(reasons, task))))


def threshold_in_words(threshold: float | None, task: Task) -> str:
    """Return from which probability on the positive class is the answer; "" if the most probable class is.

    Parameters
    ----------
    threshold
        That of `lrmil.prediction.prediction.Prediction`.
    task
        What is predicted.
    """
    if threshold is None:
        return ""
    name = task.names[-1]
    return f"'{name}' is the answer from a probability of {_value(name, threshold, task)} on"


def before_in_words(escalation: Escalation | None, task: Task) -> str:
    """Return what the student had answered before its teacher looked closer, as a sentence; "" without a closer look.

    Parameters
    ----------
    escalation
        That of `lrmil.prediction.prediction.Prediction`.
    task
        What is predicted.
    """
    if escalation is None:
        return ""
    value = escalation.probabilities.get(escalation.label)
    said = escalation.label if value is None else f"{escalation.label} {_value(escalation.label, value, task)}"
    return f"At low resolution: {said}, uncertain: {doubts_in_words(escalation.reasons, task)}. {escalation.sentence}"


def _value(name: str, value: float, task: Task) -> str:
    """Return a value of an answer as it is written beside its bar, such as "46.6 %"."""
    return task.shown({name: value})[0].text
