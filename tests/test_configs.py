"""Settings are refused by name where they are unknown or out of range, and survive TOML unchanged."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrmil.configs import (
    FitConfig,
    MILConfig,
    TrainConfig,
    from_dict,
    mil_from_dict,
    to_dict,
    with_settings,
)
from lrmil.errors import ConfigError
from lrmil.io.settings import read_toml, write_toml

positive = st.floats(1e-9, 1e9)
configs = st.fixed_dictionaries(
    {},
    optional={
        "encoder": st.text(max_size=30),
        "seed": st.integers(-(2**40), 2**40),
        "folds": st.integers(2, 50),
        "mpp_lr": positive,
        "min_tissue": st.floats(0, 1),
        "val_fraction": st.floats(0.01, 0.99),
        "pretrained": st.booleans(),
        "embedding": st.sampled_from(["pooled", "cls", "mean", "cls+mean"]),
        "teacher": st.sampled_from(["region", "patch"]),
        "case_rule": st.sampled_from(["auto", "mean", "max", "noisy-or"]),
        "stage1.standardised": st.booleans(),
        "stage1.layers": st.lists(st.integers(-1, 40), max_size=4, unique=True).map(tuple),
        "stage1.fit.learning_rate": positive,
        "mil.head": st.sampled_from(["abmil", "mean", "max", "transmil", "dsmil", "clam_sb", "auto"]),
        "mil.dropout": st.floats(0, 0.99),
        "stage1.fit.steps": st.integers(0, 10**6),
        "mil.fit.epochs": st.integers(1, 10**6),
        "stage2.lambda_soft": st.floats(0, 1e6),
        "stage2.fraction": st.floats(1e-6, 0.5),
    },
)


def leaves(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every setting by its dotted name, with its value."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


DEFAULTS = dict(leaves(to_dict(TrainConfig())))
TIED = {"stage1.weighting", "stage2.warm_start"}  # the other value of each needs another setting as well
ALONE = sorted(DEFAULTS.keys() - TIED)
OTHERS: dict[str, object] = {
    "embedding": "cls",
    "patch_size": 128,
    "teacher": "patch",
    "stage1.layers": [2],
    "mil.head": "mean",
    "mil.balance": "sampling",
    "decision.operating_point": "sensitivity=0.9",
    "case_rule": "max",
}


def another(name: str) -> object:
    """A value of a setting that is not its default."""
    default = DEFAULTS[name]
    if name in OTHERS:
        return OTHERS[name]
    if isinstance(default, bool):
        return not default
    if isinstance(default, str):
        return f"{default}x"
    return default + 1 if isinstance(default, int) else default * 0.75 + 0.001  # type: ignore[operator]


def nested(name: str, value: object) -> dict[str, object]:
    """{"a.b": 1} as {"a": {"b": 1}}."""
    first, _, rest = name.partition(".")
    return {first: nested(rest, value) if rest else value}


class TestOneValueOfAGroup:
    """Naming one value of a group, at any depth and in any way, leaves all the others at their defaults."""

    @pytest.mark.parametrize("name", ALONE)
    def test_it_alone_changes(self, tmp_path: Path, name: str) -> None:
        value = another(name)
        expected = {**DEFAULTS, name: value}
        assert expected != DEFAULTS
        (tmp_path / "config.toml").write_text(tomli_w.dumps(nested(name, value)))
        for config in (
            TrainConfig(**nested(name, value)),  # type: ignore[arg-type]
            from_dict(nested(name, value)),
            read_toml(tmp_path / "config.toml"),
            with_settings(TrainConfig(), {name: value}),
            with_settings(TrainConfig(), nested(name, value)),
        ):
            assert dict(leaves(to_dict(config))) == expected

    @given(st.sets(st.sampled_from(ALONE), max_size=6))
    @settings(deadline=None, max_examples=30)
    def test_so_do_several(self, names: set[str]) -> None:
        changed = {name: another(name) for name in names}
        values: dict[str, object] = {}
        for name, value in changed.items():
            group, (*parents, leaf) = values, name.split(".")
            for part in parents:
                group = group.setdefault(part, {})  # type: ignore[assignment]
            group[leaf] = value
        assert dict(leaves(to_dict(from_dict(values)))) == {**DEFAULTS, **changed}

    def test_a_group_that_is_named_and_empty_is_as_it_was(self) -> None:
        assert from_dict({"mil": {"fit": {}}, "stage1": {}, "stage2": {}}) == TrainConfig()
        assert mil_from_dict({"fit": {"epochs": 2}}) == MILConfig(fit={"epochs": 2})  # type: ignore[arg-type]
        assert mil_from_dict({"fit": {"epochs": 2}}).fit.learning_rate == MILConfig().fit.learning_rate

    def test_what_was_chosen_before_is_kept_too(self) -> None:
        before = with_settings(TrainConfig(), {"mil.fit.learning_rate": 0.5, "mil.dropout": 0.25})
        after = with_settings(before, {"mil": {"fit": {"epochs": 3}}})
        assert (after.mil.fit.learning_rate, after.mil.dropout, after.mil.fit.epochs) == (0.5, 0.25, 3)

    def test_a_group_made_in_python_is_taken_as_it_is(self) -> None:
        assert TrainConfig(mil=MILConfig(fit=FitConfig(epochs=2))).mil.fit == FitConfig(epochs=2)


class TestRefused:
    @pytest.mark.parametrize(
        ("values", "name"),
        [
            ({"epochs": 3}, "epochs"),
            ({"stage1": {"lambda": 1.0}}, "stage1.lambda"),
            ({"mil": {"fit": {"epocs": 1}}}, "mil.fit.epocs"),
            ({"stage3": {}}, "stage3"),
        ],
    )
    def test_unknown_settings_are_named(self, values: dict[str, object], name: str) -> None:
        with pytest.raises(ConfigError, match=rf"{name}: there is no such setting"):
            from_dict(values)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("mpp_lr", 0.0),
            ("mpp_lr", -2.0),
            ("mpp_lr", float("nan")),
            ("mpp_lr", float("inf")),
            ("patch_size", 15),
            ("min_tissue", 1.01),
            ("min_tissue_hr", -0.01),
            ("folds", 1),
            ("val_fraction", 0.0),
            ("val_fraction", 1.0),
            ("seed", "many"),
            ("seed", 0.5),
            ("embedding", "max"),
            ("batch_size", 0),
            ("stage1.weighting", "attention"),
            ("stage1.layers", ["first"]),
            ("stage1.layers", [0, 0]),
            ("stage1.fit.steps", -1),
            ("stage1.fit.interval", 0),
            ("stage1.fit.ema", 1.0),
            ("mil.fit.epochs", -1),
            ("stage1.fit.learning_rate", float("inf")),
            ("mil.dropout", 1.0),
            ("mil.patch_dropout", -0.1),
            ("stage2.lambda_ce", -1.0),
            ("stage2.lambda_bag", float("inf")),
            ("stage2.fraction", 0.51),
            ("stage2.inner_folds", 1),
            ("stage2.inner_folds", 11),
            ("mil.seeds", 0),
            ("mil.select_from", -1),
            ("teacher", "slide"),
            ("stage2.attention_temperature", 0.0),
        ],
    )
    def test_values_out_of_range_are_named(self, name: str, value: object) -> None:
        with pytest.raises(ConfigError, match=rf"Got: {name}\b"):
            with_settings(TrainConfig(), {name: value})

    def test_a_teacher_over_regions_weighs_no_patches(self) -> None:
        asked = {"stage1.weighting": "teacher_attention"}
        for teacher in ("region", "region_attention"):
            with pytest.raises(ConfigError, match=r'weighting = "uniform".*teacher = "patch"'):
                with_settings(TrainConfig(), {**asked, "teacher": teacher})
        assert with_settings(TrainConfig(), {**asked, "teacher": "patch"}).stage1.weighting == "teacher_attention"

    def test_a_warm_start_needs_embeddings_that_match_the_teachers(self) -> None:
        asked = {"stage2.warm_start": True}
        with pytest.raises(ConfigError, match=r"lambda_keep = 0 with stage2\.warm_start"):
            with_settings(TrainConfig(), asked)
        fitting = {**asked, "stage1.lambda_keep": 0.0}
        assert with_settings(TrainConfig(), fitting).stage2.warm_start
        with pytest.raises(ConfigError, match=r"stage2\.warm_start = false"):
            with_settings(TrainConfig(), {**fitting, "teacher": "region_attention"})

    def test_all_troubles_come_at_once(self) -> None:
        with pytest.raises(ConfigError) as caught:
            from_dict({"epocs": 1, "folds": 0, "stage2": {"k_max": 0}})
        assert all(name in str(caught.value) for name in ("epocs", "folds", "stage2.k_max"))

    @pytest.mark.parametrize("values", [{"hidden": 3}, {"hidden_dim": 0}, [], "gated"])
    def test_mil_settings(self, values: object) -> None:
        with pytest.raises(ConfigError, match="MIL settings"):
            mil_from_dict(values)

    def test_the_constructor_refuses_too(self) -> None:
        with pytest.raises(ValueError, match="epocs"):
            TrainConfig(epocs=3)  # type: ignore[call-arg]
        with pytest.raises(ValueError, match="folds"):
            TrainConfig(folds=1)

    def test_settings_do_not_change(self) -> None:
        with pytest.raises(FrozenInstanceError):
            TrainConfig().seed = 3  # type: ignore[misc]


class TestWithSettings:
    def test_dotted_names(self) -> None:
        before = TrainConfig(seed=4)
        after = with_settings(before, {"stage1.weighting": "uniform", "mil.fit.epochs": 3, "folds": 3})
        assert (after.stage1.weighting, after.mil.fit.epochs, after.folds, after.seed) == ("uniform", 3, 3, 4)
        assert (after.stage1.fit, after.mil.fit.patience) == (before.stage1.fit, before.mil.fit.patience)
        assert before == TrainConfig(seed=4)

    @pytest.mark.parametrize("name", ["stage3.weighting", "seed.deeper", "stage1.layers.0", "stage1.fits.epochs"])
    def test_unknown_groups(self, name: str) -> None:
        with pytest.raises(ConfigError, match=rf"'{name}'.* group '{name.split('.')[-2]}'"):
            with_settings(TrainConfig(), {name: 1})

    @pytest.mark.parametrize("name", ["sed", "stage1.sed", "stage1.fit.sed"])
    def test_unknown_settings(self, name: str) -> None:
        with pytest.raises(ConfigError, match=rf"{name}: there is no such setting"):
            with_settings(TrainConfig(), {name: 1})

    def test_a_group_is_no_value(self) -> None:
        with pytest.raises(ConfigError, match="stage1"):
            with_settings(TrainConfig(), {"stage1": 3})


class TestRoundTrips:
    @settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(configs)
    def test_toml(self, tmp_path: Path, changes: dict[str, object]) -> None:
        config = with_settings(TrainConfig(), changes)
        write_toml(tmp_path / "config.toml", config)
        assert read_toml(tmp_path / "config.toml") == config
        assert from_dict(to_dict(config)) == config

    def test_what_is_left_out_keeps_its_default(self, tmp_path: Path) -> None:
        (tmp_path / "config.toml").write_text('encoder = "vit_tiny"\n[stage1]\nweighting = "uniform"\n')
        expected = with_settings(TrainConfig(), {"encoder": "vit_tiny", "stage1.weighting": "uniform"})
        assert read_toml(tmp_path / "config.toml") == expected

    def test_every_setting_is_written(self, tmp_path: Path) -> None:
        write_toml(tmp_path / "config.toml", TrainConfig())
        text = (tmp_path / "config.toml").read_text()
        assert "[stage1.fit]" in text and "patience" in text and "mpp_hr = 0.5" in text

    def test_mil_settings(self) -> None:
        assert mil_from_dict(to_dict(TrainConfig())["mil"]) == MILConfig()

    @pytest.mark.parametrize(
        ("content", "message"),
        [(None, "settings file"), (b"seed = ", "settings file"), (b"\xff\xfe", "settings file"), (b"sed = 1", "sed")],
    )
    def test_what_is_no_settings_file(self, tmp_path: Path, content: bytes | None, message: str) -> None:
        path = tmp_path / "config.toml"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            read_toml(path)


@pytest.mark.parametrize(
    "data", [b"a = " + b"[" * 100_000, b"\xff\xfea", b"seed = 1\nseed = 2", b"seed = nan", b"x" * (2 << 20)]
)
def test_settings_of_a_stranger_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "settings.toml").write_bytes(data)
    with pytest.raises(ConfigError):
        read_toml(tmp_path / "settings.toml")


def test_a_pipe_of_settings_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "settings.toml")
    with pytest.raises(ConfigError, match="plain file"):
        read_toml(tmp_path / "settings.toml")
