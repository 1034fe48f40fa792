"""Why a prediction is uncertain, in words."""

from collections.abc import Iterable

from lrmil.models.familiarity import WORDS
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
