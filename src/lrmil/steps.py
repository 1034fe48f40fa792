"""How long work reports itself: a generator of Steps, the last of which carries the answer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
    """One finished unit of work: which job, how far, and what came out.

    Parameters
    ----------
    job
        Name of the work in progress, such as ``"fold 0: stage 1"``; a new name starts a new progress bar.
    done, total
        Units finished and expected; ``total`` is None where it cannot be known.
    unit
        What is counted, such as ``"patches"``.
    result
        The answer so far; the last Step of a job carries the job's answer.
    message
        One sentence for a person, empty when there is nothing to say.
    metrics
        Named figures of this unit, such as a loss.
    """

    job: str
    done: int
    total: int | None = None
    unit: str = ""
    result: T | None = None
    message: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


def last(steps: Iterable[Step[T]]) -> T:
    """Run the work to its end and return the answer of its last Step.

    Raises
    ------
    ValueError
        If the work yields no Step, or its last Step carries no result.
    """
    final: Step[T] | None = None
    for step in steps:
        final = step
    if final is None or final.result is None:
        raise ValueError("Expected the last Step to carry a result; got none. Take the Steps one by one instead.")
    return final.result
