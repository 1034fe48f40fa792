"""Report long work as a generator of Steps, the last of which carries the result."""

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Generic, Never, TypeVar

T = TypeVar("T")
U = TypeVar("U")
T_co = TypeVar("T_co", covariant=True)
Job = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step(Generic[T_co]):
    """One finished unit of work: which job, how far, and with what result.

    Parameters
    ----------
    job
        Which work is in progress, from the whole to its part: ``("fold-0", "stage 1")``, ``("predict", "slide-a")``. At
        least one part, none of them empty or a sentence. Programs compare jobs; `job_text` writes one for people.
    done, total
        Units finished and expected; ``total`` is None if unknown.
    unit
        What is counted, such as ``"patches"``.
    result
        The result so far; the last Step of a job carries the job's result.
    message
        One sentence for a person, or "".
    metrics
        Named numbers of this unit, such as a loss.
    """

    job: Job
    done: int
    total: int | None = None
    unit: str = ""
    result: T_co | None = None
    message: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)

    def without_result(self) -> "Step[Never]":
        """Return the Step without its result, for a job that passes it on."""
        return Step(self.job, self.done, self.total, self.unit, message=self.message, metrics=self.metrics)


def job_text(job: Job) -> str:
    """Return a job as people read it: ``("fold-0", "stage 1")`` is "fold-0: stage 1"."""
    return ": ".join(job)


def last(steps: Iterable[Step[T]]) -> T:
    """Run the work to its end and return the result of its last Step.

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


def relay(steps: Iterable[Step[T]]) -> Generator[Step[Never], None, T]:
    """Yield the Steps of an inner job without their results, and return the last result.

    ``result = yield from relay(inner())`` makes an inner job part of an outer one. The inner job is closed when the
    outer one is closed or fails.

    Parameters
    ----------
    steps
        The inner job.

    Yields
    ------
    Step
        Each Step of the inner job, with its message and metrics.

    Returns
    -------
    T
        The result of the last Step that carries one.

    Raises
    ------
    ValueError
        If no Step carries a result.
    """
    return (yield from _relay(steps, Step.without_result))


def relay_all(steps: Iterable[Step[T]], *, job: Job | None = None) -> Generator[Step[T], None, T]:
    """Yield the Steps of an inner job with their results, and return the last result.

    The inner job is closed as `relay` does.

    Parameters
    ----------
    steps
        The inner job.
    job
        Name of the Steps; None for their own.

    Yields
    ------
    Step
        Each Step of the inner job.

    Returns
    -------
    T
        The result of the last Step that carries one.

    Raises
    ------
    ValueError
        If no Step carries a result.
    """
    return (yield from _relay(steps, lambda step: step if job is None else replace(step, job=job)))


def _relay(steps: Iterable[Step[T]], change: Callable[[Step[T]], Step[U]]) -> Generator[Step[U], None, T]:
    result: T | None = None
    try:
        for step in steps:
            if step.result is not None:
                result = step.result
            yield change(step)
    finally:
        if isinstance(steps, Generator):
            steps.close()
    if result is None:
        raise ValueError("Expected a Step with a result. Got none.")
    return result
