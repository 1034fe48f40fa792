"""The teacher that a model keeps: what is loaded is what was saved, only when asked for, and nothing else is taken."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lrmil.errors import FormatError, OverwriteError
from lrmil.io.ownership import is_bundle_alone
from lrmil.models.bundle import load_bundle, save_bundle
from lrmil.models.card import read_model_card
from lrmil.models.encoders.loading import encoder_hash
from lrmil.models.heads.head import predict_bag
from support.models import rewrite
from support.teachers import card_of_teacher, teaching

Document = dict[str, Any]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only."""
    folder = tmp_path_factory.mktemp("teacher") / "model"
    save_bundle(folder, teaching())
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    save_bundle(tmp_path / "model", teaching())
    return tmp_path / "model"


@pytest.mark.parametrize("kind", ["region", "region_attention", "patch"])
def test_what_is_loaded_is_what_was_saved(tmp_path: Path, kind: str) -> None:
    bundle = teaching(kind=kind)
    save_bundle(tmp_path / "model", bundle)
    assert is_bundle_alone(tmp_path / "model")
    again = load_bundle(tmp_path / "model", teacher=True)
    assert again.teacher == bundle.teacher == read_model_card(tmp_path / "model").teacher
    assert again.teacher_networks and bundle.teacher_networks
    assert encoder_hash(again.teacher_networks.encoder) == encoder_hash(bundle.teacher_networks.encoder)
    dim = again.teacher_networks.encoder.dim
    bag = torch.ones(3, 4, dim + 1) if kind == "region_attention" else torch.ones(3, dim)
    before, after = (predict_bag(one.teacher_networks.mil, bag).logits for one in (bundle, again))  # type: ignore[union-attr]
    np.testing.assert_array_equal(before, after)
    save_bundle(tmp_path / "second", again)
    assert (tmp_path / "second/bundle.json").read_bytes() == (tmp_path / "model/bundle.json").read_bytes()


def test_its_networks_are_loaded_only_when_asked_for(saved: Path, tmp_path: Path) -> None:
    bundle = load_bundle(saved)
    assert bundle.teacher == card_of_teacher() and bundle.teacher_networks is None
    with pytest.raises(FormatError, match="Expected the networks of the teacher"):
        save_bundle(tmp_path / "second", bundle)
    assert not (tmp_path / "second").exists()


def test_a_model_without_one_is_loaded_as_before(tmp_path: Path) -> None:
    save_bundle(tmp_path / "model", replace(teaching(), teacher=None, teacher_networks=None))
    assert "teacher" not in json.loads((tmp_path / "model/bundle.json").read_text())
    assert not (tmp_path / "model/teacher").exists()
    found = load_bundle(tmp_path / "model", teacher=True)
    assert found.teacher is None and found.teacher_networks is None


@pytest.mark.parametrize("name", ["mil.safetensors", "encoder/model.safetensors", "encoder/config.json"])
def test_changed_files_are_refused_when_it_is_loaded(model: Path, name: str) -> None:
    path = model / "teacher" / name
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(bytes(data))
    load_bundle(model)  # the student does not need them
    with pytest.raises(FormatError, match="changed after it was written"):
        load_bundle(model, teacher=True)


def test_a_link_in_place_of_a_file_is_refused(model: Path, tmp_path: Path) -> None:
    path = model / "teacher/mil.safetensors"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="link"):
        load_bundle(model, teacher=True)


def test_a_link_in_place_of_its_folder_is_refused(model: Path, tmp_path: Path) -> None:
    (model / "teacher").rename(tmp_path / "elsewhere")
    (model / "teacher").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="link"):
        load_bundle(model, teacher=True)


CHANGES: dict[str, Callable[[Document], object]] = {
    "no card": lambda stated: stated.pop("card"),
    "another member": lambda stated: stated.update(more=1),
    "unknown kind": lambda stated: stated["card"].update(kind="moon"),
    "no regions": lambda stated: stated["card"].update(regions=0),
    "too many regions": lambda stated: stated["card"].update(regions=10**6),
    "negative resolution": lambda stated: stated["card"].update(mpp=-1.0),
    "not a whole number of times finer": lambda stated: stated["card"].update(mpp=1.3),
    "patches that are far too many": lambda stated: stated["card"].update(mpp=2.0 / 1000),
    "coarser": lambda stated: stated["card"].update(mpp=4.0),
    "other classes": lambda stated: stated["card"]["calibration"].update(slopes=[1.0] * 3, offsets=[0.0] * 3),
    "a decision of three classes": lambda stated: stated["card"]["decision"]["sets"].update(
        limits=[0.5] * 3, slides=[20] * 3
    ),
    "no contract": lambda stated: stated.update(encoder={}),
    "another head": lambda stated: stated["mil"].update(head="moon"),
    "attention within regions": lambda stated: stated["mil"].update(within_regions="attention"),
    "kind with attention": lambda stated: stated["card"].update(kind="region_attention"),
}


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_card_that_is_damaged_or_does_not_fit_is_refused(model: Path, change: str) -> None:
    rewrite(model, lambda document: CHANGES[change](document["teacher"]))  # type: ignore[arg-type]
    for read in (read_model_card, load_bundle):
        with pytest.raises(FormatError, match="teacher"):
            read(model)


def test_files_beside_it_are_not_replaced(model: Path) -> None:
    (model / "teacher/notes.txt").write_text("mine")
    with pytest.raises(OverwriteError):
        save_bundle(model, teaching())
    assert (model / "teacher/notes.txt").read_text() == "mine"
