"""Figures by case are those of one answer for each case, by its own rule."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from lrmil.tasks.case_figures import OF_SLIDES, summarise_by_rule
from lrmil.tasks.case_rule import pool_probabilities
from lrmil.tasks.classification import Classification

TASK = Classification(("no", "yes"))


def test_each_case_is_answered_by_its_rule() -> None:
    rng = np.random.default_rng(0)
    cases = [f"p{row % 6}" for row in range(18)]
    labels = [int(case[1]) % 2 for case in cases]
    positive = rng.random(18)
    values = np.stack([1 - positive, positive], axis=1)
    rules = {f"p{one}": "max" if one < 3 else "noisy-or" for one in range(6)}
    found = summarise_by_rule(TASK, labels, values, cases, rules)
    answers = [
        pool_probabilities(values[[row for row in range(18) if cases[row] == case]], rule)[1]
        for case, rule in rules.items()
    ]
    by_case = found["by_case"]
    assert isinstance(by_case, dict) and not by_case.keys() & set(OF_SLIDES)
    assert by_case["auroc"] == pytest.approx(roc_auc_score([0, 1] * 3, answers))
    assert by_case["brier"] == pytest.approx(brier_score_loss([0, 1] * 3, answers))
    low, high = by_case["auroc_ci"]
    assert low <= by_case["auroc"] <= high
    whole = TASK.summarise(labels, values, cases)
    assert {**found, "by_case": 0} == {**whole, "by_case": 0}


def test_a_case_is_answered_at_the_operating_point_of_its_slides() -> None:
    cases, labels = ["p", "q", "p", "q"], [1, 0, 1, 0]
    positive = np.array([0.3, 0.4, 0.3, 0.4])
    values = np.stack([1 - positive, positive], axis=1)
    found = summarise_by_rule(TASK, labels, values, cases, {"p": "mean", "q": "mean"}, [0.2, 0.5, 0.2, 0.5])
    assert (found["confusion"], found["by_case"]["confusion"]) == ([[2, 0], [0, 2]], [[1, 0], [0, 1]])  # type: ignore[index]
    own = summarise_by_rule(
        TASK, labels, values, cases, {"p": "mean", "q": "mean"}, [0.2, 0.5, 0.2, 0.5], {"p": 0.5, "q": 0.2}
    )
    assert (own["confusion"], own["by_case"]["confusion"]) == ([[2, 0], [0, 2]], [[0, 1], [1, 0]])  # type: ignore[index]
    plain = summarise_by_rule(TASK, labels, values, cases, {"p": "mean", "q": "mean"})
    assert plain["by_case"]["confusion"] == [[1, 0], [1, 0]]  # type: ignore[index]


@pytest.mark.parametrize(("labels", "cases"), [([0, 1], ["p", "q"]), ([0, 1], ["p", "p"])])
def test_where_there_are_no_figures_by_case_the_reason_stays(labels: list[int], cases: list[str]) -> None:
    values = np.array([[0.9, 0.1], [0.4, 0.6]])
    found = summarise_by_rule(TASK, labels, values, cases, dict.fromkeys(cases, "mean"))
    assert found == TASK.summarise(labels, values, cases) and found["by_case_reason"]
