"""Folders and choices that are remembered."""

from pathlib import Path

from napari_lrmil.state import folders


def test_choices_are_remembered(own_folders: Path) -> None:
    assert folders.recall("run_folder") == ""
    folders.remember("run_folder", "/a/run")
    folders.remember("model_folder", "/a/model")
    assert folders.recall("run_folder") == "/a/run" and folders.recall("model_folder") == "/a/model"
    (own_folders / "state/remembered.json").write_text("[1]")
    assert folders.recall("run_folder") == ""
