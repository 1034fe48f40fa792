"""Of the jobs of one widget only the latest is heard, and one whose widget is gone is not."""

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
