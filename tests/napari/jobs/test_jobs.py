"""One job at a time: what is asked for meanwhile is refused in a sentence, and waits if it is told to."""

from collections.abc import Iterator
from threading import Event
from typing import TYPE_CHECKING

from lrmil.steps import Step
from napari_lrmil.jobs.jobs import Jobs

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


def steps(released: Event) -> Iterator[Step[int]]:
    yield Step(("one",), 1, 2)
    released.wait(60)
    yield Step(("one",), 2, 2, result=7)


def test_a_second_job_is_refused_and_an_action_waits(qtbot: "QtBot") -> None:
    jobs, released = Jobs(), Event()
    results: list[int] = []
    sentences: list[str] = []
    done: list[str] = []
    jobs.failed.connect(sentences.append)
    jobs.when_idle(lambda: done.append("at once"))
    assert jobs.run(lambda: steps(released), name="the first", on_result=results.append)
    jobs.when_idle(lambda: done.append("later"))
    assert not jobs.run(lambda: steps(released), name="another", on_result=results.append)
    assert "'the first'" in sentences[0] and done == ["at once"]
    released.set()
    qtbot.waitUntil(lambda: not jobs.busy, timeout=60_000)
    assert results == [7] and done == ["at once", "later"] and jobs.job_name == ""


def test_an_error_is_a_sentence_and_the_next_job_runs(qtbot: "QtBot") -> None:
    def fails() -> Iterator[Step[int]]:
        yield Step(("one",), 1, 2)
        raise ValueError("no such thing")

    jobs = Jobs()
    sentences: list[str] = []
    results: list[int] = []
    jobs.failed.connect(sentences.append)
    assert jobs.run(fails, name="fails", on_result=results.append)
    qtbot.waitUntil(lambda: not jobs.busy, timeout=60_000)
    assert len(sentences) == 1 and results == []
    released = Event()
    released.set()
    assert jobs.run(lambda: steps(released), name="next", on_result=results.append)
    qtbot.waitUntil(lambda: not jobs.busy, timeout=60_000)
    assert results == [7]
