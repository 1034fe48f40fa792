"""The model of a finished run says where it comes from."""

import json

import pytest

from lrmil.runs.plan_file import read_plan, settings_hash
from lrmil.runs.shipping import public_name
from support.runs import TinyRun

pytestmark = pytest.mark.long


def test_the_model_names_its_encoder_without_the_folder_it_lay_in(tiny_run: TinyRun) -> None:
    assert public_name("local-dir:somewhere/encoders/vit") == "local-dir:vit"
    for path in ("/home/someone/encoders/vit", "~/vit", "../vit"):
        assert public_name(path) == "local-dir:vit"
    for name in ("hf-hub:owner/name", "hf_hub:owner/name", "resnet50.a1_in1k"):
        assert public_name(name) == name
    training = json.loads((tiny_run.folder / "model/bundle.json").read_text(encoding="utf-8"))["training"]
    assert training["settings_sha256"] == settings_hash(read_plan(tiny_run.folder)[0])


def test_a_model_of_synthetic_slides_says_so(tiny_run: TinyRun) -> None:
    training = json.loads((tiny_run.folder / "model/bundle.json").read_text(encoding="utf-8"))["training"]
    assert training["synthetic"] is True
