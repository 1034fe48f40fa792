"""The arms of a run measured in other ways: by slide, by patient, and the linear head beside each."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from lrmil.runs.arms import ARM_NAMES, CALIBRATION
from lrmil.runs.linear_heads import LINEAR_HEAD
from lrmil.tasks.task import Task


class Row(NamedTuple):
    """One way to measure an arm."""

    arm: str
    measured: str
    figures: list[float | None]
    linear: bool
    """Whether this is the linear head of the arm."""


class MoreFigures(NamedTuple):
    """A table with a title for each figure of a row; without rows where it would say nothing new."""

    titles: list[str]
    rows: list[Row]

    @property
    def linear(self) -> bool:
        """Whether there is a linear head."""
        return any(row.linear for row in self.rows)


def more_figures(figures: Mapping[str, Any], task: Task, *, finished: bool) -> MoreFigures:
    """Return the figures of each arm that the first table of a report does not have.

    Parameters
    ----------
    figures
        Content of metrics.json; earlier versions state none of these.
    task
        What is predicted.
    finished
        Whether the student had an end-to-end finish; its linear head has the embeddings of before.
    """
    plain = {name: title for name, title in task.figures.items() if not name.startswith(f"{task.score_name}_")}
    stated = figures["lr_student"].keys()
    shown = {name: title for name, title in (plain | dict(task.details)).items() if name in stated}
    rows = []
    for arm, name in ARM_NAMES.items():
        of = figures[arm]
        if LINEAR_HEAD not in of:
            return MoreFigures([], [])
        ways = _by_slide_and_case(of)
        before = ""
        if arm == "lr_student":
            after, before = (figures.get(CALIBRATION) or {}).get("after"), " before the finish" * finished
            ways |= {f"calibrated, {way}": found for way, found in _by_slide_and_case(after).items()}
        ways[f"linear model{before}, by slide"] = of[LINEAR_HEAD]
        rows += [
            Row(name, measured, [found[one] for one in shown], found is of[LINEAR_HEAD])
            for measured, found in ways.items()
            if found is not None
        ]
    new = len(rows) > len(ARM_NAMES) or task.details
    return MoreFigures([*shown.values()], rows if new else [])


def _by_slide_and_case(found: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any] | None]:
    return {"by patient": found["by_case"], "by slide": found} if found else {}
