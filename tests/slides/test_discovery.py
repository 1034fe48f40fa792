"""Slides are found and named whatever lies about: links, circles, folders with a slide's name, odd names."""

import csv
import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lrmil.errors import SlideError
from lrmil.prediction.batch import predict_slides
from lrmil.slides.discovery import find_slides
from lrmil.slides.opening import open_slide
from lrmil.slides.source import SlideSource, slide_id_of
from lrmil.steps import last
from support.runs import ON_CPU, tiny_bundle

needs_links = pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
ODD_NAMES = ["a b", "é µ 切片", 'quote\'s "double"', "comma, semi;", "new\nline", "tab\there", "=1+1", "%s {0}", "-v"]


class TestFindSlides:
    @needs_links
    def test_folders_behind_links_are_searched_once_and_circles_end(self, tmp_path: Path) -> None:
        for name in ("far/b.svs", "near/a.svs"):
            (tmp_path / name).parent.mkdir()
            (tmp_path / name).touch()
        (tmp_path / "near/linked").symlink_to(tmp_path / "far")
        (tmp_path / "near/again").symlink_to(tmp_path / "far")
        (tmp_path / "far/back").symlink_to(tmp_path / "near")
        (tmp_path / "far/itself").symlink_to(tmp_path / "far")
        found = find_slides(tmp_path / "near")
        assert [path.name for path in found] == ["a.svs", "b.svs"]

    @needs_links
    def test_links_to_nowhere_and_in_circles_are_listed_and_say_so(self, tmp_path: Path) -> None:
        (tmp_path / "gone.svs").symlink_to(tmp_path / "away.svs")
        (tmp_path / "loop.svs").symlink_to(tmp_path / "loop.svs")
        found = find_slides(tmp_path)
        assert [path.name for path in found] == ["gone.svs", "loop.svs"]
        for path in found:
            with pytest.raises(SlideError, match="a link that leads nowhere, or in a circle"):
                open_slide(path)

    def test_a_folder_with_a_slide_s_name(self, tmp_path: Path) -> None:
        (tmp_path / "x.svs").mkdir()
        assert find_slides(tmp_path) == [tmp_path / "x.svs"]
        with pytest.raises(SlideError, match=r"x\.svs is a folder"):
            open_slide(tmp_path / "x.svs")
        (tmp_path / "x.svs/real.svs").touch()
        assert find_slides(tmp_path) == [tmp_path / "x.svs/real.svs"]

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes among its files")
    def test_a_pipe_is_no_slide_and_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "x.svs")
        with pytest.raises(SlideError, match="a device or a pipe"):
            open_slide(tmp_path / "x.svs")

    def test_a_folder_that_may_not_be_listed_is_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        for name in ("open/a.svs", "closed/b.svs"):
            (tmp_path / name).parent.mkdir()
            (tmp_path / name).touch()
        real = Path.iterdir

        def iterdir(self: Path) -> object:
            if self.name == "closed":
                raise PermissionError(13, "Permission denied")
            return real(self)

        monkeypatch.setattr(Path, "iterdir", iterdir)
        with caplog.at_level(logging.WARNING):
            assert [path.name for path in find_slides(tmp_path)] == ["a.svs"]
        assert "closed, because it cannot be listed: Permission denied" in caplog.text


class TestFilesThatAreNoSlides:
    @pytest.mark.parametrize("name", ["a.svs", "a.tif", "a.scn", "a.dcm", "a.ndpi"])
    def test_an_empty_file_is_said_to_be_empty(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).touch()
        with pytest.raises(SlideError, match="is empty"):
            open_slide(tmp_path / name)

    def test_a_file_that_may_not_be_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "a.svs").write_bytes(b"II*\0")

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
        with pytest.raises(SlideError, match=r"a\.svs: .*Permission denied"):
            open_slide(tmp_path / "a.svs")


@pytest.mark.skipif(os.name == "nt", reason="Windows forbids most of these names")
class TestOddNames:
    def test_odd_names_come_through_to_the_table(self, cohort: Path, tmp_path: Path) -> None:
        (tmp_path / "slides").mkdir()
        for name in ODD_NAMES:
            shutil.copy(cohort / "slides/demo-000.ome.tif", tmp_path / f"slides/{name}.ome.tif")
        (tmp_path / "slides/bad\n'name\".svs").write_bytes(b"nothing")
        sources = [SlideSource(slide_id_of(path), path) for path in find_slides(tmp_path / "slides")]
        out = tmp_path / "out"
        rows = last(predict_slides(sources, replace(tiny_bundle(), sha256="ab"), out, ON_CPU))
        assert {row.slide_id: row.status for row in rows} == {
            **dict.fromkeys(ODD_NAMES, "ok"),
            "bad\n'name\"": "failed",
        }
        with (out / "predictions.csv").open(newline="", encoding="utf-8") as file:
            assert {row["slide_id"].removeprefix("'") for row in csv.DictReader(file)} == {row.slide_id for row in rows}
        assert sorted(path.stem for path in out.glob("*.json")) == sorted(ODD_NAMES)
        assert all("\n" not in row.message for row in rows)

    def test_a_name_that_is_no_utf_8_stops_nothing(self, cohort: Path, tmp_path: Path) -> None:
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.svs"))
        path.write_bytes(b"nothing")
        good = cohort / "slides/demo-000.ome.tif"
        sources = [SlideSource(slide_id_of(path), path), SlideSource("good", good)]
        rows = last(predict_slides(sources, replace(tiny_bundle(), sha256="ab"), tmp_path / "out", ON_CPU))
        assert [row.status for row in rows] == ["failed", "ok"]
        assert "good" in (tmp_path / "out/predictions.csv").read_text(encoding="utf-8")


def test_find_slides(tmp_path: Path) -> None:
    for name in ("b.svs", "a/deep/c.TIF", "a/d.ome.tiff", "e.png", ".hidden.svs", ".cache/f.svs", "g.mrxs", "g/h.dat"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names = [path.relative_to(tmp_path).as_posix() for path in find_slides(tmp_path)]
    assert names == ["a/d.ome.tiff", "a/deep/c.TIF", "b.svs", "g.mrxs"]
    assert find_slides([tmp_path / "e.png", tmp_path / "a", tmp_path / "a"]) == [
        tmp_path / "a/d.ome.tiff",
        tmp_path / "a/deep/c.TIF",
        tmp_path / "e.png",
    ]


def test_a_folder_of_dicom_files_alone_is_one_slide(tmp_path: Path) -> None:
    for name in ("case/level-0.dcm", "case/level-1.dcm", "mixed/a.dcm", "mixed/b.svs"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_slides(tmp_path) == [tmp_path / "case", tmp_path / "mixed/a.dcm", tmp_path / "mixed/b.svs"]
