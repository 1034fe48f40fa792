"""What the figures of a run compare, by its settings."""

import pytest

from lrmil.configs import TrainConfig, with_settings
from lrmil.reports.run_notes import added_to_student, difference_note, stage1_note

FINISH, OTHER_START = {"finish.epochs": 1}, {"student_encoder": "resnet18"}


@pytest.mark.parametrize(
    ("settings", "added", "verb"),
    [
        ({}, "distillation", "adds"),
        ({"student_encoder": TrainConfig().encoder}, "distillation", "adds"),
        (FINISH, "distillation and the end-to-end finish", "add together"),
        (OTHER_START, "distillation and the student's own encoder", "add together"),
        (FINISH | OTHER_START, "distillation, the student's own encoder and the end-to-end finish", "add together"),
    ],
)
def test_all_that_the_student_has_more_is_named(settings: dict[str, object], added: str, verb: str) -> None:
    config = with_settings(TrainConfig(), settings)
    assert added_to_student(config) == added
    assert difference_note(config) == f"the student's difference from it is what {added} {verb}"


def test_what_stage_1_compares_depends_on_what_it_keeps() -> None:
    assert "linear map" in stage1_note(TrainConfig())
    itself = stage1_note(with_settings(TrainConfig(), {"stage1.lambda_keep": 0.0}))
    assert "embedding itself" in itself and "map" not in itself
