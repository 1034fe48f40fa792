"""Show Steps on the terminal: progress bars with rate and time left, and a line for each message."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from lrmil.steps import Job, Step, T, job_text


def show(steps: Iterable[Step[T]], console: Console) -> T:
    """Run the work to its end, show its progress, and return the result of its last Step.

    A part of a job, such as ("predict", "slide-a"), has its bar below the bar of the job ("predict",). The bar of any
    other job disappears when the next job begins.

    Parameters
    ----------
    steps
        The work.
    console
        Where to draw.

    Returns
    -------
    T
        Result of the last Step.

    Raises
    ------
    ValueError
        If the last Step carries no result.
    """
    final: Step[T] | None = None
    with _bars(console) as bars, _closing(steps):  # also when a signal comes while a bar is drawn
        tasks: dict[Job, TaskID] = {}
        for step in steps:
            final = step
            for job in [job for job in tasks if step.job[: len(job)] != job]:
                bars.remove_task(tasks.pop(job))
            if step.job not in tasks:
                tasks[step.job] = bars.add_task(job_text(step.job), total=step.total, unit=step.unit)
            bars.update(tasks[step.job], completed=step.done, total=step.total)
            if step.message:
                console.print(Text(f"{job_text(step.job)}: {step.message}"))
    if final is None or final.result is None:
        raise ValueError("The last Step carries no result.")
    return final.result


@contextmanager
def _closing(steps: Iterable[Step[T]]) -> Iterator[None]:
    """Close a generator at the end, however it ends, so that it cleans up."""
    try:
        yield
    finally:
        if isinstance(steps, Generator):
            steps.close()


@contextmanager
def _bars(console: Console) -> Iterator[Progress]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        _Rate("{task.speed}"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, transient=True, speed_estimate_period=20) as bars:
        yield bars


class _Rate(TextColumn):
    """Units per second, from the second update on."""

    def render(self, task) -> Text:  # type: ignore[no-untyped-def]
        return Text("" if task.speed is None else f"{task.speed:.1f}/s")
