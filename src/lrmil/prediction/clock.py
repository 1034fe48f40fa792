"""Measure how long each stage of a prediction takes."""

import time


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
