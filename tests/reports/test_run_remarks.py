"""What the reader of a report must not overlook: both sides of each limit."""

import pytest

from lrmil.configs import TrainConfig, with_settings
from lrmil.reports.run_remarks import gap_in_words, remarks_on
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
        (
            {"hr_teacher": 0.9, "lr_undistilled": 0.82},
            ["the MIL of the HR teacher (0.800 against 0.900) and of the baseline (0.800"],
        ),
    ],
)
def test_an_arm_below_its_linear_head_is_told(heads: dict[str, float | None], parts: list[str]) -> None:
    remarks = remarks_on(figures(heads), TASK, TrainConfig())
    assert len(remarks) == len(parts) and all(part in remark for part, remark in zip(parts, remarks, strict=True))
    assert all(remark.startswith("In AUROC, ") and "Try mil.head = auto" in remark for remark in remarks)


def test_three_arms_are_listed() -> None:
    (remark,) = remarks_on(figures(dict.fromkeys(figures({}), 0.9)), TASK, TrainConfig())
    assert "teacher (0.800 against 0.900), of the baseline (0.800 against 0.900) and of the LR student (0.8" in remark


@pytest.mark.parametrize(
    ("student", "interval", "parts"),
    [
        (0.8, None, []),
        (0.8 - 1e-16, [-0.1, 0.1], []),
        (0.7, None, ["made the low-resolution model worse."]),
        (0.7, [-0.15, -0.05], ["made the low-resolution model worse."]),
        (0.7, [-0.2, 0.0], ["other test patients may show the opposite."]),
        (0.7, [-0.2, 0.01], ["other test patients may show the opposite."]),
    ],
)
def test_a_student_below_the_baseline_is_told_with_what_is_known_of_it(
    student: float, interval: list[float] | None, parts: list[str]
) -> None:
    of = figures({})
    of["lr_student"]["auroc"] = student  # type: ignore[index]
    of["student_minus"] = {"lr_undistilled": {"difference": student - 0.8, "interval": interval}}
    remarks = remarks_on(of, TASK, TrainConfig())
    assert len(remarks) == len(parts) and all(one.endswith(part) for part, one in zip(parts, remarks, strict=True))


@pytest.mark.parametrize(("recovered", "said"), [(-1e-9, "0 %"), (0.5, "50 %"), (-0.5, "-50 %")])
def test_the_gap_has_no_negative_zero(recovered: float, said: str) -> None:
    of = figures({})
    of["hr_teacher"]["auroc"] = 0.9  # type: ignore[index]
    assert gap_in_words({**of, "gap_recovered": recovered}, TASK) == said


@pytest.mark.parametrize("head", ["mean", "auto"])
def test_a_choice_is_not_advised_where_there_was_one_or_the_mean_is_the_head(head: str) -> None:
    (remark,) = remarks_on(figures({"lr_student": 0.9}), TASK, with_settings(TrainConfig(), {"mil.head": head}))
    assert "below a linear model" in remark and "Try" not in remark


def test_a_run_of_an_earlier_version_has_no_linear_heads() -> None:
    earlier = {arm: {"auroc": 0.8, "auroc_ci": [0.6, 0.9]} for arm in figures({})}
    assert remarks_on(earlier, TASK, TrainConfig()) == []
    nothing = {arm: {"auroc": None, "auroc_ci": None} for arm in figures({})}
    assert remarks_on(nothing, TASK, TrainConfig()) == [TASK.wording.undefined]


@pytest.mark.parametrize(
    ("settings", "added"),
    [
        ({}, "distillation"),
        ({"finish.epochs": 1}, "distillation and the end-to-end finish"),
        ({"student_encoder": "resnet18"}, "distillation and the student's own encoder"),
        (
            {"student_encoder": "resnet18", "finish.epochs": 1},
            "distillation, the student's own encoder and the end-to-end finish",
        ),
    ],
)
def test_a_finish_and_another_encoder_are_not_taken_for_distillation(settings: dict[str, object], added: str) -> None:
    config, of = with_settings(TrainConfig(), settings), figures({"lr_student": 0.9})
    of["lr_student"]["auroc"] = 0.7  # type: ignore[index]
    worse, linear = remarks_on(of, TASK, config)
    assert f"in this run, {added} made the low-resolution model worse" in worse
    assert ("before its finish" in linear) == config.finishes
