"""One function over many slides: order, isolation, what ends the whole, and the same from either executor."""

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.errors import EncoderError
from lrmil.slides.dask_workers import DaskWorkers
from lrmil.slides.each import IN_PROCESS, Executor, Outcome, Work, each, finish
from lrmil.slides.failures import Failure, failure_of
from lrmil.slides.source import SlideSource
from lrmil.steps import Step
from support.each_work import (
    FOLDER,
    OF_ONE_SLIDE,
    RUN_LEVEL,
    act,
    act_in_steps,
    outcomes,
    source_of,
    sources_of,
)

BEHAVIOURS = ["", *OF_ONE_SLIDE]


@given(st.lists(st.sampled_from(BEHAVIOURS), max_size=8))
def test_each_slide_has_its_outcome_in_order_and_stops_no_other(behaviours: list[str]) -> None:
    slides = sources_of(*behaviours)
    seen = list(each(act, slides, job=("job",)))
    assert [(step.job, step.done, step.total, step.unit) for step in seen] == [
        (("job",), done, len(slides), "slides") for done in range(len(slides) + 1)
    ]
    assert seen[0].result is None and not seen[0].message
    for slide, behaviour, step in zip(slides, behaviours, seen[1:], strict=True):
        outcome = step.result
        assert outcome is not None and outcome.source == slide and outcome.finished
        if behaviour:
            error = OF_ONE_SLIDE[behaviour](f"{behaviour} in {slide.path}")
            assert outcome.failure == failure_of(error, slide) and type(outcome.error) is type(error)
            assert outcome.value is None and step.message == f"{slide.slide_id}: {outcome.failure.message}"
            assert str(FOLDER) not in step.message
        else:
            assert outcome == Outcome(slide, slide.slide_id.upper()) and not step.message


@pytest.fixture(params=["here", "elsewhere"])
def executor(request: pytest.FixtureRequest) -> Executor:
    return IN_PROCESS if request.param == "here" else request.getfixturevalue("two_workers")


def test_other_processes_give_the_same(two_workers: DaskWorkers) -> None:
    slides = sources_of("waits", "", "SlideError", "unpicklable", "", "MemoryError", "ResolutionError", "waits", "")
    elsewhere = list(each(act, slides, two_workers, job=("job",)))
    here = list(each(act, slides, job=("job",)))
    assert [step.message for step in elsewhere] == [step.message for step in here]
    assert [(step.done, step.total) for step in elsewhere] == [(step.done, step.total) for step in here]
    for mine, theirs in zip(here[1:], elsewhere[1:], strict=True):
        assert mine.result is not None and theirs.result is not None
        assert theirs.result == Outcome(mine.result.source, mine.result.value, mine.result.failure)


def test_the_steps_of_a_slide_carry_what_is_known_so_far() -> None:
    slides = sources_of("", "SlideError")
    seen = list(each(act_in_steps, slides, job=("job",)))
    assert [(*step.job, step.done) for step in seen] == [
        ("job", 0), ("0-", 1), ("0-", 2), ("job", 1), ("1-SlideError", 1), ("1-SlideError", 2), ("job", 2),
    ]  # fmt: skip
    assert seen[2].result == Outcome(slides[0], "2", finished=False)
    assert seen[2].unit == "patches" and seen[2].total == 2 and seen[2].metrics == {"done": 2}
    assert seen[3].result == Outcome(slides[0], "0-")


@pytest.mark.parametrize("kind", RUN_LEVEL)
@pytest.mark.parametrize("work", [act, act_in_steps])
def test_what_concerns_every_slide_ends_the_whole(kind: str, work: Work[str], tmp_path: Path) -> None:
    slides = sources_of("SlideError", kind, "")
    seen = []
    with pytest.raises(RUN_LEVEL[kind], match=kind):
        for step in each(partial(work, begun=tmp_path), slides, job=("job",)):
            seen.append(step)
    assert seen[-1].done >= 1 and sorted(path.name for path in tmp_path.iterdir()) == ["0-SlideError", f"1-{kind}"]


