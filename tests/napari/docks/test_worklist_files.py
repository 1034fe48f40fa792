"""Classifying a list loses no file of the user's: neither among the results nor among the slides."""

import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from lrmil.errors import LrmilError
from lrmil.models.bundle import Bundle, load_bundle
from lrmil.slides.discovery import find_slides
from lrmil.steps import last
from napari_lrmil.jobs.classify_list import classify_list
from napari_lrmil.state.answers import case_folder
from napari_lrmil.state.worklist import entries_of
from napari_lrmil.state.worklist_memory import list_file, read_memory

ENDINGS = (".json", ".geojson", ".png", ".attention.ome.zarr", ".tissue.ome.zarr", ".tissue-1.ome.zarr", ".txt")
OTHERS = ("reviews.jsonl", "notes.txt", ".x.tmp", ".x.old", "predictions.csv", ".bashrc.old")


@pytest.fixture(scope="module")
def bundle(model_folder: Path) -> Bundle:
    return load_bundle(model_folder)


@pytest.fixture
def slides(cohort: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "slides"
    folder.mkdir()
    for name in ("demo-000", "demo-001"):
        shutil.copy(cohort / f"slides/{name}.ome.tif", folder)
    (folder / "broken.svs").write_bytes(b"x" * 100)
    return folder


def state_of(path: Path) -> bytes | str | None:
    if path.is_symlink():
        return str(path.readlink())
    return path.read_bytes() if path.is_file() else None


def scatter(chance: random.Random, path: Path, elsewhere: Path) -> list[Path]:
    """A file, a folder with a file, or a link; and what is to stay as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = chance.choice(["file", "file", "folder", "link"])
    if kind == "file":
        path.write_bytes(chance.randbytes(chance.choice([0, 40])))
        return [path]
    if kind == "folder":
        path.mkdir()
        (path / "zarr.json").write_bytes(chance.randbytes(40))
        return [path / "zarr.json"]
    target = elsewhere / chance.randbytes(6).hex()
    target.write_bytes(chance.randbytes(40))
    path.symlink_to(target)
    return [path, target]


@pytest.mark.parametrize("seed", range(8))
def test_the_worklist_loses_nothing(slides: Path, bundle: Bundle, tmp_path: Path, seed: int) -> None:
    chance, elsewhere = random.Random(seed), tmp_path / "elsewhere"
    elsewhere.mkdir()
    results = slides if seed % 3 == 0 else tmp_path / "results"
    entries = entries_of(find_slides(slides))
    names = [slides / f"{entry.slide_id}{ending}" for entry in entries for ending in ENDINGS]
    names += [
        case_folder(results, one.slide_id, one.path) / f"{one.slide_id}{end}" for one in entries for end in ENDINGS
    ]
    names += [folder / name for folder in (slides, results) for name in OTHERS]
    names += [list_file(results, slides, ending) for ending in (".csv", ".json", ".txt")] if seed % 2 else []
    users = sorted(path for path in slides.iterdir() if path.is_file())
    for path in dict.fromkeys(names):
        if chance.random() < 0.1 + 0.05 * seed:
            users += scatter(chance, path, elsewhere)
    before = {path: state_of(path) for path in users}
    for _ in range(2):
        with suppress(LrmilError):
            last(classify_list(entries, entries, bundle, slides, results, device="cpu"))
        assert {path: state_of(path) for path in users} == before


def test_what_is_in_the_way_is_said_in_its_row(slides: Path, bundle: Bundle, tmp_path: Path) -> None:
    results, entries = tmp_path / "results", entries_of(find_slides(slides))
    out = case_folder(results, "demo-000", slides / "demo-000.ome.tif")
    out.mkdir(parents=True)
    (out / "demo-000.png").write_text("the user's")
    found = {one.slide_id: one for one in last(classify_list(entries, entries, bundle, slides, results, device="cpu"))}
    assert (found["demo-000"].status, found["demo-000"].reason) == ("failed", "output")
    assert "did not write the file 'demo-000.png'" in found["demo-000"].message and found["demo-001"].status == "ok"
    assert len(read_memory(list_file(results, slides, ".json")).failures) == 2


def test_results_may_not_lie_in_a_slide(slides: Path, bundle: Bundle) -> None:
    (slides / "series").mkdir()
    for number in (1, 2):
        (slides / f"series/{number}.dcm").write_text("x")
    entries = entries_of([slides / "series"])
    with pytest.raises(LrmilError, match="the input 'series'"):
        last(classify_list(entries, entries, bundle, slides, slides / "series/results", device="cpu"))
    assert sorted(path.name for path in (slides / "series").iterdir()) == ["1.dcm", "2.dcm"]
