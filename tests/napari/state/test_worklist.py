"""The slides of a folder with their answers, as the list is read."""

import shutil
from pathlib import Path

import pytest

from lrmil.prediction import files
from lrmil.steps import last
from napari_lrmil.state.answers import case_folder
from napari_lrmil.state.worklist import scan


@pytest.fixture
def slides(cohort: Path, tmp_path: Path) -> Path:
    """A folder with one good slide."""
    (tmp_path / "slides").mkdir()
    shutil.copy(cohort / "slides" / "demo-000.ome.tif", tmp_path / "slides")
    return tmp_path / "slides"


def denied(path: Path) -> None:
    raise PermissionError(13, "Permission denied")


def test_a_slide_whose_answer_cannot_be_looked_up_is_one_failed_row(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(slides / "demo-000.ome.tif", slides / "other.tif")

    def broken(out: Path, slide_id: str) -> None:
        if slide_id == "demo-000":
            raise RuntimeError("a bug in a decoder")

    for slide_id, path in (("demo-000", slides / "demo-000.ome.tif"), ("other", slides / "other.tif")):
        case = case_folder(tmp_path / "results", slide_id, path)
        case.mkdir(parents=True)
        (case / f"{slide_id}.json").write_text('{"prediction": {"bundle_sha256": "ab"}}')
    monkeypatch.setattr(files, "read_prediction", broken)
    known = [entry for step in list(scan(slides, tmp_path / "results", ""))[1:] for entry in step.result or []]
    assert [entry.status for entry in known] == ["failed", "new"]
    assert "a bug in a decoder" in known[0].message


def test_a_folder_that_may_not_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(OSError, match="Permission denied"):
        last(scan(tmp_path, tmp_path / "results", ""))
