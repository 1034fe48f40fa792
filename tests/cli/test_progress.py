"""Steps on a terminal: which bars are drawn at the same time, and how a job and its message are written."""

import io
from collections.abc import Iterator

import pytest
from rich.console import Console
from rich.text import Text

from lrmil.cli.progress import show
from lrmil.steps import Job, Step


def drawn(jobs: list[Job]) -> list[list[str]]:
    """What stands on the terminal, line by line, when the bar of each job has been drawn."""
    file, frames = io.StringIO(), []

    def work() -> Iterator[Step[str]]:
        for job in jobs:
            file.truncate(file.seek(0))
            yield Step(job, 0, 5, "patches")
            text = Text.from_ansi(file.getvalue().replace("\r", "\n")).plain
            frames.append([line.partition("  ")[0].partition(" ━")[0].strip() for line in text.splitlines()])
        yield Step(jobs[-1], 5, 5, "patches", result="answer")

    assert show(work(), Console(file=file, force_terminal=True, width=120)) == "answer"
    return [[line for line in frame if line] for frame in frames]


@pytest.mark.parametrize(
    ("jobs", "last"),
    [
        ([("predict",), ("predict", "a")], ["predict", "predict: a"]),
        ([("predict",), ("predict", "a"), ("predict", "b")], ["predict", "predict: b"]),
        ([("predict",), ("predict", "a"), ("evaluate",)], ["evaluate"]),
        ([("predict",), ("predict: a",)], ["predict: a"]),
        ([("predict",), ("predict", "[b]a[/b]")], ["predict", "predict: [b]a[/b]"]),
        ([("a",), ("a", "b"), ("a", "b", "c: d")], ["a", "a: b", "a: b: c: d"]),
        ([("fold-1",), ("fold-10", "teacher")], ["fold-10: teacher"]),
    ],
)
def test_a_part_is_drawn_below_the_job_it_belongs_to(jobs: list[Job], last: list[str]) -> None:
    assert drawn(jobs)[-1][-len(last) :] == last
    assert set(drawn(jobs)[-1]) == set(last)


def test_a_message_is_written_after_its_job() -> None:
    file = io.StringIO()
    steps = [Step(("predict", "[a]"), 0, 1, message="a slide: torn"), Step(("predict",), 1, 1, result=7)]
    assert show(steps, Console(file=file, width=120)) == 7
    assert "predict: [a]: a slide: torn" in file.getvalue().splitlines()


def test_a_bar_counts_and_learns_of_a_larger_total() -> None:
    file = io.StringIO()
    steps = [Step(("a",), done, total, "patches", result=7) for done, total in ((1, 7), (3, 9))]
    assert show(steps, Console(file=file, force_terminal=True, width=120)) == 7
    assert "3/9 patches" in Text.from_ansi(file.getvalue().replace("\r", "\n")).plain, "as it stood at the end"


@pytest.mark.parametrize("steps", [[], [Step(("a",), 1, 1)]], ids=["no step", "no result"])
def test_work_without_a_result_is_an_error(steps: list[Step[int]]) -> None:
    with pytest.raises(ValueError, match="no result"):
        show(steps, Console(file=io.StringIO()))


def test_work_is_closed_when_a_signal_comes_while_its_bar_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    closed, console = [], Console(file=io.StringIO())

    def work() -> Iterator[Step[int]]:
        try:
            yield Step(("a",), 1, 2, message="said")
        finally:
            closed.append(True)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(console, "print", interrupted)
    steps = work()
    with pytest.raises(KeyboardInterrupt):
        show(steps, console)
    assert closed == [True]
