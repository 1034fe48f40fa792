"""Slides are found by name, not through links, and never on a whole disk."""

from pathlib import Path

import pytest

from lrmil.slides import search
from lrmil.slides.search import MAX_DEPTH, find_named


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.svs", "deeper/b.ome.tif", "deeper/c.txt", ".hidden/d.svs"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_by_name_in_any_folder_that_is_not_hidden(folder: Path) -> None:
    found = {"a": folder / "a.svs", "b": folder / "deeper/b.ome.tif"}
    assert find_named(folder, ["a", "b", "c", "d", "e"]) == found
    assert find_named(folder / "a.svs", ["a", "b"]) == {"a": folder / "a.svs"}
    assert find_named(folder / "a.svs", ["b"]) == {} == find_named(folder / "absent", ["a"])


def test_links_are_not_followed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "e.svs").touch()
    (folder / "link").symlink_to(other)
    (folder / "circle").symlink_to(folder)
    assert find_named(folder, ["a", "e"]) == {"a": folder / "a.svs"}


def test_the_search_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = folder.joinpath("deeper", *["x"] * MAX_DEPTH)
    deep.mkdir(parents=True)
    (deep / "far.svs").touch()
    assert find_named(folder, ["far"]) == {}
    assert find_named(Path(folder.anchor), ["a"]) == {} == find_named(Path("a\0"), ["a"])
    monkeypatch.setattr(search, "MAX_ENTRIES", 1)
    assert "b" not in find_named(folder, ["b", "none"])
