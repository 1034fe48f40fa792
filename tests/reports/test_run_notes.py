"""What the figures of a run compare depends on its settings."""

import pytest

from lrmil.configs import TrainConfig, with_settings
from lrmil.reports.run_notes import added_to_student, difference_note, stage1_note


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "what distillation adds"),
        ({"student_encoder": TrainConfig().encoder}, "what distillation adds"),
        ({"finish.epochs": 1}, "what distillation and the end-to-end finish add together"),
        ({"student_encoder": "resnet18"}, "what distillation and the student's own encoder add together"),
    ],
)
def test_the_difference_is_what_the_student_has_alone(settings: dict[str, object], said: str) -> None:
    config = with_settings(TrainConfig(), settings)
    assert difference_note(config).endswith(said) and added_to_student(config) in said


def test_what_stage_1_compares_depends_on_what_it_keeps() -> None:
    assert "linear map" in stage1_note(TrainConfig())
    itself = stage1_note(with_settings(TrainConfig(), {"stage1.lambda_keep": 0.0}))
    assert "embedding itself" in itself and "map" not in itself
