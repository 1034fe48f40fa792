"""The arms of a run name by name: how often each label got which answer, and the figures of each."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lrmil.runs.arms import ARM_NAMES, CALIBRATION
from lrmil.tasks.task import Task

MAX_COLUMNS = 20  # names whose counts fit on a page


class NameRow(NamedTuple):
    """What one arm says of the slides of one label."""

    name: str
    counts: list[int]
    """How often it answers with each name; empty where there is no room for them."""
    figures: list[float | None]


class NameTable(NamedTuple):
    """One arm, measured in one way."""

    title: str
    rows: list[NameRow]


class ByName(NamedTuple):
    """Tables of the student, first as it is shipped, and of the other arms; none in runs of earlier versions."""

    counted: list[str]
    """What the columns of counts are called, as many titles as there are such tables; empty without counts."""
    titles: list[str]
    """Title of each figure."""
    student: list[NameTable]
    others: list[NameTable]
    reasons: list[str]
    """Why figures are not defined, a sentence each."""


def by_name(figures: Mapping[str, Any], task: Task) -> ByName:
    """Return the figures of each arm that are of one name each, such as those of a class.

    Parameters
    ----------
    figures
        Content of metrics.json; in that of earlier versions there are none.
    task
        What is predicted.
    """
    wanted = [*task.by_name, *task.counts]
    ways = {"by patient": figures["lr_student"].get("by_case"), "by slide": figures["lr_student"]}
    if not wanted or not all(name in figures[arm] for name in wanted for arm in ARM_NAMES):
        return ByName([], [], [], [], [])
    room = len(task.names) <= MAX_COLUMNS and all(ways["by slide"][name] is not None for name in task.counts)
    counts = list(task.counts) if room else []
    tables = {arm: _tables(title, figures[arm], task, counts) for arm, title in ARM_NAMES.items()}
    student = tables.pop("lr_student")
    if after := (figures.get(CALIBRATION) or {}).get("after"):
        student = _tables(f"{ARM_NAMES['lr_student']}, as shipped", after, task, counts) + student
    return ByName(
        [task.counts[name] for name in counts],
        list(task.by_name.values()),
        student,
        [table for of_arm in tables.values() for table in of_arm],
        [sentence for way, found in ways.items() if found for sentence in _reasons(way, found, task)],
    )


def _tables(arm: str, figures: Mapping[str, Any], task: Task, counts: Sequence[str]) -> list[NameTable]:
    """Return the tables of an arm: by patient where patients have several slides, and by slide."""
    ways = {"by patient": figures.get("by_case"), "by slide": figures}
    return [NameTable(f"{arm}, {way}", _rows(found, task, counts)) for way, found in ways.items() if found]


def _rows(found: Mapping[str, Any], task: Task, counts: Sequence[str]) -> list[NameRow]:
    return [
        NameRow(
            name,
            [count for one in counts for count in found[one][place]],
            [found[one][name] for one in task.by_name],
        )
        for place, name in enumerate(task.names)
    ]


def _reasons(way: str, found: Mapping[str, Any], task: Task) -> list[str]:
    """Return for each reason which figures it leaves undefined."""
    titles = {**task.figures, **task.details, **task.by_name}
    of_reason: dict[str, list[str]] = {}
    for name, reason in found["undefined"].items():
        if name in titles:
            of_reason.setdefault(reason, []).append(titles[name])
    return [f"Not defined {way}: {', '.join(names)}; {reason}." for reason, names in of_reason.items()]
