"""The card of a model is read without its weights, and checked."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lrmil.errors import FormatError
from lrmil.io import hashing
from lrmil.models.bundle import load_bundle, save_bundle
from lrmil.models.card import WEIGHTS, read_model_card
from support.runs import tiny_bundle


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder; read only."""
    folder = tmp_path_factory.mktemp("bundle") / "model"
    torch.manual_seed(0)
    save_bundle(folder, replace(tiny_bundle(), training={"slides": 3}, metrics={"lr_student": {"auroc": 0.5}}))
    return folder


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def rewrite(model: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Change bundle.json."""
    document = json.loads((model / "bundle.json").read_text())
    change(document)
    (model / "bundle.json").write_text(json.dumps(document))


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
