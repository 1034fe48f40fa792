"""The demonstration's cohort and settings: as promised, and trainable without a network."""

from pathlib import Path

import pytest

from lrmil.configs import TrainConfig
from lrmil.demo import cohort
from lrmil.demo.cohort import SETTINGS, demo_cohort_steps, demo_config
from lrmil.steps import last


def test_settings_are_the_defaults_but_for_those_that_are_named() -> None:
    config = demo_config()
    assert not config.pretrained and config.encoder == SETTINGS["encoder"]
    assert config.stage1.fit.steps == SETTINGS["stage1.fit.steps"]
    assert (config.folds, config.mil.fit) == (TrainConfig().folds, TrainConfig().mil.fit)


def test_as_many_slides_of_that_size_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort, "SLIDES", 12)
    monkeypatch.setattr(cohort, "SIZE", 1024)
    folder = last(demo_cohort_steps(tmp_path / "cohort"))
    assert folder == tmp_path / "cohort" and len(list((folder / "slides").iterdir())) == 12
    assert len((folder / "labels.csv").read_text().splitlines()) == 13
