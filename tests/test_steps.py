"""A Step is what long work says of itself; `last` runs it to the end, `relay` makes it part of other work."""

from collections.abc import Iterator
from dataclasses import FrozenInstanceError, replace

import pytest

from lrmil.steps import Job, Step, job_text, last, relay, relay_all


class TestStep:
    def test_only_the_job_and_the_count_are_needed(self) -> None:
        step: Step[int] = Step(("reading",), 3)
        assert (step.total, step.unit, step.result, step.message, dict(step.metrics)) == (None, "", None, "", {})

    def test_a_step_does_not_change(self) -> None:
        step: Step[int] = Step(("reading",), 3)
        with pytest.raises(FrozenInstanceError):
            step.done = 4  # type: ignore[misc]

    @pytest.mark.parametrize(
        ("job", "text"),
        [(("predict",), "predict"), (("fold-0", "stage 1"), "fold-0: stage 1"), (("extract", "a: b"), "extract: a: b")],
    )
    def test_a_job_is_written_for_people(self, job: Job, text: str) -> None:
        assert job_text(job) == text


class TestLast:
    def test_the_work_runs_to_its_end(self) -> None:
        seen = []

        def work() -> Iterator[Step[str]]:
            for done in (1, 2, 3):
                seen.append(done)
                yield Step(("work",), done, 3, result="early" if done < 3 else "answer")

        assert last(work()) == "answer" and seen == [1, 2, 3]

    @pytest.mark.parametrize("answer", [0, "", []])
    def test_an_empty_answer_is_an_answer(self, answer: object) -> None:
        assert last([Step(("work",), 1, result=answer)]) == answer

    @pytest.mark.parametrize("steps", [[], [Step(("work",), 1, result="early"), Step(("work",), 2)]])
    def test_work_without_an_answer_is_refused(self, steps: list[Step[str]]) -> None:
        with pytest.raises(ValueError, match="last Step"):
            last(steps)

    def test_errors_come_through(self) -> None:
        def work() -> Iterator[Step[str]]:
            yield Step(("work",), 1, result="early")
            raise OSError("the disk is gone")

        with pytest.raises(OSError, match="the disk is gone"):
            last(work())


class TestRelay:
    @staticmethod
    def inner(closed: list[str]) -> Iterator[Step[str]]:
        try:
            yield Step(("inner",), 1, 2, "slides", "early", "one is blurred", {"loss": 0.5})
            yield Step(("inner",), 2, 2, "slides", result="answer")
            yield Step(("inner",), 2, 2, message="tidying up")
        finally:
            closed.append("inner")

    def outer(self, closed: list[str]) -> Iterator[Step[int]]:
        answer = yield from relay(self.inner(closed))
        yield Step(("outer",), 1, 1, result=len(answer))

    def test_steps_keep_everything_but_their_result(self) -> None:
        *inner, end = self.outer([])
        plain = [(step.job, step.done, step.total, step.unit, step.message, dict(step.metrics)) for step in inner]
        expected = [
            (step.job, step.done, step.total, step.unit, step.message, dict(step.metrics)) for step in self.inner([])
        ]
        assert plain == expected and [step.result for step in inner] == [None] * 3
        assert end.result == len("answer")

    @pytest.mark.parametrize("answer", [0, "", [], ()])
    def test_an_empty_result_is_a_result(self, answer: object) -> None:
        found = []

        def outer() -> Iterator[Step[object]]:
            found.append((yield from relay([Step(("inner",), 1, result="early"), Step(("inner",), 2, result=answer)])))

        assert len(list(outer())) == 2 and found == [answer]

    def test_closing_the_outer_job_closes_the_inner_one(self) -> None:
        closed: list[str] = []
        inner = self.inner(closed)  # held here, so that only `close` can end it

        def outer() -> Iterator[Step[str]]:
            yield from relay(inner)

        steps = outer()
        next(steps)
        assert closed == []
        steps.close()  # type: ignore[attr-defined]
        assert closed == ["inner"]

    def test_errors_come_through_in_both_directions(self) -> None:
        def failing() -> Iterator[Step[str]]:
            yield Step(("inner",), 1)
            raise OSError("the disk is gone")

        with pytest.raises(OSError, match="the disk is gone"):
            list(relay(failing()))
        closed: list[str] = []
        inner = self.inner(closed)
        steps = relay(inner)
        next(steps)
        with pytest.raises(KeyError):
            steps.throw(KeyError("stop"))
        assert closed == ["inner"]

    @pytest.mark.parametrize("steps", [[], [Step(("inner",), 1)]])
    def test_a_job_without_a_result_is_refused(self, steps: list[Step[str]]) -> None:
        with pytest.raises(ValueError, match="result"):
            list(relay(steps))


class TestRelayAll:
    def outer(self, closed: list[str], job: Job | None = None) -> Iterator[Step[str]]:
        answer = yield from relay_all(TestRelay.inner(closed), job=job)
        yield Step(("outer",), 1, 1, result=answer)

    def test_steps_keep_everything(self) -> None:
        *inner, end = self.outer([])
        assert inner == list(TestRelay.inner([])) and end.result == "answer"

    def test_steps_can_be_those_of_another_job(self) -> None:
        *inner, _ = self.outer([], ("other",))
        assert inner == [replace(step, job=("other",)) for step in TestRelay.inner([])]

    def test_the_inner_job_is_closed_with_the_outer_one(self) -> None:
        closed: list[str] = []
        steps = self.outer(closed)
        next(steps)
        assert not closed
        steps.close()  # type: ignore[attr-defined]
        assert closed == ["inner"]

    def test_a_job_without_a_result_is_refused(self) -> None:
        with pytest.raises(ValueError, match="Got none"):
            list(relay_all([Step(("inner",), 1)]))
