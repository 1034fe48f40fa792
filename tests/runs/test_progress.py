"""How far a run is and how long it takes, from made-up logs."""

from dataclasses import replace

import pytest

from lrmil.runs.log import LogLine
from lrmil.runs.progress import RunProgress
from lrmil.steps import Job


def after(*lines: LogLine) -> RunProgress:
    progress = RunProgress()
    for line in lines:
        progress.add(line)
    return progress


def start(time: float, plan: str = "p") -> LogLine:
    return LogLine(time, start=True, plan=plan)


def fold(name: str, begin: float, end: float) -> list[LogLine]:
    """A fold that is trained between two times."""
    jobs = [("teacher", "steps"), ("evidence", "slides"), ("stage 1", "steps"), ("LR features", "slides")]
    lines = [LogLine(begin, (name, job), 1, 2, unit) for job, unit in jobs]
    return [*lines, LogLine(end, (name,), 1, 1, "folds")]


def passed_over(name: str, time: float) -> list[LogLine]:
    return [
        LogLine(time, (name, "LR features"), 0, 2, "slides"),
        LogLine(time + 1, (name, "LR features"), 2, 2, "slides"),
        LogLine(time + 1, (name,), 1, 1, "folds"),
    ]


@pytest.mark.parametrize(
    ("job", "stage"),
    [
        (("LR features",), "LR features of the frozen encoder"),
        (("fold-2", "teacher"), "fold-2: HR teacher"),
        (("fold-2", "inner folds"), "fold-2: MILs of the inner folds"),
        (("fold-2", "head"), "fold-2: choice of the MIL head"),
        (("fold-2", "stage 1"), "fold-2: stage 1, patch distillation"),
        (("fold-2", "LR features"), "fold-2: LR features of the distilled encoder"),
        (("final", "lr_student"), "final: stage 2, slide distillation"),
        (("fold-2", "finish"), "fold-2: end-to-end finish"),
        (("fold-2", "finished LR features"), "fold-2: LR features of the finished encoder"),
        (("fold-a.b", "lr_undistilled"), "fold-a.b: LR undistilled, the baseline"),
        (("fold-2", "test lr_student"), "fold-2: test of the LR student"),
        (("fold-2", "test other"), "fold-2: test other"),
        (("fold-2",), "fold-2: done"),
        (("train",), "all folds done, model written"),
        (("something new",), "something new"),
        (("something: new",), "something: new"),
    ],
)
def test_the_stage_is_said_for_a_person(job: Job, stage: str) -> None:
    assert after(start(0), LogLine(1, job, 1, 3)).stage == stage


@pytest.mark.parametrize("slide_id", ["a: teacher", "fold-0", "final", "train", "stage 1", "LR features: a"])
def test_a_slide_is_named_with_its_place(slide_id: str) -> None:
    lines = [LogLine(1, ("HR features",), 3, 12, "slides"), LogLine(2, ("HR features", slide_id), 1, 9, "patches")]
    stage = f"HR features of the frozen encoder ({slide_id}, slide 4 of 12)"
    assert after(start(0), *lines).stage == stage
    lines = [replace(line, job=("fold-0", "LR features", *line.job[1:])) for line in lines]
    stage = f"fold-0: LR features of the distilled encoder ({slide_id}, slide 4 of 12)"
    assert after(start(0), *lines).stage == stage


class TestEpochs:
    @staticmethod
    def epoch(number: float, loss: float, job: Job = ("fold-0", "stage 1")) -> LogLine:
        return LogLine(1, job, 1, 9, "steps", metrics={"epoch": number, "val_loss": loss})

    def test_a_repeated_epoch_takes_the_place_of_the_earlier_and_of_those_after_it(self) -> None:
        progress = after(start(0), *(self.epoch(n, 0.1 * n) for n in (1, 2, 3)), start(5), self.epoch(2, 7.0))
        records = [(record.fold, record.stage, record.epoch, dict(record.metrics)) for record in progress.epochs]
        first, second = ("fold-0", "lr_encoder", 1, {"val_loss": 0.1}), ("fold-0", "lr_encoder", 2, {"val_loss": 7.0})
        assert records == [first, second]

    def test_stages_and_folds_are_kept_apart_the_last_trained_at_the_end(self) -> None:
        stages = ["fold-0 teacher", "fold-0 lr_student", "final teacher", "fold-0 teacher", "fold-0 lr_undistilled"]
        jobs = [tuple(stage.split()) for stage in stages]
        progress = after(*(self.epoch(1, 0.5, job) for job in jobs), self.epoch(1, 0.5, ("LR features",)))
        found = [(record.fold, record.stage) for record in progress.epochs]
        later = [("fold-0", "teacher"), ("fold-0", "lr_undistilled")]
        assert found == [("fold-0", "lr_student"), ("final", "teacher"), *later]


