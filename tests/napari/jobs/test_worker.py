"""Jobs in a thread: results and every error arrive in the main thread, and a cancelled job has cleaned up."""

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from lrmil.steps import Step
from napari_lrmil.jobs.worker import JobWorker, start_job

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

WAIT = 20_000


class Record:
    """What a job told, and in which thread."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []
        self.threads: set[int] = set()

    def add(self, what: str, value: object = None) -> None:
        self.told.append((what, value))
        self.threads.add(threading.get_ident())

    def start(self, make_steps) -> JobWorker:  # type: ignore[no-untyped-def]
        return start_job(
            make_steps,
            name="test",
            on_step=lambda step: self.add("step", step.done),
            on_result=lambda result: self.add("result", result),
            on_error=lambda error: self.add("error", error),
            on_end=lambda: self.add("end"),
        )

    @property
    def ended(self) -> bool:
        return ("end", None) in self.told


def test_steps_and_the_result_arrive_in_the_main_thread(qtbot: "QtBot") -> None:
    record, worked_in = Record(), []

    def steps() -> Iterator[Step[str]]:
        worked_in.append(threading.get_ident())
        yield Step(("job",), 1, 2)
        yield Step(("job",), 2, 2, result="answer")

    record.start(steps)
    qtbot.waitUntil(lambda: record.ended, timeout=WAIT)
    assert record.told == [("step", 1), ("step", 2), ("result", "answer"), ("end", None)]
    assert record.threads == {threading.get_ident()} and worked_in[0] not in record.threads


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), ValueError("x"), OSError("disk"), MemoryError()])
@pytest.mark.parametrize("first", [True, False])
def test_every_error_arrives(qtbot: "QtBot", error: Exception, first: bool) -> None:
    record = Record()

    def steps() -> Iterator[Step[str]]:
        if not first:
            yield Step(("job",), 1, 2)
        raise error

    record.start(steps)
    qtbot.waitUntil(lambda: record.ended, timeout=WAIT)
    assert record.told[-2:] == [("error", error), ("end", None)]
    assert "result" not in [what for what, _ in record.told]


def test_a_cancelled_job_has_cleaned_up_when_it_ends(qtbot: "QtBot") -> None:
    record, cleaned, held = Record(), [], threading.Event()

    def steps() -> Iterator[Step[str]]:
        try:
            for done in range(10_000):
                if done == 4:
                    assert held.wait(60)
                yield Step(("job",), done, 10_000, result="so far")
        finally:
            cleaned.append(record.ended)

    worker = record.start(steps)
    qtbot.waitUntil(lambda: len(record.told) > 2, timeout=WAIT)
    worker.quit()
    held.set()
    qtbot.waitUntil(lambda: record.ended, timeout=WAIT)
    assert cleaned == [False], "cleaned once, before the end was told"
    assert "result" not in [what for what, _ in record.told]


def test_an_error_while_cleaning_up_arrives_too(qtbot: "QtBot") -> None:
    record = Record()

    def steps() -> Iterator[Step[str]]:
        try:
            yield Step(("job",), 1, 1, result="answer")
        finally:
            raise OSError("the disk is full")

    record.start(steps)
    qtbot.waitUntil(lambda: record.ended, timeout=WAIT)
    assert isinstance(dict(record.told)["error"], OSError)
