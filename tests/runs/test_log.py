"""The log of a run: which Steps it keeps, how it says that the work began and ended, and that any bytes can be read."""

import json
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.errors import SlideError, Stopped
from lrmil.runs import log
from lrmil.runs.log import LogLine, logged, parse_line
from lrmil.runs.progress import RunProgress
from lrmil.steps import Job, Step

ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just([1]) | st.just({})
LINES = st.fixed_dictionaries(
    {"time": st.floats() | st.integers()},
    optional={
        "job": ANYTHING
        | st.sampled_from(["fold-0: stage 1", "LR features", "fold-1: LR features: a", "fold-0", "train"])
        | st.lists(ANYTHING | st.sampled_from(["fold-0", "stage 1", "LR features", "a", "train"]), max_size=4),
        "done": ANYTHING | st.integers(0, 5),
        "total": ANYTHING | st.integers(0, 5),
        "unit": ANYTHING | st.sampled_from(["folds", "slides"]),
        "message": ANYTHING,
        "metrics": ANYTHING | st.dictionaries(st.sampled_from(["epoch", "loss"]), ANYTHING),
        "start": ANYTHING,
        "plan": ANYTHING,
        "end": ANYTHING | st.sampled_from(["finished", "stopped", "failed"]),
    },
)


def run(steps: Iterator[Step[int]], path: Path, *, stop: Sequence[bool] = ()) -> Generator[Step[int], None, None]:
    asked = iter(stop)
    generator = (step for step in steps)
    hidden = (path.parent,)
    return logged(generator, path, plan="p", hidden=hidden, asked_to_stop=lambda: next(asked, False))


def lines(path: Path) -> list[dict[str, object]]:
    return [{k: v for k, v in json.loads(line).items() if k != "time"} for line in path.read_text().splitlines()]


def counted(job: Job, total: int) -> Iterator[Step[int]]:
    for done in range(1, total + 1):
        yield Step(job, done, total, "steps")


