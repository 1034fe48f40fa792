"""Of the jobs of one widget only the latest is heard, and one whose widget is gone is not."""

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import QObject

from lrmil.steps import Step
from napari_lrmil.jobs.latest import LatestJob

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

PATIENCE = 60_000
Make = Callable[[], Iterator[Step[str]]]


class Record:
    """What a widget's latest jobs reported."""

    def __init__(self) -> None:
        self.owner = QObject()
        self.job = LatestJob(self.owner)
        self.heard: list[tuple[str, object]] = []

    def start(self, make: Make) -> None:
        self.job.start(
            make,
            name="a job of a test",
            on_step=lambda step: self.heard.append(("step", step.result)),
            on_result=lambda result: self.heard.append(("result", result)),
            on_error=lambda error: self.heard.append(("error", str(error))),
        )


@pytest.fixture
def record(qtbot: "QtBot") -> Record:
    return Record()


def steps(*results: str) -> Make:
    return lambda: (Step(("test",), n, len(results), result=result) for n, result in enumerate(results, 1))


def test_a_job_reports_its_steps_and_its_result(record: Record, qtbot: "QtBot") -> None:
    record.start(steps("a", "b"))
    assert record.job.running
    qtbot.waitUntil(lambda: not record.job.running, timeout=PATIENCE)
    assert record.heard == [("step", "a"), ("step", "b"), ("result", "b")]


def test_a_job_that_fails_reports_why(record: Record, qtbot: "QtBot") -> None:
    def fails() -> Iterator[Step[str]]:
        yield Step(("test",), 1, 2, result="a")
        raise RuntimeError("broken")

    record.start(fails)
    qtbot.waitUntil(lambda: not record.job.running, timeout=PATIENCE)
    assert record.heard == [("step", "a"), ("error", "broken")]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("then", ["another", "forget"])
def test_an_earlier_job_is_not_heard_any_more(record: Record, qtbot: "QtBot", *, fails: bool, then: str) -> None:
    begun, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    def slow() -> Iterator[Step[str]]:
        try:
            begun.set()
            go_on.wait(PATIENCE / 1000)
            if fails:
                raise RuntimeError("too late")
            yield Step(("test",), 1, 1, result="too late")
        finally:
            closed.set()

    record.start(slow)
    assert begun.wait(PATIENCE / 1000)
    if then == "another":
        record.start(steps("new"))
    else:
        record.job.forget()
        assert not record.job.running
    go_on.set()
    qtbot.waitUntil(lambda: closed.is_set() and not record.job.running, timeout=PATIENCE)
    qtbot.wait(100)  # what the first one reports would have arrived
    assert record.heard == ([("step", "new"), ("result", "new")] if then == "another" else [])


def endless(begun: threading.Event, closed: threading.Event) -> Make:
    """A job that ends only when it is asked to."""

    def make() -> Iterator[Step[str]]:
        try:
            for number in itertools.count():
                begun.set()
                yield Step(("test",), number)
        finally:
            closed.set()

    return make


@pytest.mark.parametrize("then", ["another", "forget"])
def test_an_earlier_job_is_asked_to_end(record: Record, qtbot: "QtBot", then: str) -> None:
    begun, closed = threading.Event(), threading.Event()
    record.start(endless(begun, closed))
    assert begun.wait(PATIENCE / 1000)
    if then == "another":
        record.start(steps("new"))
    else:
        record.job.forget()
    qtbot.waitUntil(closed.is_set, timeout=PATIENCE)


def test_the_end_of_an_earlier_job_is_not_that_of_the_latest(record: Record, qtbot: "QtBot") -> None:
    events = [threading.Event() for _ in range(4)]
    record.start(endless(*events[:2]))
    assert events[0].wait(PATIENCE / 1000)
    record.start(endless(*events[2:]))
    qtbot.waitUntil(lambda: events[1].is_set() and events[2].is_set(), timeout=PATIENCE)
    qtbot.wait(100)  # the end of the first one would have arrived
    assert record.job.running
    record.job.forget()
    qtbot.waitUntil(events[3].is_set, timeout=PATIENCE)


def test_a_widget_that_is_gone_is_not_called(record: Record, qtbot: "QtBot") -> None:
    go_on, closed = threading.Event(), threading.Event()

    def slow() -> Iterator[Step[str]]:
        try:
            go_on.wait(PATIENCE / 1000)
            yield Step(("test",), 1, 1, result="too late")
        finally:
            closed.set()

    record.start(slow)
    with qtbot.waitSignal(record.owner.destroyed, timeout=PATIENCE):
        record.owner.deleteLater()
    go_on.set()
    qtbot.waitUntil(closed.is_set, timeout=PATIENCE)
    qtbot.wait(100)
    assert record.heard == []
