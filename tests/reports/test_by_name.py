"""The tables of a report by class: who is in them, what is left out for want of room, and why figures are missing."""

import numpy as np
import pytest

from lrmil.reports.by_name import MAX_COLUMNS, ByName, by_name
from lrmil.runs.arms import ARM_NAMES
from lrmil.summary import summarise
from lrmil.tasks.classification import Classification
from support.amount_task import Amount

NOTHING = ByName([], [], [], [], [])


def arms(labels: list[int], cases: list[str], task: Classification) -> dict[str, dict[str, object]]:
    scores = np.full((len(labels), len(task.classes)), 0.5)
    scores[np.arange(len(labels)), labels] = 0.75
    return {arm: dict(summarise(labels, scores, cases, task.classes)) for arm in ARM_NAMES}


@pytest.mark.parametrize("cases", [["p", "q", "r"], ["p", "q", "q"]])
def test_the_student_stands_apart_by_slide_and_by_patient(cases: list[str]) -> None:
    task = Classification(("no", "yes"))
    found = by_name(arms([0, 1, 1], cases, task), task)
    ways = ["by patient", "by slide"] if len(set(cases)) < 3 else ["by slide"]
    assert [table.title for table in found.student] == [f"{ARM_NAMES['lr_student']}, {way}" for way in ways]
    assert len(found.others) == 2 * len(ways) and not any("student" in table.title for table in found.others)
    assert [row.name for row in found.student[0].rows] == ["no", "yes"]
    assert [row.counts for row in found.student[-1].rows] == [[1, 0], [0, 2]]
    assert [row.counts for row in found.student[0].rows] == [[1, 0], [0, 3 - len(ways)]]
    assert [row.figures for row in found.student[0].rows] == [[1, 1], [1, 1]]
    assert len(found.titles) == 2 and len(found.counted) == 1


def test_what_is_shipped_stands_first() -> None:
    task, labels, cases = Classification(("no", "yes")), [0, 1, 1], ["p", "q", "q"]
    figures: dict[str, object] = dict(arms(labels, cases, task))
    scores = np.array([[0.6, 0.4], [0.4, 0.6], [0.3, 0.7]])
    figures["calibration"] = {"after": summarise(labels, scores, cases, task.classes, thresholds=[0.65] * 3)}
    student = by_name(figures, task).student
    name = ARM_NAMES["lr_student"]
    ways = [
        f"{name}{way}" for way in (", as shipped, by patient", ", as shipped, by slide", ", by patient", ", by slide")
    ]
    assert [table.title for table in student] == ways
    assert [row.counts for row in student[1].rows] == [[1, 0], [1, 1]]
    assert [row.counts for row in student[3].rows] == [[1, 0], [0, 2]]
    figures["calibration"] = {"after": None}
    assert len(by_name(figures, task).student) == 2


def test_reasons_name_the_figures_that_they_leave_out() -> None:
    task = Classification(("no", "yes"))
    found = by_name(arms([1, 1], ["p", "p"], task), task)
    assert len(found.reasons) == 2 + 3 and all(one.startswith("Not defined by ") for one in found.reasons)
    assert sum("AUROC, balanced accuracy, recall; there is no" in one for one in found.reasons) == 2
    assert found.student[0].rows[0].figures == [None, None]


@pytest.mark.parametrize("classes", [MAX_COLUMNS, MAX_COLUMNS + 1, 150])
def test_many_classes_have_no_counts(classes: int) -> None:
    task = Classification(tuple(f"c{number:03}" for number in range(classes)))
    labels = list(range(classes))
    found = by_name(arms(labels, [str(label) for label in labels], task), task)
    assert len(found.student[0].rows) == classes
    assert {len(row.counts) for row in found.student[0].rows} == {classes if classes <= MAX_COLUMNS else 0}
    assert len(found.counted) == (classes <= MAX_COLUMNS)


def test_a_task_without_names_and_a_run_of_an_earlier_version_have_none() -> None:
    assert by_name({arm: {"closeness": 0.5} for arm in ARM_NAMES}, Amount(1.0)) == NOTHING
    task = Classification(("no", "yes"))
    earlier = {arm: {"auroc": 0.5, "by_case": None} for arm in ARM_NAMES}
    assert by_name(earlier, task) == by_name({arm: {"auroc": 0.5} for arm in ARM_NAMES}, task) == NOTHING
