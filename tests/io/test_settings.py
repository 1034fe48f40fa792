"""Settings as a file: everything comes back, and what is no settings file is one error."""

from pathlib import Path

import pytest

from lrmil.configs import TrainConfig, with_settings
from lrmil.errors import ConfigError
from lrmil.io.settings import parse_value, read_toml, write_toml


def test_settings_come_back_and_the_file_is_readable(tmp_path: Path) -> None:
    config = with_settings(TrainConfig(), {"folds": 3, "mil.fit.learning_rate": 1e-5, "encoder": "local-dir:a b"})
    write_toml(tmp_path / "settings.toml", config)
    assert read_toml(tmp_path / "settings.toml") == config
    assert "folds = 3" in (tmp_path / "settings.toml").read_text()


@pytest.mark.parametrize("text", ["folds = ", "folds = 'three'", "unheard_of = 1", "[mil]\nfit = 3"])
def test_what_is_no_settings_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(ConfigError):
        read_toml(tmp_path / "settings.toml")


def test_what_a_file_does_not_name_keeps_its_default(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("seed = 7\n")
    assert read_toml(tmp_path / "settings.toml") == with_settings(TrainConfig(), {"seed": 7})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        (" 4 ", 4),
        ("true", True),
        ("[0, -1]", [0, -1]),
        ('"uniform"', "uniform"),
        ("uniform", "uniform"),
        ("  hf-hub:timm/resnet50 ", "hf-hub:timm/resnet50"),
        ("", ""),
        ("1\nother = 2", "1\nother = 2"),
        ("9" * 5000, "9" * 5000),
        ("[" * 20_000, "[" * 20_000),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_setting_is_a_toml_value_or_text(text: str, value: object) -> None:
    found = parse_value(text)
    assert found == value and type(found) is type(value)