class TestWriting:
    def test_of_each_job_the_first_and_the_last_step_and_all_that_say_something(self, tmp_path: Path) -> None:
        def work() -> Iterator[Step[int]]:
            yield from counted(("a",), 50)
            yield Step(("b",), 1, 3, "slides", message="torn")
            yield Step(("b",), 2, 3, "slides", metrics={"loss": 0.5})
            yield Step(("b",), 3, 3, "slides", result=7)

        log = tmp_path / "log"
        assert [step.job for step in run(work(), log)] == [("a",)] * 50 + [("b",)] * 3
        assert lines(log) == [
            {"start": True, "plan": "p"},
            {"job": ["a"], "done": 1, "total": 50, "unit": "steps"},
            {"job": ["a"], "done": 50, "total": 50, "unit": "steps"},
            {"job": ["b"], "done": 1, "total": 3, "unit": "slides", "message": "torn"},
            {"job": ["b"], "done": 2, "total": 3, "unit": "slides", "metrics": {"loss": 0.5}},
            {"job": ["b"], "done": 3, "total": 3, "unit": "slides"},
            {"end": "finished", "message": ""},
        ]

    def test_a_line_a_second_while_a_job_goes_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [100.0]
        monkeypatch.setattr("time.monotonic", lambda: now[0])
        for _ in run(counted(("a",), 100), tmp_path / "log"):
            now[0] += 0.125
        done = [line["done"] for line in lines(tmp_path / "log") if "job" in line]
        assert done == [1, *range(9, 100, 8), 100]

    @pytest.mark.parametrize(
        ("error", "end", "message"),
        [
            (SlideError("Expected a slide at /home/ann/a.svs."), "failed", "Expected a slide at a.svs."),
            (OSError(28, "No space left", "{}/x"), "failed", "OSError: [Errno 28] No space left: 'x'"),
            (KeyboardInterrupt(), "stopped", ""),
        ],
    )
    def test_how_it_ended(self, tmp_path: Path, error: BaseException, end: str, message: str) -> None:
        if isinstance(error, OSError) and error.filename:
            error.filename = error.filename.format(tmp_path)

        def work() -> Iterator[Step[int]]:
            yield Step(("a",), 1)
            raise error

        with pytest.raises(type(error)):
            list(run(work(), tmp_path / "log"))
        assert lines(tmp_path / "log")[-1] == {"end": end, "message": message}

    def test_closing_closes_the_work_first(self, tmp_path: Path) -> None:
        closed = []

        def work() -> Iterator[Step[int]]:
            try:
                yield from counted(("a",), 5)
            finally:
                closed.append(lines(tmp_path / "log"))

        steps = logged(work(), tmp_path / "log", plan="p", hidden=(), asked_to_stop=lambda: False)  # type: ignore[arg-type]
        next(steps)
        steps.close()
        assert len(closed) == 1 and "end" not in closed[0][-1]
        assert lines(tmp_path / "log")[-1] == {"end": "stopped", "message": ""}

    def test_it_stops_when_asked_but_not_when_the_answer_is_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(log, "INTERVAL", 0.0)
        steps = run(counted(("a",), 5), tmp_path / "log", stop=[False, False, True])
        assert [next(steps).done, next(steps).done] == [1, 2]
        with pytest.raises(Stopped, match="resume"):
            next(steps)
        assert [line.get("done", line.get("end")) for line in lines(tmp_path / "log")] == [None, 1, 2, 3, "stopped"]
        (step,) = run(iter([Step(("a",), 1, 1, result=3)]), tmp_path / "log", stop=[True])
        assert step.result == 3 and lines(tmp_path / "log")[-1]["end"] == "finished"

    def test_it_is_appended_to_and_half_a_line_of_a_killed_process_stands_alone(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        list(run(counted(("a",), 1), log))
        log.write_bytes(log.read_bytes() + b'{"time": 1, "jo')
        list(run(counted(("a",), 1), log))
        parsed = [parse_line(line) for line in log.read_bytes().splitlines()]
        assert [line and (line.start, line.job, line.end) for line in parsed] == [
            *[(True, (), ""), (False, ("a",), ""), (False, (), "finished"), None],
            *[(True, (), ""), (False, ("a",), ""), (False, (), "finished")],
        ]


class TestReading:
    def test_each_kind_of_line(self) -> None:
        assert parse_line(b'{"time": 1.5, "start": true, "plan": "p"}') == LogLine(1.5, start=True, plan="p")
        assert parse_line(b'{"time": 2, "end": "failed", "message": "m"}') == LogLine(2, end="failed", message="m")
        line = b'{"time": 3, "job": ["j", "k: l"], "done": 1, "total": null, "metrics": {"a": 1, "b": "x", "c": NaN}}\r'
        assert parse_line(line) == LogLine(3, ("j", "k: l"), 1, None, metrics={"a": 1.0})

    @pytest.mark.parametrize(
        "line",
        [
            *(b"", b"{}", b"[]", b"\xff\xfe", b'{"time": "1", "start": true}', b'{"time": 1}', b"[" * 100_000),
            *(
                b'{"time": 1, "job": %s}' % job
                for job in (b'""', b"[]", b'[""]', b'["a", 1]', b'["a", ["b"]]', b'{"a": 1}')
            ),
        ],
    )
    def test_what_is_no_line(self, line: bytes) -> None:
        assert parse_line(line) is None

    @given(st.binary() | LINES.map(lambda values: json.dumps(values).encode()))
    def test_no_bytes_are_too_strange(self, line: bytes) -> None:
        parsed = parse_line(line)
        assert parsed is None or parsed.start or parsed.end or parsed.job

    @given(st.lists(LINES, max_size=8))
    def test_no_lines_are_too_strange_for_the_progress(self, values: list[dict[str, object]]) -> None:
        progress = RunProgress()
        for line in (parse_line(json.dumps(value).encode()) for value in values):
            if line is not None:
                progress.add(line)
            left = [progress.clock.seconds_left(3), progress.pace.seconds_left if progress.pace else None]
            assert all(seconds is None or 0 <= seconds < float("inf") for seconds in left)
            assert isinstance(progress.stage, str) and all(record.epoch >= 1 for record in progress.epochs)
