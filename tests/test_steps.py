"""A Step is what long work says of itself; `last` runs it to the end."""

from collections.abc import Iterator
from dataclasses import FrozenInstanceError

import pytest

from lrmil.steps import Step, last


class TestStep:
    def test_only_the_job_and_the_count_are_needed(self) -> None:
        step: Step[int] = Step("reading", 3)
        assert (step.total, step.unit, step.result, step.message, dict(step.metrics)) == (None, "", None, "", {})

    def test_a_step_does_not_change(self) -> None:
        step: Step[int] = Step("reading", 3)
        with pytest.raises(FrozenInstanceError):
            step.done = 4  # type: ignore[misc]


class TestLast:
    def test_the_work_runs_to_its_end(self) -> None:
        seen = []

        def work() -> Iterator[Step[str]]:
            for done in (1, 2, 3):
                seen.append(done)
                yield Step("work", done, 3, result="early" if done < 3 else "answer")

        assert last(work()) == "answer" and seen == [1, 2, 3]

    @pytest.mark.parametrize("answer", [0, "", []])
    def test_an_empty_answer_is_an_answer(self, answer: object) -> None:
        assert last([Step("work", 1, result=answer)]) == answer

    @pytest.mark.parametrize("steps", [[], [Step("work", 1, result="early"), Step("work", 2)]])
    def test_work_without_an_answer_is_refused(self, steps: list[Step[str]]) -> None:
        with pytest.raises(ValueError, match="last Step"):
            last(steps)

    def test_errors_come_through(self) -> None:
        def work() -> Iterator[Step[str]]:
            yield Step("work", 1, result="early")
            raise OSError("the disk is gone")

        with pytest.raises(OSError, match="the disk is gone"):
            last(work())
