"""Settings that do nothing are told with the reason."""

import pytest

from lrmil.configs import TrainConfig, with_settings
from lrmil.idle_settings import idle_settings


@pytest.mark.parametrize(
    ("changed", "name", "named"),
    [
        ({"test_fraction": 0.2}, "folds", "test part"),
        ({"stage1.augment": False}, "stage1.stain", "stage1.augment"),
        ({"stage2.lambda_hard": 0.0}, "stage2.k_max", "stage2.lambda_hard"),
        ({"stage2.lambda_soft": 0.0}, "stage2.attention_temperature", "stage2.lambda_soft"),
        ({"calibration.folds": 0}, "decision.operating_point", "calibration.folds"),
        ({"mil.head": "mean"}, "mil.hidden_dim", "mil.head"),
        ({"mil.head": "dsmil"}, "mil.gated", "mil.head"),
    ],
)
def test_a_setting_that_another_switches_off(changed: dict[str, object], name: str, named: str) -> None:
    assert name not in idle_settings(TrainConfig())
    assert named in idle_settings(with_settings(TrainConfig(), changed))[name]


def test_what_is_off_by_default_and_what_a_table_with_test_slides_decides() -> None:
    off = idle_settings(TrainConfig())
    assert {name.split(".")[0] for name in off} == {"finish", "stage2", "decision"} and "finish.epochs" not in off
    assert not any(
        name.startswith("finish.") for name in idle_settings(with_settings(TrainConfig(), {"finish.epochs": 1}))
    )
    for column in ("split", "fold"):
        found = idle_settings(TrainConfig(), test_slides_in=column)
        assert column in found["folds"] and column in found["test_fraction"]
    both = idle_settings(with_settings(TrainConfig(), {"test_fraction": 0.2}), test_slides_in="split")
    assert "test_fraction" not in both  # it contradicts the column, and must be set to 0


def test_attention_within_regions_is_gated_whatever_the_head() -> None:
    changed = {"teacher": "region_attention", "mil.head": "mean"}
    assert "mil.gated" not in idle_settings(with_settings(TrainConfig(), changed))
