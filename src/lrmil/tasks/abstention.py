"""What it brings to leave uncertain slides unanswered: how many are left, and how often those are wrong."""

from collections import Counter
from collections.abc import Sequence

from typing_extensions import TypedDict  # pydantic reads it in Python 3.11, too

from lrmil.tasks.answers import Answer, Target
from lrmil.tasks.task import Task


class Abstention(TypedDict):
    """Counts of labelled slides, JSON-ready."""

    slides: int
    uncertain: int
    reasons: dict[str, int]
    """Reason -> slides that are uncertain for it; a slide may have several."""
    wrong: int
    """Slides whose label is wrong, the uncertain ones among them."""
    wrong_answered: int
    """Slides that are not uncertain, and whose label is wrong."""
    in_set: int | None
    """Slides whose class is in their conformal set; None if a slide has no such set."""


def abstention_figures(task: Task, targets: Sequence[Target], answers: Sequence[Answer]) -> Abstention:
    """Count what answers and doubts are worth.

    Parameters
    ----------
    task
        A task whose answers are right or wrong.
    targets
        (n,) what each slide is.
    answers
        (n,) what is said of it.
    """
    wrong = [task.target(answer.label) != target for target, answer in zip(targets, answers, strict=True)]
    doubted = [answer.status == "uncertain" for answer in answers]
    sets = [answer.plausible for answer in answers if answer.plausible is not None]
    inside = [target in map(task.target, names) for target, names in zip(targets, sets, strict=False)]
    return {
        "slides": len(answers),
        "uncertain": sum(doubted),
        "reasons": dict(sorted(Counter(reason for answer in answers for reason in answer.reasons).items())),
        "wrong": sum(wrong),
        "wrong_answered": sum(bad and not doubt for bad, doubt in zip(wrong, doubted, strict=True)),
        "in_set": sum(inside) if len(sets) == len(answers) else None,
    }


def abstention_in_words(found: Abstention) -> str:
    """Return in a sentence or two how often answers are wrong, with and without the uncertain ones.

    Parameters
    ----------
    found
        The counts.
    """
    slides, uncertain = found["slides"], found["uncertain"]
    answered = slides - uncertain
    if not uncertain:
        return f"Uncertain: none of {slides} slides; {_are(found['wrong'])} answered wrong."
    rest = (
        f"of the other {answered}, {_are(found['wrong_answered'])} answered wrong"
        if answered
        else "there are no others"
    )
    return (
        f"Uncertain: {uncertain} of {slides} slides; {rest}. Without abstention, {found['wrong']} of {slides} would be."
    )


def _are(count: int) -> str:
    return f"{count or 'none'} {'is' if count == 1 else 'are'}"