class TestStageSecondsLeft:
    @staticmethod
    def left(*lines: LogLine) -> float | None:
        pace = after(start(0), *lines).pace
        return pace.seconds_left if pace else None

    def test_from_the_pace_since_the_first_step_of_this_call(self) -> None:
        steps = [LogLine(time, ("fold-0", "stage 1"), done, 1000, "steps") for time, done in ((10, 500), (20, 600))]
        assert self.left(steps[0]) is None
        assert self.left(*steps) == pytest.approx(40)
        assert self.left(*steps, LogLine(30, ("fold-0", "lr_student"), 1, 9, "steps")) is None
        assert self.left(*steps, start(99), steps[0]) is None

    def test_no_total_no_guess(self) -> None:
        assert self.left(LogLine(1, ("a",), 1), LogLine(2, ("a",), 2)) is None
        assert self.left(LogLine(1, ("a",), 1, 5), LogLine(1, ("a",), 2, 5)) is None
        assert self.left(LogLine(2, ("a",), 1, 5), LogLine(1, ("a",), 2, 5)) is None  # the clock was set back

    def test_a_slide_in_progress_counts_in_part(self) -> None:
        lines = [
            LogLine(0, ("LR features",), 0, 10, "slides"),
            LogLine(5, ("LR features", "a"), 50, 100, "patches"),
            LogLine(10, ("LR features",), 1, 10, "slides"),
            LogLine(15, ("LR features", "b"), 5, 10, "patches"),
        ]
        assert [self.left(*lines[:n]) for n in (1, 2, 3, 4)] == [None, *map(pytest.approx, (95, 90, 85))]

    def test_slides_that_were_there_say_nothing_of_the_pace(self) -> None:
        lines = [
            LogLine(0, ("LR features",), 0, 400, "slides"),
            LogLine(1, ("LR features",), 300, 400, "slides"),
            LogLine(6, ("LR features", "a"), 50, 100, "patches"),
            LogLine(11, ("LR features",), 301, 400, "slides"),
        ]
        assert [self.left(*lines[:n]) for n in (2, 3, 4)] == [None, *map(pytest.approx, (995, 990))]


class TestSecondsLeft:
    def test_none_before_a_fold_is_done_then_the_mean_of_the_folds(self) -> None:
        lines = [
            start(0),
            *fold("fold-0", 0, 100),
            *fold("fold-1", 100, 300),
            LogLine(350, ("fold-2", "teacher"), 1, 2),
        ]
        assert after(*lines[:3]).clock.seconds_left(4) is None
        assert after(*lines[:6]).clock.seconds_left(4) == pytest.approx(300)
        progress = after(*lines)
        assert progress.clock.done == {"fold-0", "fold-1"}
        assert progress.clock.seconds_left(4) == pytest.approx(150 * 2 - 50)
        assert progress.clock.seconds_left(None) is None
        progress.add(LogLine(9999, ("fold-2", "stage 1"), 1, 2))  # longer than those before: it may end at any moment
        assert progress.clock.seconds_left(4) == pytest.approx(150)

    def test_a_fold_that_was_broken_off_counts_the_time_of_all_calls(self) -> None:
        broken = [start(0), LogLine(10, ("fold-0", "teacher"), 1, 2), LogLine(40, ("fold-0", "stage 1"), 1, 2)]
        again = [start(1000), LogLine(1010, ("fold-0", "stage 1"), 1, 2), LogLine(1060, ("fold-0",), 1, 1, "folds")]
        assert after(*broken, *again).clock.seconds_left(2) == pytest.approx(30 + 10 + 10 + 50)

    def test_folds_that_are_passed_over_stay_done_and_keep_the_time_they_took(self) -> None:
        lines = [start(0), *fold("fold-0", 0, 100), LogLine(150, ("fold-1", "teacher"), 1, 2), start(1000)]
        assert after(*lines).clock.done == {"fold-0"}
        progress = after(*lines, *passed_over("fold-0", 1000))
        assert progress.clock.done == {"fold-0"} and progress.clock.seconds_left(3) == pytest.approx(200)

    def test_with_other_settings_nothing_is_known_until_a_fold_is_trained(self) -> None:
        lines = [start(0), *fold("fold-0", 0, 100), start(200, "other")]
        assert after(*lines).clock.done == set()
        progress = after(*lines, *passed_over("fold-0", 200))
        assert progress.clock.done == {"fold-0"} and progress.clock.seconds_left(3) is None

    def test_a_fold_that_is_made_again_is_not_done(self) -> None:
        progress = after(start(0), *fold("fold-0", 0, 100), start(200), LogLine(230, ("fold-0", "teacher"), 1, 2))
        assert progress.clock.done == set() and progress.clock.seconds_left(2) is None