def test_it_ends_the_whole_in_other_processes(tmp_path: Path, two_workers: DaskWorkers) -> None:
    slides = sources_of("", "waits", "ModelError", "waits", *[""] * 20)
    seen = []
    with pytest.raises(RUN_LEVEL["ModelError"], match="ModelError in"):
        for step in each(partial(act, begun=tmp_path), slides, two_workers, job=("job",)):
            seen.append(step)
    assert [step.done for step in seen] == [0, 1]  # the second is still being worked on
    assert len(list(tmp_path.iterdir())) <= 5


def test_closing_cancels_what_has_not_begun(executor: Executor, tmp_path: Path) -> None:
    slides = sources_of("", *["waits"] * 10)
    steps = each(partial(act, begun=tmp_path), slides, executor, job=("job",))
    for step in steps:
        if step.done == 1:
            break
    steps.close()
    begun = len(list(tmp_path.iterdir()))
    assert 1 <= begun <= 4
    assert len(list(tmp_path.iterdir())) == begun


def test_closing_in_a_slide_closes_its_work() -> None:
    closed = []

    def work(slide: SlideSource) -> Generator[Step[str], None, str]:
        try:
            yield Step(("patches",), 1, 2)
            return "done"
        finally:
            closed.append(slide.slide_id)

    steps = each(work, sources_of("", ""), job=("job",))
    next(steps)
    next(steps)
    steps.close()
    assert closed == ["0-"]


def test_slides_whose_outputs_would_have_one_name_are_not_worked_on(executor: Executor, tmp_path: Path) -> None:
    twins = [SlideSource("a", tmp_path / "one/a.svs"), SlideSource("A", tmp_path / "two/A.svs")]
    slides = [twins[0], source_of("b"), source_of("x" * 300), twins[1], source_of("c")]
    found = outcomes(act, slides, executor)
    assert [outcome.source for outcome in found] == slides
    assert [outcome.failure is not None and outcome.failure.reason for outcome in found] == [
        "name", False, "name", "name", False,
    ]  # fmt: skip
    assert [outcome.value for outcome in outcomes(act, [*twins, slides[1]], executor, names_outputs=False)] == [
        "A",
        "A",
        "B",
    ]


def test_no_slides_are_no_error(executor: Executor) -> None:
    assert [step.done for step in each(act, [], executor, job=("job",))] == [0]


def test_one_slide_is_finished_without_its_steps() -> None:
    assert finish(act_in_steps, source_of("a")) == Outcome(source_of("a"), "A")
    assert isinstance(finish(act_in_steps, source_of("a-ValueError")).failure, Failure)
    with pytest.raises(EncoderError):
        finish(act_in_steps, source_of("a-EncoderError"))


def test_an_engine_needs_to_submit_no_more_than_finish() -> None:
    class Submitted:
        def run(
            self, work: Work[str], slides: Sequence[SlideSource]
        ) -> Generator[Step[str] | Outcome[str], None, None]:
            with ThreadPoolExecutor(2) as engine:
                yield from engine.map(partial(finish, work), slides)

    slides = sources_of("", "SlideError", "waits", "")
    assert [outcome.failure for outcome in outcomes(act_in_steps, slides, Submitted())] == [  # type: ignore[arg-type]
        outcome.failure for outcome in outcomes(act_in_steps, slides)
    ]


def test_an_executor_that_forgets_a_slide_is_found_out() -> None:
    class Forgetful:
        def run(
            self, work: Work[str], slides: Sequence[SlideSource]
        ) -> Generator[Step[str] | Outcome[str], None, None]:
            yield finish(work, slides[0])

    with pytest.raises(ValueError, match="1-"):
        outcomes(act, sources_of("", ""), Forgetful())  # type: ignore[arg-type]
