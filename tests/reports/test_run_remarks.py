"""What the reader of a report must not overlook: both sides of each limit."""

import pytest

from lrmil.reports.run_remarks import remarks_on
from lrmil.tasks.classification import Classification

TASK = Classification(("no", "yes"))


def figures(heads: dict[str, float | None], own: float = 0.8) -> dict[str, object]:
    return {
        arm: {"auroc": own, "auroc_ci": [0.6, 0.9], "linear_head": {"auroc": heads.get(arm)}}
        for arm in ("hr_teacher", "lr_undistilled", "lr_student")
    }


@pytest.mark.parametrize(
    ("heads", "parts"),
    [
        ({}, []),
        ({"lr_student": 0.809}, []),
        ({"lr_student": 0.7, "hr_teacher": 0.8}, []),
        ({"lr_student": 0.811}, ["the LR student (0.800 against 0.811) is below a linear model on the mean"]),
        ({"hr_teacher": 0.9, "lr_undistilled": 0.82}, ["HR teacher (0.800 against 0.900) and of the baseline (0.800"]),
    ],
)
def test_an_arm_below_its_linear_head_is_told(heads: dict[str, float | None], parts: list[str]) -> None:
    remarks = remarks_on(figures(heads), TASK, head="abmil")
    assert len(remarks) == len(parts) and all(part in remark for part, remark in zip(parts, remarks, strict=True))
    assert all(remark.startswith("In AUROC, ") and "try mil.head = mean" in remark for remark in remarks)


def test_the_mean_is_not_advised_where_it_is_the_head() -> None:
    (remark,) = remarks_on(figures({"lr_student": 0.9}), TASK, head="mean")
    assert "below a linear model" in remark and "try" not in remark


def test_a_run_of_an_earlier_version_has_no_linear_heads() -> None:
    earlier = {arm: {"auroc": 0.8, "auroc_ci": [0.6, 0.9]} for arm in figures({})}
    assert remarks_on(earlier, TASK, head="abmil") == []
    nothing = {arm: {"auroc": None, "auroc_ci": None} for arm in figures({})}
    assert remarks_on(nothing, TASK, head="abmil") == [TASK.wording.undefined]
