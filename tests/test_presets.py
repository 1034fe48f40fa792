"""Presets: each is a valid configuration, and the published method is in one word."""

from dataclasses import replace

import pytest

from lrmil.configs import TrainConfig, with_settings
from lrmil.errors import ConfigError
from lrmil.models.encoders.loading import load_encoder
from lrmil.presets import PARTS, PRESETS, SUMMARIES, find_preset, preset


@pytest.mark.parametrize("name", PRESETS)
def test_each_has_valid_settings_that_differ_from_the_defaults_as_far_as_it_says(name: str) -> None:
    assert (preset(name) == TrainConfig()) == (not PRESETS[name])


def test_each_is_described() -> None:
    assert SUMMARIES.keys() == PRESETS.keys()


def test_the_paper_weighs_all_terms_alike_by_a_teacher_over_patches() -> None:
    paper = preset("paper")
    assert paper.teacher == "patch" and paper.stage1.weighting == "teacher_attention" and paper.mil.seeds == 1
    stage1, stage2 = paper.stage1, paper.stage2
    weights = (stage1.lambda_layer, stage1.lambda_attn, stage2.lambda_ce, stage2.lambda_bag)
    assert {*weights, stage2.lambda_soft, stage2.lambda_hard} == {1.0}
    assert stage1.lambda_keep == 0 and stage2.inner_folds == 0


def test_the_paper_has_nothing_of_what_this_project_added() -> None:
    paper = preset("paper")
    assert paper.stage1.lambda_keep == paper.stage1.stain == paper.stage1.fit.ema == 0
    assert paper.stage2.inner_folds == 0 and paper.mil.seeds == 1 and not paper.finishes


@pytest.mark.parametrize(("name", "last_but_one"), [("test_vit", 4), ("test_resnet", 3)])
def test_its_blocks_are_the_first_two_and_the_last_but_one(name: str, last_but_one: int) -> None:
    encoder = load_encoder(name, size=64 if name == "test_resnet" else 160, pretrained=False)
    count = len(encoder.backbone.feature_info)  # type: ignore[arg-type]
    assert [encoder._block(layer) for layer in preset("paper").stage1.layers] == [0, 1, count - 2]
    assert count - 2 == last_but_one


def test_an_unknown_one_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"default.*fast.*paper"):
        preset("quick")


@pytest.mark.parametrize("name", PRESETS)
def test_each_is_found_whatever_the_data_and_the_machine(name: str) -> None:
    assert {setting.split(".")[0] for setting in PRESETS[name]} <= set(PARTS)
    config = replace(preset(name), encoder="resnet50", patch_size=64, folds=3, seed=5, threads=7)
    assert find_preset(config) == name
    for setting in ("stage1.fit.steps", "mil.fit.epochs", "stage2.k_max", "finish.epochs"):
        assert find_preset(with_settings(config, {setting: 7})) is None
