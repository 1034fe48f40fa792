"""What a model says of the terms it is under: what is known, and that the rest is not."""

from dataclasses import replace
from pathlib import Path

import pytest

from lrmil.cli import main
from lrmil.models.bundle import load_bundle, save_bundle
from lrmil.models.card import read_model_card
from lrmil.models.encoders.source import find_source
from lrmil.models.encoders.terms import (
    EncoderTerms,
    describe_terms,
    permissions,
    read_terms,
    terms_of,
    terms_warning,
)
from support.paths import FORMATS
from support.runs import tiny_bundle

FREE = EncoderTerms("mobilenetv2_100", "apache-2.0")
NC_ND = EncoderTerms("uni2-h", "CC-BY-NC-ND-4.0", inherits=True, gated=True, hub_id="MahmoodLab/UNI2-h")
FREE_TEACHER = EncoderTerms("h-optimus-0", "Apache-2.0", inherits=False)
UNCLEAR = EncoderTerms("h-optimus-1", "CC-BY-NC-ND-4.0")
NOTHING = EncoderTerms("local-dir:e")
RANDOM = EncoderTerms("resnet18", random=True)


@pytest.mark.parametrize(
    ("teacher", "start", "commercial", "passing"),
    [
        (FREE, FREE, "not forbidden", "not forbidden"),
        (NC_ND, FREE, "no: the terms of uni2-h", "no: the terms of uni2-h"),
        (NC_ND, NC_ND, "no: the terms of uni2-h", "no: the terms of uni2-h"),
        (NC_ND, RANDOM, "no: the terms of uni2-h", "no: the terms of uni2-h"),
        (FREE_TEACHER, FREE, "not forbidden", "not forbidden"),
        (UNCLEAR, FREE, "not known here: the terms of h-optimus-1", "not known here: the terms of h-optimus-1"),
        (FREE, UNCLEAR, "no: the terms of h-optimus-1", "no: the terms of h-optimus-1"),
        (FREE, EncoderTerms("kaiko-vits16", "kaiko-non-commercial"), "no: the terms of kaiko", "not known here"),
        (NOTHING, FREE, "not known here", "not known here"),
        (FREE, NOTHING, "not known here", "not known here"),
        (RANDOM, RANDOM, "not forbidden", "not forbidden"),
        (replace(FREE, inherits=True), FREE, "not forbidden", "not forbidden"),
    ],
)
def test_permissions(teacher: EncoderTerms, start: EncoderTerms, commercial: str, passing: str) -> None:
    answers = permissions(teacher, start)
    assert answers["Commercial use"].startswith(commercial) and answers["Redistribution"].startswith(passing)
    assert bool(terms_warning(teacher, start)) == commercial.startswith("no:")


def test_a_line_says_what_is_known() -> None:
    teacher, start = describe_terms(NC_ND, "teacher"), describe_terms(NC_ND, "start")
    assert teacher.startswith("uni2-h (MahmoodLab/UNI2-h): CC-BY-NC-ND-4.0; ") and "on request" in teacher
    assert "extend to this model" in teacher and "extend" not in start
    assert "do not extend" in describe_terms(FREE_TEACHER, "teacher")
    assert describe_terms(NOTHING, "teacher") == "local-dir:e: licence not known"
    assert "random weights" in describe_terms(RANDOM, "start")


def test_timm_states_a_licence_of_its_own_models() -> None:
    terms = terms_of(find_source("resnet50.tv_in1k"), pretrained=True)
    assert (terms.licence, terms.inherits, terms.random) == ("bsd-3-clause", None, False)


@pytest.mark.parametrize("values", [None, 3, [], {}, {"name": 3}])
def test_what_is_no_terms_is_none(values: object) -> None:
    assert read_terms(values) is None


def test_terms_of_a_stranger_are_cut_and_of_one_kind() -> None:
    found = read_terms({"name": "x" * 9999, "licence": 3, "inherits": "yes", "hub_id": [], "random": 1})
    assert found == EncoderTerms("x" * 300)


def test_a_model_states_the_terms_of_its_teacher_and_its_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stated = {"teacher": NC_ND.to_dict(), "start": FREE.to_dict()}
    save_bundle(tmp_path / "model", replace(tiny_bundle(), terms=stated))
    assert load_bundle(tmp_path / "model").terms == read_model_card(tmp_path / "model").terms == stated
    assert main(["card", str(tmp_path / "model")]) == 0
    said = capsys.readouterr().out
    assert (
        "Teacher: uni2-h (MahmoodLab/UNI2-h): CC-BY-NC-ND-4.0" in said and "Start: mobilenetv2_100: apache-2.0" in said
    )
    assert "Commercial use: no: the terms of uni2-h (CC-BY-NC-ND-4.0) forbid it" in said


def test_a_model_of_earlier_versions_says_that_nothing_is_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["card", str(FORMATS / "bundle-1/sample")]) == 0
    assert "Terms of teacher and start: not recorded" in capsys.readouterr().out
