"""The answers of several models to one slide, and their tables, lie apart; those of earlier versions where they lay."""

import json
import os
from pathlib import Path

import pytest

from napari_lrmil.state.answers import answer_folder, answers_of, case_folder, mask_folder, table_file
from napari_lrmil.state.known_models import note_model

A, B, C = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    return tmp_path / "x.svs"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def answer(results: Path, slide: Path, sha256: str, *, at: int = 0) -> Path:
    """Store an answer where it belongs."""
    out = answer_folder(results, "x", slide, sha256)
    out.mkdir(parents=True, exist_ok=True)
    (out / "x.json").write_text(json.dumps({"format": "lrmil.prediction/2", "prediction": {"bundle_sha256": sha256}}))
    os.utime(out / "x.json", (at, at))
    return out


def test_each_model_has_a_folder_of_its_own_and_keeps_it(results: Path, slide: Path) -> None:
    note_model(results, B, Path("run 1/model"))
    first, second, third = (answer(results, slide, one, at=n) for n, one in enumerate((A, B, C)))
    assert first == case_folder(results, "x", slide) == second.parent == third.parent
    assert (second.name, third.name) == ("run-1-model-bbbbbbbbbbbb", "model-cccccccccccc")
    assert list(answers_of(results, "x", slide).items()) == [(A, first), (B, second), (C, third)]
    note_model(results, B, Path("renamed"))
    assert answer_folder(results, "x", slide, B) == second, "the hash counts, not the name"
    os.utime(first / "x.json", (9, 9))
    assert list(answers_of(results, "x", slide)) == [B, C, A], "the latest is the last"


def test_a_model_whose_slide_failed_finds_its_folder_again(results: Path, slide: Path) -> None:
    answer(results, slide, A)
    second = answer(results, slide, B)
    (second / "x.json").unlink()
    note_model(results, B, Path("renamed"))
    assert answer_folder(results, "x", slide, B) == second and set(answers_of(results, "x", slide)) == {A}


def test_a_place_without_an_answer_is_taken_by_whoever_comes(results: Path, slide: Path) -> None:
    first = answer(results, slide, A)
    (first / "x.json").unlink()
    assert answer(results, slide, B) == first
    assert answer(results, slide, A).parent == first
    for text in ("", "[]", "{}", '{"prediction": 1}', "\xff"):
        (first / "x.json").write_text(text)
        assert set(answers_of(results, "x", slide)) == {A}


def test_a_first_answer_uses_the_mask_that_was_painted_for_another_model(results: Path, slide: Path) -> None:
    first = answer(results, slide, A)
    assert mask_folder(results, "x", slide, B) is None
    (first / "x.tissue.ome.zarr").mkdir()
    assert mask_folder(results, "x", slide, B) == first and mask_folder(results, "x", slide, A) is None
    second = answer(results, slide, B)
    assert mask_folder(results, "x", slide, B) is None, "it has answered, and without the mask"
    (second / "x.json").unlink()
    (second / "x.tissue.ome.zarr").mkdir()
    assert mask_folder(results, "x", slide, B) is None, "it has a mask"


def test_a_table_with_rows_of_another_model_is_left_alone(results: Path, tmp_path: Path) -> None:
    first = table_file(results, tmp_path / "slides", A)
    first.parent.mkdir(parents=True)
    assert table_file(results, tmp_path / "slides", B) == first
    for rows, own in (("x,\n", True), (f"x,{A}\n", True), (f"x,{A}\ny,{B}\n", False), (f"x,{B}\n", False)):
        first.write_text(f"slide_id,model\n{rows}")
        assert (table_file(results, tmp_path / "slides", A) == first) == own
    second = table_file(results, tmp_path / "slides", A)
    assert second.name == f"{first.stem}.model-aaaaaaaaaaaa.csv"
    second.write_text("slide_id,model\n")
    note_model(results, A, Path("named"))
    assert table_file(results, tmp_path / "slides", A) == second
