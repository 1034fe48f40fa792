"""Apply one function to many slides, here or in other processes; a slide that fails does not stop the others."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar

from lrmil.slides.failures import Failure, failure_of, unfit_names
from lrmil.slides.source import SlideSource
from lrmil.steps import Job, Step

T = TypeVar("T")
Work: TypeAlias = Callable[[SlideSource], T | Generator[Step[T], None, T]]
"""A function of a slide that returns a value, or that yields Steps and then returns a value."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """The value or the failure of one slide.

    Attributes
    ----------
    source
        The slide.
    value
        What the work returned. While it is in progress, the result of its latest Step.
    failure
        Why it has no value.
    error
        The exception behind the failure. None for a refused name, and for work in another process, since exceptions
        cannot always be sent.
    finished
        False while the work is in progress.
    """

    source: SlideSource
    value: T | None = None
    failure: Failure | None = None
    error: Exception | None = None
    finished: bool = True

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the outcome without its exception."""
        return Outcome, (self.source, self.value, self.failure, None, self.finished)


class Executor(Protocol):
    """Run work on slides, in this process or elsewhere.

    An engine such as that of `lrmil.slides.workers` needs this one method, which submits ``finish(work, slide)`` for
    each slide and yields what it returns.
    """

    def run(self, work: Work[T], slides: Sequence[SlideSource]) -> Generator[Step[T] | Outcome[T], None, None]:
        """Yield one finished Outcome per slide in the order of `slides`, each after its Steps, if they are known.

        An Outcome that is not finished says that the slide is still in progress, so that a caller can stop meanwhile.
        Errors that end the run are raised. When the generator is closed, work that has not begun is cancelled.
        """


class InProcess:
    """Process one slide after the other in this process, and yield the Steps of each."""

    def run(self, work: Work[T], slides: Sequence[SlideSource]) -> Generator[Step[T] | Outcome[T], None, None]:
        """Yield the Steps of each slide, then its Outcome."""
        for slide in slides:
            yield (yield from _attempt(work, slide))


IN_PROCESS = InProcess()


def each(
    work: Work[T],
    slides: Sequence[SlideSource],
    executor: Executor = IN_PROCESS,
    *,
    job: Job,
    names_outputs: bool = True,
) -> Generator[Step[Outcome[T]], None, None]:
    """Do the same work on each slide.

    Parameters
    ----------
    work
        For other processes it must be picklable: a function of a module, or a `functools.partial` of one with paths and
        frozen options. Pass a model as a function that loads it from its folder, cached by `functools.lru_cache`, so
        that each process loads it once.
    slides
        The slides.
    executor
        Where the work runs; the outcomes do not depend on it.
    job
        Name of the Steps that count slides.
    names_outputs
        Whether outputs are named after the slides. Then a name that does not allow this is a failure.

    Yields
    ------
    Step
        One at the start, without a result. Then the Steps of each slide with its unfinished Outcome, and one that
        counts the slide with its finished Outcome and, if it failed, a message. Slides come in the order of `slides`.

    Raises
    ------
    EncoderError, ModelError, OutputError, RunError, Stopped
        From the work: these errors end the whole run.
    """
    unfit = unfit_names(slides) if names_outputs else {}
    yield Step(job, 0, len(slides), "slides")
    with closing(executor.run(work, [slide for slide in slides if slide.path not in unfit])) as running:
        for done, slide in enumerate(slides, start=1):
            if (failure := unfit.get(slide.path)) is None:
                outcome = yield from _next_outcome(slide, running, job)
            else:
                outcome = Outcome(slide, failure=failure)
            message = f"{slide.slide_id}: {outcome.failure.message}" if outcome.failure else ""
            yield Step(job, done, len(slides), "slides", outcome, message)


def finish(work: Work[T], slide: SlideSource) -> Outcome[T]:
    """Do the work on one slide, without its Steps.

    Parameters
    ----------
    work, slide
        As in `each`.

    Returns
    -------
    Outcome
        The finished outcome.

    Raises
    ------
    EncoderError, ModelError, OutputError, RunError, Stopped
        As `each`.
    """
    steps = _attempt(work, slide)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            outcome: Outcome[T] = end.value
            return outcome


def _attempt(work: Work[T], slide: SlideSource) -> Generator[Step[T], None, Outcome[T]]:
    """Do the work on one slide; the only place of the core where any exception becomes a failure."""
    try:
        begun = work(slide)
        value = (yield from begun) if isinstance(begun, Generator) else begun
        return Outcome(slide, value)
    except Exception as error:  # noqa: BLE001 - one slide never stops the others
        return Outcome(slide, failure=failure_of(error, slide), error=error)


def _next_outcome(
    slide: SlideSource, running: Generator[Step[T] | Outcome[T], None, None], job: Job
) -> Generator[Step[Outcome[T]], None, Outcome[T]]:
    for found in running:
        if isinstance(found, Step):
            outcome = Outcome(slide, found.result, finished=False)
            yield Step(found.job, found.done, found.total, found.unit, outcome, found.message, found.metrics)
        elif found.finished:
            return found
        else:
            yield Step((*job, slide.slide_id), 0, result=found)
    raise ValueError(f"The executor ended without an Outcome for {slide.slide_id}.")
