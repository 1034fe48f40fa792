"""How far the classification of a list is, and how it ended."""

from collections.abc import Sequence

from qtpy.QtWidgets import QProgressBar

from lrmil.steps import Step
from napari_lrmil.state.worklist import Entry
from napari_lrmil.widgets.parts import begin

STOPPING = "Stopping after the current batch of patches. Finished slides are kept."
SHORT = 60  # s; shorter times are shown in seconds


class WorklistProgress(QProgressBar):
    """The slides that are done, the speed and the time left; before the first slide, the name of the job."""

    def begin(self, job: str) -> None:
        """Show the name of a job whose length is not known yet."""
        begin(self, job)

    def follow(self, step: Step[object]) -> None:
        """Show how far the job is."""
        self.setRange(0, step.total or 0)
        self.setValue(step.done)
        self.setFormat(progress_text(step))


def progress_text(step: Step[object]) -> str:
    """Return how many slides are done, the speed and the time left, as text."""
    words = [f"{step.done} of {step.total} slides"]
    if "slides_per_min" in step.metrics:
        words.append(f"{step.metrics['slides_per_min']:.3g} slides/min")
        left = step.metrics["seconds_left"]
        words.append(f"{left:.0f} s left" if left < SHORT else f"{left / 60:.0f} min left")
    return ", ".join(words)


def finished_text(entries: Sequence[Entry], name: str) -> str:
    """Return how a run over the list `name` ended, such as "Classified 3 of 4 slides of scans. 1 failed; ..."."""
    failures = sum(entry.status == "failed" for entry in entries)
    noted = sum(entry.done and bool(entry.message) for entry in entries)
    parts = ", ".join(f"{count} {what}" for count, what in ((failures, "failed"), (noted, "with notes")) if count)
    reason = f" {parts}; the column Message says why." if parts else ""
    return f"Classified {len(entries) - failures} of {len(entries)} slides of {name}.{reason}"
