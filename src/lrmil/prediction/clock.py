"""Measure how long each stage of a prediction takes."""

import time
from collections.abc import Mapping


class Clock:
    """Measure the seconds between marks."""

    def __init__(self, start: float) -> None:
        self.stages: dict[str, float] = {}
        self._last = start

    def mark(self, stage: str) -> None:
        """End a stage: the seconds since the last mark, or the start, are its own."""
        now = time.perf_counter()
        self.stages[stage] = now - self._last
        self._last = now


def with_stage(timings: Mapping[str, float], stage: str, start: float) -> dict[str, float]:
    """Return timings with the seconds of a stage that began at `start` (of `time.perf_counter`), also in the total."""
    seconds = time.perf_counter() - start
    return {**timings, stage: timings.get(stage, 0.0) + seconds, "total": timings["total"] + seconds}
