"""Work on slides that other processes can import."""

import os
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TypeVar

from lrmil.errors import EncoderError, ModelError, OutputError, ResolutionError, SlideError, Stopped
from lrmil.slides.dask_workers import DIED
from lrmil.slides.each import IN_PROCESS, Executor, Outcome, Work, each, finish
from lrmil.slides.source import SlideSource
from lrmil.steps import Step

RUN_LEVEL = {kind.__name__: kind for kind in (EncoderError, ModelError, OutputError, Stopped)}
OF_ONE_SLIDE = {kind.__name__: kind for kind in (SlideError, ResolutionError, ValueError, MemoryError)}
T = TypeVar("T")
FOLDER = Path("/patients of ward 3")


class Unpicklable(Exception):
    """An error whose arguments are not those that it is made from."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


def act(source: SlideSource, *, begun: Path | None = None) -> str:
    """Do what the slide's id says after its dash, and note in a folder that the slide was begun."""
    what = source.slide_id.partition("-")[2]
    first = begun is None or not (begun / source.slide_id).exists()
    if begun is not None:
        (begun / source.slide_id).touch()
    if what == "dies" or (what == "diesonce" and first):
        os._exit(3)
    if what == "waits":
        time.sleep(0.5)
    if what == "unpicklable":
        raise Unpicklable(1, 2)
    if what in RUN_LEVEL:
        raise RUN_LEVEL[what](f"{what} in {source.path}")
    if what in OF_ONE_SLIDE:
        raise OF_ONE_SLIDE[what](f"{what} in {source.path}")
    return source.slide_id.upper()


def act_in_steps(source: SlideSource, *, begun: Path | None = None) -> Generator[Step[str], None, str]:
    """Do the same and report two Steps before."""
    for done in (1, 2):
        yield Step((source.slide_id,), done, 2, "patches", str(done), metrics={"done": done})
    return act(source, begun=begun)


def refuses_to_arrive(source: SlideSource, broken: object) -> str:
    """Return the process; `broken` decides whether the work gets there."""
    return f"{os.getpid()} {broken}"


class Broken:
    """A value that pickles, and cannot be made again from that."""

    def __reduce__(self) -> tuple[object, ...]:
        return (_fail, ())


def _fail() -> None:
    raise ValueError("cannot be made again")


def process_of(source: SlideSource) -> int:
    """Return in which process the work is done."""
    time.sleep(0.05)
    return os.getpid()


class Poisoned:
    """Works in this process, and says of some slides that their process died every time; see `test_workers`."""

    def __init__(self, slide_ids: set[str]) -> None:
        self.slide_ids = slide_ids

    def run(self, work: Work[T], slides: Sequence[SlideSource]) -> Generator[Step[T] | Outcome[T], None, None]:
        for slide in slides:
            poisoned = slide.slide_id in self.slide_ids
            yield Outcome(slide, failure=DIED) if poisoned else finish(work, slide)


def path_of(source: SlideSource) -> str:
    """Return where the slide is for the process that does the work."""
    return str(source.path)


def source_of(slide_id: str) -> SlideSource:
    """Return a slide that does not exist."""
    return SlideSource(slide_id, FOLDER / f"{slide_id}.svs")


def sources_of(*behaviours: str) -> list[SlideSource]:
    """Return a slide for each behaviour of `act`, "" for one that succeeds."""
    return [source_of(f"{number}-{behaviour}") for number, behaviour in enumerate(behaviours)]


def outcomes(
    work: Work[str], slides: Sequence[SlideSource], executor: Executor = IN_PROCESS, **options: bool
) -> list[Outcome[str]]:
    """Return the finished outcomes."""
    steps = each(work, slides, executor, job=("job",), **options)
    return [step.result for step in steps if step.result is not None and step.result.finished]
