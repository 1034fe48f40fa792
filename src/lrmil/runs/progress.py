"""The progress of a run from its log: stage, epochs, folds, and the seconds left at the current pace."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lrmil.runs.jobs import JobParts, parts_of
from lrmil.runs.log import End, LogLine

TrainedStage = Literal["teacher", "lr_encoder", "lr_student", "finish", "lr_undistilled"]
TRAINED: dict[str, TrainedStage] = {
    "teacher": "teacher",
    "stage 1": "lr_encoder",
    "lr_student": "lr_student",
    "finish": "finish",
    "lr_undistilled": "lr_undistilled",
}
SENTENCES = {
    "teacher": "HR teacher",
    "inner folds": "MILs of the inner folds",
    "head": "choice of the MIL head",
    "evidence": "the teacher's outputs",
    "stage 1": "stage 1, patch distillation",
    "LR features": "LR features of the distilled encoder",
    "lr_student": "stage 2, slide distillation",
    "finish": "end-to-end finish",
    "finished LR features": "LR features of the finished encoder",
    "lr_undistilled": "LR undistilled, the baseline",
    "test hr_teacher": "test of the HR teacher",
    "test lr_undistilled": "test of the baseline",
    "test lr_student": "test of the LR student",
    "linear heads": "linear heads on mean embeddings",
    "calibration": "the calibration of the student",
    "escalation": "the teacher's closer look at the most attended regions",
}


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """Metrics of one training epoch."""

    fold: str
    """"fold-0" ... "final"."""
    stage: TrainedStage
    """lr_encoder is stage 1, lr_student is stage 2, finish is the end-to-end finish of both."""
    epoch: int
    """Number, from 1; of stage 1 the number of the validation."""
    metrics: Mapping[str, float]
    """train_loss, val_loss, val_score and the parts of the loss."""
    step: int = 0
    """Optimisation steps up to its end; 0 if unknown, as in logs of earlier versions."""


class RunProgress:
    """The progress of a run; pass the lines of its log to `add` in order."""

    def __init__(self) -> None:
        self.line: LogLine | None = None
        """The latest line of a Step in the latest call."""
        self.called = False
        """True if a call logged its start; the first versions did not."""
        self.end: End = ""
        """How the latest call ended; empty while it runs, or if it was killed."""
        self.message = ""
        self.pace: _Pace | None = None
        self.clock = _FoldClock()
        self._epochs: dict[tuple[str, TrainedStage], dict[int, EpochRecord]] = {}

    def add(self, line: LogLine) -> None:
        """Add the next line."""
        self.message = "" if line.start else line.message or self.message
        if line.start:
            self.line, self.pace, self.called = None, None, True
            self.clock.start(line)
        self.end = line.end
        if line.job:
            job = parts_of(line.job)
            self.line = line
            if self.pace is None or self.pace.stage != job[:2]:
                self.pace = _Pace(line, job)
            self.pace.add(line, job)
            self.clock.add(line, job)
            self._add_epoch(line, job)

    @property
    def over(self) -> bool:
        """True if no call is running, according to the log."""
        return bool(self.end) or not self.called

    @property
    def stage(self) -> str:
        """The current stage, in words."""
        if self.line is None:
            return ""
        fold, stage, slide = parts_of(self.line.job)
        if not stage:
            return f"{fold}: done" if fold else "all folds done, model written"
        sentence = SENTENCES.get(stage, stage) if fold else stage
        if not fold and stage.endswith("features"):
            sentence = f"{stage} of the frozen encoder"
        if slide and self.pace and self.pace.total:
            sentence += f" ({slide}, slide {self.pace.units + 1} of {self.pace.total})"
        return f"{fold}: {sentence}" if fold else sentence

    @property
    def epochs(self) -> tuple[EpochRecord, ...]:
        """Every epoch of every call; the stage trained last comes last."""
        return tuple(record for records in self._epochs.values() for record in records.values())

    def _add_epoch(self, line: LogLine, job: JobParts) -> None:
        epoch = int(line.metrics.get("epoch", 0))
        if job.stage not in TRAINED or not job.fold or epoch < 1:
            return
        stage = TRAINED[job.stage]
        metrics = {name: value for name, value in line.metrics.items() if name not in ("epoch", "step")}
        known = self._epochs.pop((job.fold, stage), {})
        # Later epochs belong to an interrupted training or to other settings, so they are dropped.
        kept = {number: record for number, record in known.items() if number < epoch}
        record = EpochRecord(job.fold, stage, epoch, metrics, int(line.metrics.get("step", 0)))
        self._epochs[job.fold, stage] = kept | {epoch: record}


class _Pace:
    """The pace of the current stage in units per second; the patches of a slide count as a fraction of a unit."""

    def __init__(self, line: LogLine, job: JobParts) -> None:
        self.stage = job[:2]
        self.units = 0 if job.slide else line.done
        self.total: int | None = None
        self._first = self._last = (line.time, float(self.units))
        self._in_slide = False

    def add(self, line: LogLine, job: JobParts) -> None:
        """Add the next line of the stage."""
        if job.slide:
            self._last = line.time, self.units + min(1.0, line.done / line.total if line.total else 0.0)
        else:
            skipped = job.stage.endswith("features") and line.done > self.units + self._in_slide
            self._last = line.time, float(line.done)
            if skipped or line.done < self.units:
                self._first = self._last  # existing results do not count for the pace
            self.units, self.total = line.done, line.total
        self._in_slide = bool(job.slide)

    @property
    def seconds_left(self) -> float | None:
        seconds, units = (last - first for first, last in zip(self._first, self._last, strict=True))
        if self.total is None or seconds <= 0 or units <= 0:
            return None
        return max(0.0, self.total - self._last[1]) * seconds / units


class _FoldClock:
    """The seconds that folds took, over all calls with the same plan."""

    def __init__(self) -> None:
        self.done: set[str] = set()
        self._plan = ""
        self._time: float | None = None
        self._fold = ""
        self._worked = False
        self._spent: dict[str, float] = {}
        self._took: dict[str, float] = {}

    def start(self, line: LogLine) -> None:
        if line.plan != self._plan:
            for known in (self.done, self._spent, self._took):
                known.clear()
            self._plan = line.plan
        self._time, self._fold = line.time, ""

    def add(self, line: LogLine, job: JobParts) -> None:
        since = line.time if self._time is None else self._time
        self._time = line.time
        if job.fold != self._fold:
            self._fold, self._worked = job.fold, False
        if not job.fold:
            return
        self._spent[job.fold] = self._spent.get(job.fold, 0.0) + max(0.0, line.time - since)
        if not job.stage:
            self._close(job.fold)
        elif job.slide or not job.stage.endswith("LR features"):  # existing LR features are logged, too
            self._worked = True
            self.done.discard(job.fold)

    def seconds_left(self, total: int | None) -> float | None:
        """Return the seconds until `total` folds are finished; None before the first is."""
        took = [self._took[fold] for fold in self.done if fold in self._took]
        if total is None or not took:
            return None
        mean = sum(took) / len(took)
        begun = 0.0 if self._fold in self.done else min(mean, self._spent.get(self._fold, 0.0))
        return max(0.0, mean * (total - len(self.done)) - begun)

    def _close(self, fold: str) -> None:
        spent = self._spent.pop(fold)
        if self._worked:  # a skipped fold took no time
            self._took[fold] = spent
        self.done.add(fold)
