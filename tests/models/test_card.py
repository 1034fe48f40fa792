"""The card of a model is read without its weights, and checked."""

from pathlib import Path

import pytest

from lrmil.errors import FormatError
from lrmil.io import hashing
from lrmil.models.bundle import load_bundle
from lrmil.models.card import FORMAT, UNCALIBRATED, WEIGHTS, read_model_card
from support.models import rewrite


def test_the_card_is_read_without_the_weights(saved: Path, model: Path) -> None:
    card = load_bundle(saved).card
    for name in WEIGHTS:
        (model / name).unlink()
    assert read_model_card(model) == card
    assert (card.classes, card.mpp, card.patch_size) == (("no", "yes"), 2.0, 64)
    assert card.training == {"slides": 3} and card.metrics == {"lr_student": {"auroc": 0.5}}
    assert card.license.startswith("research use only") and card.sha256 == hashing.sha256_file(saved / "bundle.json")


@pytest.mark.parametrize("change", [{"classes": ["only"]}, {"mpp": 0}, {"patch_size": 8}, {"metrics": 3}], ids=str)
def test_a_card_that_makes_no_model_is_refused(model: Path, change: dict[str, object]) -> None:
    rewrite(model, lambda document: document.update(change))
    with pytest.raises(FormatError):
        read_model_card(model)


def test_a_folder_without_a_model_says_where_one_is(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="RUN/model"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("stated", [{}, None, {"operating_point": None}])
def test_rules_for_answers_without_a_calibration_are_refused(model: Path, stated: object) -> None:
    rewrite(model, lambda document: document.update(format=UNCALIBRATED, decision=stated))
    with pytest.raises(FormatError, match="no calibration"):
        read_model_card(model)


def test_damaged_rules_are_named_once(model: Path) -> None:
    damaged = {"format": FORMAT, "calibration": {"slopes": [1, 1], "offsets": [0, 0], "slides": 9}, "decision": []}
    rewrite(model, lambda document: document.update(damaged))
    with pytest.raises(FormatError, match=r"^The rules for answers in .* are damaged"):
        read_model_card(model)
