"""What is kept of a list by earlier versions is read; tests/formats/README.md says how the sample was made."""

import os
import re
import shutil
from pathlib import Path

import pytest

from lrmil.io.ownership import is_worklist
from lrmil.models.bundle import load_bundle
from lrmil.steps import last
from napari_lrmil.state.answers import case_folder
from napari_lrmil.state.worklist import Entry, scan
from napari_lrmil.state.worklist_memory import list_file, read_memory, stamp_of
from support.paths import FORMATS

SAMPLE = FORMATS / "worklist-1/list.json"
BROKEN, BROKEN_AT = b"This is no slide.", 1_700_000_000_000_000_000  # as in make_samples.py


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """A slide that was classified, one that was not, and the file that is no slide, as old as in the sample."""
    folder = tmp_path / "slides"
    folder.mkdir()
    (folder / "broken.svs").write_bytes(BROKEN)
    os.utime(folder / "broken.svs", ns=(BROKEN_AT, BROKEN_AT))
    shutil.copy(FORMATS / "prediction-2/sample.ome.tif", folder)
    shutil.copy(FORMATS / "prediction-2/sample.ome.tif", folder / "another.ome.tif")
    return folder


@pytest.fixture
def results(slides: Path, tmp_path: Path) -> Path:
    """The archived list and answer as they lie for `slides`: two names hold a hash of where the slides are."""
    results = tmp_path / "results"
    broken = case_folder(results, "broken", slides / "broken.svs").name
    path = list_file(results, slides, ".json")
    path.parent.mkdir(parents=True)
    text, count = re.subn(r"\bbroken-[0-9a-f]{8}\b", broken, SAMPLE.read_text())
    assert count == 1
    path.write_text(text)
    shutil.copytree(FORMATS / "prediction-2/out", case_folder(results, "sample", slides / "sample.ome.tif"))
    return results


def listed(slides: Path, results: Path, bundle_sha256: str = "") -> dict[str, Entry]:
    """Each slide by its name, as the list that is opened again knows it at last."""
    entries: dict[str, Entry] = {}
    for step in scan(slides, results, bundle_sha256):
        entries |= {entry.slide_id: entry for entry in step.result or []}
    return entries


def test_the_memory_is_read() -> None:
    assert is_worklist(SAMPLE)
    memory = read_memory(SAMPLE)
    assert memory.bundle_sha256 == load_bundle(FORMATS / "bundle-1/sample").sha256
    (failure,) = memory.failures.values()
    assert failure["stamp"] == [len(BROKEN), BROKEN_AT] and failure["reason"] == "file"


def test_the_list_opens_as_it_was_left(slides: Path, results: Path) -> None:
    entries = listed(slides, results)
    assert {name: entry.status for name, entry in entries.items()} == {
        "another": "new",
        "broken": "failed",
        "sample": "ok",
    }
    assert entries["sample"].label == "no" and entries["sample"].probability == pytest.approx(0.5429, abs=1e-4)
    assert entries["broken"].reason == "file" and "broken.svs" in entries["broken"].message


def test_what_is_of_another_model_or_file_does_not_count(slides: Path, results: Path) -> None:
    entries = listed(slides, results, "ab" * 32)
    assert (entries["sample"].status, entries["broken"].status) == ("other model", "new")
    (slides / "broken.svs").write_bytes(BROKEN + b" It was changed.")
    assert listed(slides, results)["broken"].status == "new"


def test_a_list_without_a_memory_is_new(slides: Path, tmp_path: Path) -> None:
    assert {entry.status for entry in last(scan(slides, tmp_path / "none", ""))} == {"new"}


@pytest.mark.parametrize("kind", ["gone", "folder", "loop", "link", "denied", "zarr"])
def test_every_path_has_a_stamp(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ("x.zarr" if kind == "zarr" else "x.mrxs")
    if kind in ("folder", "zarr"):
        path.mkdir()
    elif kind in ("loop", "link"):
        path.symlink_to(path if kind == "loop" else tmp_path / "nowhere")
    elif kind == "denied":
        path.mkdir()
        monkeypatch.setattr(Path, "iterdir", denied)
    assert stamp_of(path) == []


def denied(path: Path) -> None:
    raise PermissionError(13, "Permission denied")
