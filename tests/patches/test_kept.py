"""Patches of a slide kept in a file: the same as found, and found again when anything that they rest on changed."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lrmil.errors import FormatError, OverwriteError
from lrmil.patches import kept, tissue
from lrmil.patches.kept import Found, find_patches, keep_patches, read_patches
from lrmil.patches.layout import Patches
from lrmil.patches.plan import PatchPlan, patches_of
from lrmil.raster import Raster
from lrmil.slides.opening import open_slide
from lrmil.slides.slide import Slide
from lrmil.slides.source import SlideSource

PLAN = PatchPlan(2.0, 64, children=2, min_tissue=0.6, min_tissue_hr=0.4)


@pytest.fixture
def slide(slides: list[SlideSource]) -> Iterator[Slide]:
    with open_slide(slides[0].path) as opened:
        yield opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "patches/demo-000.safetensors"


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A slide for each time that tissue is looked for."""
    found, real = list[str](), tissue.find_tissue
    monkeypatch.setattr(tissue, "find_tissue", lambda slide: found.append(slide.slide_id) or real(slide))
    return found


def find(slide: Slide, path: Path, plan: PatchPlan = PLAN, version: int = 1) -> Found:
    found = find_patches(slide, plan, path, version=version)
    keep_patches(found)
    return found


def require_same(one: Patches, other: Patches) -> None:
    assert one.index.dtype == other.index.dtype and one.children_covered.dtype == other.children_covered.dtype
    assert np.array_equal(one.index, other.index) and np.array_equal(one.children_covered, other.children_covered)
    bare = np.zeros(0)
    assert (
        replace(one, index=bare, children_covered=bare).__repr__()
        == replace(other, index=bare, children_covered=bare).__repr__()
    )


def test_kept_patches_are_those_that_were_found(slide: Slide, path: Path, looks: list[str]) -> None:
    found, again = find(slide, path), find(slide, path)
    assert looks == ["demo-000"] and (found.is_kept, again.is_kept) == (False, True)
    require_same(found.patches, patches_of(slide, PLAN))
    require_same(found.patches, again.patches)
    assert len(found.patches) > 5 and found.patches.children_covered.any()
    assert replace(again.card, sha256="") == found.card and found.card.seconds > 0
    assert found.card.bytes_read is not None
    assert (found.seconds_before, found.bytes_before) == (0.0, 0)
    assert (again.seconds_before, again.bytes_before) == (found.card.seconds, found.card.bytes_read)


def test_a_slide_without_patches_has_a_file_too(slide: Slide, path: Path, looks: list[str]) -> None:
    nothing = replace(PLAN, min_tissue=1.1)
    assert len(find(slide, path, nothing).patches) == len(find(slide, path, nothing).patches) == 0
    assert len(looks) == 1


@pytest.mark.parametrize("change", [{"min_tissue": 0.1}, {"children": 4}, {"mpp": 1.0}, {"size": 32}], ids=str)
def test_another_plan_has_other_patches(slide: Slide, path: Path, looks: list[str], change: dict[str, float]) -> None:
    find(slide, path)
    other = replace(PLAN, **change)
    require_same(find(slide, path, other).patches, patches_of(slide, other))
    looks.clear()
    assert find(slide, path, other).is_kept and looks == []


def test_another_version_resolution_or_time_of_the_file_is_another_slide(
    slides: list[SlideSource], path: Path, looks: list[str]
) -> None:
    def found(mpp: float | None = None, version: int = 1) -> bool:
        with open_slide(slides[0].path, mpp) as slide:
            return find(slide, path, version=version).is_kept

    assert [found(), found(), found(version=2), found(version=2), found(0.6, 2)] == [False, True, False, True, False]
    assert found(0.6, 2)
    os.utime(slides[0].path, (1, 1))
    assert not found(0.6, 2)
    slides[0].path.write_bytes(slides[1].path.read_bytes())
    assert not found(0.6, 2) and found(0.6, 2)


def edit_index(path: Path) -> None:
    with kept.safe_open(path, framework="numpy") as file:
        stated = file.metadata()
    arrays = load_file(path)
    arrays["index"][0] += 1
    save_file(arrays, path, stated)


def edit_card(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"demo-000", b"demo-001"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def rename_format(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"lrmil.patches/1", b"lrmil.patches/9"))


def drop_children(path: Path) -> None:
    with kept.safe_open(path, framework="numpy") as file:
        stated = file.metadata()
    save_file({name: values for name, values in load_file(path).items() if name == "index"}, path, stated)


@pytest.mark.parametrize("change", [edit_index, edit_card, cut, rename_format, drop_children])
def test_what_someone_changed_is_not_believed_and_replaced(
    slide: Slide, path: Path, looks: list[str], change: Callable[[Path], None]
) -> None:
    whole = find(slide, path)
    change(path)
    with pytest.raises(FormatError, match=r"demo-000\.safetensors"):
        read_patches(path)
    require_same(find(slide, path).patches, whole.patches)
    assert len(looks) == 2 and read_patches(path).is_kept


def test_a_foreign_file_stays(slide: Slide, path: Path) -> None:
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(OverwriteError):
        find(slide, path)
    assert path.read_text() == "mine"


def test_what_a_repair_could_change_is_not_kept(slide: Slide, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is what was kept before the damage."""
    find(slide, path)
    real = tissue.find_tissue

    def with_unread(slide: Slide) -> tissue.Tissue:
        found = real(slide)
        unread = np.zeros_like(found.mask.array)
        unread[: len(unread) // 2] = True
        mask = Raster(found.mask.array & ~unread, found.mask.to_level0)
        return found._replace(mask=mask, unread=Raster(unread, found.mask.to_level0))

    monkeypatch.setattr(tissue, "find_tissue", with_unread)
    found = find(slide, path, version=2)
    assert found.patches.undecided and not found.is_whole and not path.exists()
    monkeypatch.setattr(Slide, "damaged", True)
    monkeypatch.setattr(tissue, "find_tissue", real)
    assert not find(slide, path).is_whole and not path.exists()
