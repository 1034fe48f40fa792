"""The second table of the arms: by slide, by patient, linear head; nothing where it would repeat the first."""

import pytest

from lrmil.reports.more_figures import more_figures
from lrmil.runs.arms import ARM_NAMES
from lrmil.tasks.classification import Classification
from support.amount_task import Amount

TASK = Classification(("no", "yes"))
PLAIN = {"auroc": 0.9, "balanced_accuracy": 0.8, "accuracy": 0.85, "brier": 0.1, "nll": 0.3, "ece": 0.05}
BY_CASE = {"auroc": 0.95, "balanced_accuracy": None, "accuracy": 1.0, "brier": 0.08, "nll": 0.2, "ece": 0.04}


def arms(**of: object) -> dict[str, object]:
    return {arm: {**PLAIN, "auroc_ci": [0.8, 0.95], **of} for arm in ARM_NAMES}


def test_each_way_to_measure_is_a_row() -> None:
    found = more_figures(arms(by_case=BY_CASE, linear_head={**PLAIN, "auroc": 0.7}), TASK, finished=False)
    assert found.titles == ["AUROC", "balanced accuracy", "accuracy", "Brier score", "log loss", "ECE"] and found.linear
    assert [row.arm for row in found.rows] == [name for name in ARM_NAMES.values() for _ in range(3)]
    assert [row.figures for row in found.rows[:3]] == [
        [0.95, None, 1.0, 0.08, 0.2, 0.04],
        [0.9, 0.8, 0.85, 0.1, 0.3, 0.05],
        [0.7, 0.8, 0.85, 0.1, 0.3, 0.05],
    ]
    assert [row.linear for row in found.rows[:3]] == [False, False, True]


def test_the_linear_head_of_a_finished_student_is_that_of_before() -> None:
    found = more_figures(arms(by_case=None, linear_head=PLAIN), TASK, finished=True)
    assert [row.measured for row in found.rows if row.linear] == [
        "linear model, by slide",
        "linear model, by slide",
        "linear model before the finish, by slide",
    ]


def test_what_there_is_not_has_no_row() -> None:
    found = more_figures(arms(by_case=None, linear_head=None), TASK, finished=False)
    assert [row.measured for row in found.rows] == ["by slide"] * 3 and not found.linear
    assert more_figures(arms(), TASK, finished=False).rows == [], "earlier versions"
    amounts = {arm: {"closeness": 0.5, "by_case": None, "linear_head": None} for arm in ARM_NAMES}
    assert more_figures(amounts, Amount(1.0), finished=False).rows == [], "the first table says all"


@pytest.mark.parametrize(("absent", "title"), [("accuracy", "accuracy"), ("nll", "log loss")])
def test_a_figure_that_an_earlier_version_did_not_write_has_no_column(absent: str, title: str) -> None:
    earlier = {name: value for name, value in PLAIN.items() if name != absent}
    of = {arm: {**earlier, "by_case": None, "linear_head": earlier} for arm in ARM_NAMES}
    found = more_figures(of, TASK, finished=False)
    titles = ["AUROC", "balanced accuracy", "accuracy", "Brier score", "log loss", "ECE"]
    assert found.titles == [one for one in titles if one != title]
    assert [row.figures for row in found.rows] == [list(earlier.values())] * 6
