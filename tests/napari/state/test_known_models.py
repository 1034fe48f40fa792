"""Models are named as a person knows them; a list of them that cannot be read or written stops nothing."""

from pathlib import Path

import pytest

from lrmil.io import hashing
from napari_lrmil.state.known_models import (
    FILE,
    MODEL_FILE,
    KnownModel,
    find_model_folder,
    folder_name,
    known_models,
    note_model,
    title_of,
)

A, B = "a" * 64, "b" * 64


def test_a_model_is_named_by_its_folder_and_two_of_one_name_by_their_hashes_too(tmp_path: Path) -> None:
    note_model(tmp_path, A, tmp_path / "run-1/model")
    assert title_of(A, known_models(tmp_path)) == "run-1/model"
    assert title_of(B, known_models(tmp_path)) == "model bbbbbbbbbbbb"
    note_model(tmp_path, B, tmp_path / "again/run-1/model")
    known = known_models(tmp_path)
    assert [title_of(one, known) for one in (A, B)] == ["run-1/model aaaaaaaaaaaa", "run-1/model bbbbbbbbbbbb"]
    note_model(tmp_path, B, tmp_path / "moved")
    assert known_models(tmp_path)[B] == KnownModel("moved", str(tmp_path / "moved"))
    note_model(tmp_path, A, None)
    assert set(known_models(tmp_path)) == {A, B}


@pytest.mark.parametrize("text", ["", "[]", '{"format": "lrmil.models/2", "models": {}}', '{"format": "mine"}'])
def test_a_list_that_cannot_be_read_names_nothing_and_one_of_the_user_is_kept(text: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)
    assert known_models(tmp_path) == {}
    note_model(tmp_path, A, tmp_path / "run")
    ours = "lrmil.models" in text
    assert (set(known_models(tmp_path)) == {A}) == ours and ((tmp_path / FILE).read_text() == text) != ours


def test_a_model_that_was_trained_again_is_not_offered(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / MODEL_FILE).write_text("one")
    sha256 = hashing.sha256_file(folder / MODEL_FILE)
    note_model(tmp_path, sha256, folder)
    assert find_model_folder(sha256, known_models(tmp_path)) == folder
    assert find_model_folder(A, known_models(tmp_path)) is None
    (folder / MODEL_FILE).write_text("two")
    assert find_model_folder(sha256, known_models(tmp_path)) is None


@pytest.mark.parametrize("name", ["run/model", "..", "", "a b", "é", "x" * 300, "-", "con:"])
def test_every_name_makes_a_folder(name: str, tmp_path: Path) -> None:
    made = folder_name(A, {A: KnownModel(name)})
    (tmp_path / made).mkdir()
    assert made.endswith("-aaaaaaaaaaaa") and len(made) < 60 and Path(made).name == made and made[0] not in ".-"
