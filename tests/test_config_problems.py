"""An unknown setting is answered with the settings that were probably meant, and with none that were not."""

from pathlib import Path

import pytest

from lrmil.cli.options import config_of
from lrmil.cli.parser import build_parser
from lrmil.config_problems import FORMER, hint
from lrmil.configs import MILConfig, TrainConfig, mil_from_dict, to_dict, with_settings
from lrmil.errors import ConfigError
from lrmil.io.settings import read_toml
from test_configs import leaves

MISSPELT = {
    # the last part
    "mil.droput": ["mil.dropout"],
    "mil.patch-dropout": ["mil.patch_dropout"],
    "stage1.lamda_keep": ["stage1.lambda_keep"],
    "sed": ["seed"],
    "Encoder": ["encoder"],
    # the group
    "stag1.lambda_keep": ["stage1.lambda_keep"],
    "MIL.dropout": ["mil.dropout"],
    "mil.fitt.ema": ["mil.fit.ema"],
    "stage2.head": ["mil.head"],
    # no group, or a part of it
    "steps": ["stage1.fit.steps"],
    "stage1.steps": ["stage1.fit.steps"],
    "mil.epochs": ["mil.fit.epochs"],
    "lamda_soft": ["stage2.lambda_soft"],
    "ema": ["stage1.fit.ema", "mil.fit.ema", "finish.ema"],
    "patience": ["stage1.fit.patience", "mil.fit.patience", "finish.patience"],
    # a name of earlier versions, whole or not
    "stage1.epochs": ["stage1.fit.steps"],
    "epochs": ["mil.fit.epochs", "finish.epochs", "stage1.fit.steps"],
    # a setting that is not a group
    "seed.value": [],
    # nothing like it
    "foo": [],
    "stage1.fit.foo": [],
    "stage1.sed": ["seed"],
    "stage1_lambda_keep": ["stage1.lambda_keep"],
    "": [],
}
GROUPS = {
    "stge1": ["stage1"],
    "stage3": ["stage1", "stage2"],
    "MIL": ["mil"],
    "stage1.fits": ["stage1.fit"],
    "fit": ["stage1.fit", "mil.fit"],
    "x": [],
}


def nearest(text: str) -> list[str]:
    """The names in a hint or at the end of a message."""
    return text.partition("; nearest: ")[2].partition(")")[0].rstrip(".").split(", ") if "; nearest" in text else []


@pytest.mark.parametrize("name", MISSPELT)
def test_the_nearest_settings_are_named(name: str) -> None:
    assert nearest(hint(name, TrainConfig)) == MISSPELT[name]
    with pytest.raises(ConfigError) as caught:
        with_settings(TrainConfig(), {name: 1})
    assert nearest(str(caught.value)) == MISSPELT[name] and name in str(caught.value)


@pytest.mark.parametrize("name", GROUPS)
def test_for_a_group_groups_are_named(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_settings(TrainConfig(), {name: {"ema": 0.5}})
    assert nearest(str(caught.value)) == GROUPS[name]


@pytest.mark.parametrize(("name", "now"), FORMER.items())
def test_an_earlier_name_is_answered_with_what_replaced_it(name: str, now: str) -> None:
    names = dict(leaves(to_dict(TrainConfig())))
    assert now in names and name not in names
    with pytest.raises(ConfigError, match=f"replaced by {now}"):
        with_settings(TrainConfig(), {name: 1})


@pytest.mark.parametrize("name", dict(leaves(to_dict(TrainConfig()))))
def test_every_setting_is_found_by_a_name_with_a_letter_too_much_and_without_its_group(name: str) -> None:
    names = dict(leaves(to_dict(TrainConfig())))
    group, _, leaf = name.rpartition(".")
    assert nearest(hint(f"{name}x", TrainConfig))[0] == name
    assert name in nearest(hint(f"{group}x.{leaf}" if group else f"{leaf}x", TrainConfig))
    if leaf not in names:
        shared = [other for other in names if other.rpartition(".")[2] == leaf]
        assert nearest(hint(leaf, TrainConfig))[: len(shared)] == shared


def test_a_model_s_settings_have_their_own_names() -> None:
    with pytest.raises(ConfigError, match=r"nearest: dropout\)"):
        mil_from_dict({"droput": 0.1})
    assert hint("stage1.fit.steps", MILConfig) == ""


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("[mil]\ndroput = 0.1", ["mil.dropout"]),
        ("steps = 3", ["stage1.fit.steps"]),
        ("[stge1]\nstain = 0.1", ["stage1"]),
        ("[mil]\nlambda_keep = 1", ["stage1.lambda_keep"]),
    ],
)
def test_a_file_of_settings_is_answered_alike(tmp_path: Path, toml: str, expected: list[str]) -> None:
    (tmp_path / "settings.toml").write_text(toml)
    with pytest.raises(ConfigError) as caught:
        read_toml(tmp_path / "settings.toml")
    assert nearest(str(caught.value)) == expected


def test_so_is_the_command_line() -> None:
    options = build_parser().parse_args(["train", "slides", "labels.csv", "--out", "run", "--set", "steps=3"])
    with pytest.raises(ConfigError, match=r"nearest: stage1\.fit\.steps\)"):
        config_of(options)


def test_every_problem_is_told() -> None:
    with pytest.raises(ConfigError) as caught:
        with_settings(TrainConfig(), {"mil.dropout": 2, "sed": 1, "folds": "many"})
    assert all(f"{name}: " in str(caught.value) for name in ("mil.dropout", "sed", "folds"))
