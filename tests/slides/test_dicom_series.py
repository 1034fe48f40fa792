"""DICOM folders as archives hand them out: a series is a slide, whatever lies beside it or its files are called."""

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import generate_uid

from lrmil import cli
from lrmil.cohorts.cohort import validate_cohort
from lrmil.demo.synthetic import make_slide
from lrmil.errors import SlideError
from lrmil.prediction.batch import predict_slides
from lrmil.slides import dicom_series
from lrmil.slides.discovery import dicom_slides, find_slides, slide_path
from lrmil.slides.opening import open_slide
from lrmil.slides.parts import parts_of
from lrmil.slides.source import SlideSource, slide_id_of
from lrmil.steps import last
from support.dicom_slides import CT, PIXELS, write_level, write_series
from support.runs import ON_CPU, tiny_bundle

FLIPPED = np.ascontiguousarray(PIXELS[::-1])
Inspect = Callable[..., list[dict[str, object]]]


@pytest.fixture
def inspect(capsys: pytest.CaptureFixture[str]) -> Inspect:
    """What `lrmil inspect` says of places."""

    def run(*places: Path) -> list[dict[str, object]]:
        cli.main(["inspect", *map(str, places), "--patch-size", "64", "--json"])
        said: list[dict[str, object]] = json.loads(capsys.readouterr().out)
        return said

    return run


def two_slides(folder: Path, **options: bool) -> None:
    write_series(folder, ("a0.dcm", "a1.dcm"), **options)
    write_series(folder, ("b0.dcm", "b1.dcm"), FLIPPED, **options)


class TestFolders:
    @pytest.mark.parametrize("compressed", [False, True])
    def test_two_slides_are_two_rows_with_pixels_of_their_own(
        self, tmp_path: Path, inspect: Inspect, compressed: bool
    ) -> None:
        two_slides(tmp_path, compressed=compressed)
        assert [slide_id_of(path) for path in find_slides(tmp_path)] == ["a0", "b0"]
        assert [(one["status"], len(one["levels"])) for one in inspect(tmp_path)] == [("ok", 2), ("ok", 2)]  # type: ignore[arg-type]
        for path, pixels in zip(find_slides(tmp_path), (PIXELS, FLIPPED), strict=True):
            with open_slide(path) as slide:
                read = slide.read_region((0, 0), pixels.shape[:2], 0.5).astype(int)
            assert np.abs(read - pixels).mean() < 2

    def test_names_that_say_nothing_and_files_in_any_order(self, tmp_path: Path) -> None:
        uids = sorted(generate_uid() for _ in range(6))
        first, second = write_series(tmp_path, uids[::2]), write_series(tmp_path, uids[1::2], FLIPPED)
        slides = {slide.series: slide for slide in dicom_slides(tmp_path).slides}
        assert [file.name for file in slides[first].files] == uids[::2]
        assert [file.name for file in slides[second].files] == uids[1::2]
        assert [slide_id_of(path) for path in find_slides(tmp_path)] == uids[:2], "the whole UID, also its last part"

    @pytest.mark.parametrize(
        "beside", ["LICENSE", "about.json", "labels.csv", "preview.png", ".hidden.svs", "7", "notes.001"]
    )
    def test_one_slide_beside_something_else_keeps_the_folders_name(
        self, tmp_path: Path, inspect: Inspect, beside: str
    ) -> None:
        write_series(tmp_path / "case")
        (tmp_path / "case" / beside).write_text("not an image")
        assert find_slides(tmp_path) == [tmp_path / "case"]
        assert [(one["status"], one["path"]) for one in inspect(tmp_path)] == [("ok", str(tmp_path / "case"))]
        assert parts_of(tmp_path / "case") == sorted((tmp_path / "case").glob("*.dcm"))

    def test_the_directory_of_a_medium_is_no_image(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        write_series(tmp_path / "case", ("IM0", "IM1"))
        write_level(tmp_path / "case/DICOMDIR", series="1.2.3", storage_class="1.2.840.10008.1.3.10")
        assert find_slides(tmp_path) == [tmp_path / "case"] and not caplog.text
        assert [path.name for path in parts_of(tmp_path / "case")] == ["IM0", "IM1"]

    def test_files_without_extension_are_found_and_read(self, tmp_path: Path, inspect: Inspect) -> None:
        write_series(tmp_path / "case", ("IM0", "IM1", "IM2"))
        assert find_slides(tmp_path) == find_slides(tmp_path / "case") == [tmp_path / "case"]
        (said,) = inspect(tmp_path)
        assert (said["status"], said["format"], len(said["levels"])) == ("ok", "dcm", 3)  # type: ignore[arg-type]
        write_series(tmp_path / "other", ("1.2.840.7",))
        assert [slide_id_of(path) for path in find_slides(tmp_path)] == ["case", "other"], "each by its folder"

    def test_a_single_file_keeps_its_name(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            write_series(tmp_path / "slides", (f"{name}.dcm",))
        write_series(tmp_path / "one", ("c.dcm",))
        assert [slide_id_of(path) for path in find_slides(tmp_path)] == ["c", "a", "b"]

    def test_the_folder_of_a_single_file_opens_it(self, tmp_path: Path) -> None:
        write_series(tmp_path / "one", ("c.dcm",))
        (tmp_path / "one/LICENSE").write_text("terms")
        with open_slide(tmp_path / "one") as slide:
            assert slide.dimensions == PIXELS.shape[1::-1]
        assert parts_of(tmp_path / "one") == [tmp_path / "one/c.dcm"]
        (tmp_path / "one/other.svs").touch()
        with pytest.raises(SlideError, match="several slides"):
            open_slide(tmp_path / "one")

    def test_beside_another_slide_a_series_goes_by_its_first_file(self, tmp_path: Path) -> None:
        write_series(tmp_path)
        (tmp_path / "b.svs").touch()
        assert find_slides(tmp_path) == [tmp_path / "b.svs", tmp_path / "level-0.dcm"]

    def test_a_slide_of_the_folder_itself_named_by_a_dot(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_series(tmp_path / "case")
        monkeypatch.chdir(tmp_path / "case")
        for place in (".", "level-1.dcm", "../case", "../case/../case/."):
            (path,) = find_slides(place)
            assert path.name == slide_id_of(path) == "case"
        (tmp_path / "case/deep").mkdir()
        monkeypatch.chdir(tmp_path / "case/deep")
        assert [path.name for path in find_slides("..")] == ["case"]

    def test_a_truncated_file_beside_a_slide_is_a_row_that_says_so(self, tmp_path: Path, inspect: Inspect) -> None:
        write_series(tmp_path / "case")
        (tmp_path / "case/level-3.dcm").touch()
        said = {Path(str(one["path"])).name: one for one in inspect(tmp_path)}
        assert said["case"]["status"] == "ok" and said["level-3.dcm"]["status"] == "failed"
        assert "is empty" in str(said["level-3.dcm"]["message"])

    def test_a_folder_of_several_slides_is_none_itself(self, tmp_path: Path) -> None:
        two_slides(tmp_path)
        with pytest.raises(SlideError, match=r"several slides.*: a0\.dcm, b0\.dcm\."):
            open_slide(tmp_path)


class TestNamedOutright:
    @pytest.mark.parametrize("name", ["a0.dcm", "a1.dcm"])
    def test_any_file_of_a_series_stands_for_its_slide(self, tmp_path: Path, inspect: Inspect, name: str) -> None:
        two_slides(tmp_path)
        assert [Path(str(one["path"])).name for one in inspect(tmp_path / name)] == ["a0.dcm"]

    def test_files_and_their_folder_are_one_slide(self, tmp_path: Path) -> None:
        write_series(tmp_path / "case")
        named = [tmp_path / "case", *(tmp_path / "case").iterdir()]
        assert find_slides(named) == [tmp_path / "case"]
        two_slides(tmp_path / "both")
        named += [tmp_path / "both", *(tmp_path / "both").iterdir()]
        assert find_slides(named) == [tmp_path / "both/a0.dcm", tmp_path / "both/b0.dcm", tmp_path / "case"]

    def test_a_case_page_is_of_the_slide(self, tmp_path: Path) -> None:
        write_series(tmp_path / "case")
        assert slide_path(tmp_path / "case/level-2.dcm") == tmp_path / "case"
        assert slide_path(tmp_path / "other.svs") == tmp_path / "other.svs"


class TestWhatIsNoSlide:
    @pytest.mark.parametrize("kind", ["LABEL", "OVERVIEW", "THUMBNAIL"])
    def test_label_and_overview_are_never_a_slide(self, tmp_path: Path, inspect: Inspect, kind: str) -> None:
        green = np.full((300, 500, 3), (0, 255, 0), np.uint8)
        series = write_series(tmp_path / "case")
        write_level(tmp_path / "case/0 first.dcm", green, series=series, kind=kind)
        write_level(tmp_path / "case/own series.dcm", green, series=generate_uid(), kind=kind)
        assert find_slides(tmp_path) == find_slides(tmp_path / "case/0 first.dcm") == [tmp_path / "case"]
        (said,) = inspect(tmp_path)
        assert (said["status"], said["width"], said["height"]) == ("ok", PIXELS.shape[1], PIXELS.shape[0])
        with open_slide(tmp_path / "case") as slide:
            np.testing.assert_array_equal(slide.read_region((0, 0), PIXELS.shape[:2], 0.5), PIXELS)
        with pytest.raises(SlideError, match=r"own series\.dcm\. Got a label, an overview or a thumbnail"):
            open_slide(tmp_path / "case/own series.dcm")

    def test_another_kind_of_image_is_left_out_with_a_word(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, inspect: Inspect
    ) -> None:
        write_series(tmp_path / "case")
        scan = generate_uid()
        for number in range(3):
            write_level(tmp_path / f"case/ct{number}.dcm", series=scan, storage_class=CT)
        with caplog.at_level(logging.WARNING):
            assert find_slides(tmp_path) == [tmp_path / "case"]
        assert "skipped 3 DICOM files that are not whole-slide images" in caplog.text
        assert "ct0.dcm, of modality CT" in caplog.text
        (said,) = inspect(tmp_path / "case/ct1.dcm")
        assert said["status"] == "failed" and "another kind of image (modality CT)" in str(said["message"])

    def test_a_folder_of_nothing_else_has_no_slides(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        write_level(tmp_path / "ct.dcm", series=generate_uid(), storage_class=CT)
        assert cli.main(["inspect", str(tmp_path)]) == 1
        assert str(tmp_path) in capsys.readouterr().err.replace("\n", "")


class TestLabels:
    @pytest.mark.parametrize("name", ["case", "case/level-1.dcm", "level-1.dcm", "level-1", "case\\level-0", "UID"])
    def test_a_table_may_name_a_slide_by_its_folder_its_files_or_its_series(self, tmp_path: Path, name: str) -> None:
        series = write_series(tmp_path / "slides/case")
        write_series(tmp_path / "slides/other", ("x0", "x1"))
        named = series if name == "UID" else name
        (tmp_path / "labels.csv").write_text(f"slide_id,label\n{named},yes\nother,no\n")
        report = validate_cohort(tmp_path / "slides", tmp_path / "labels.csv", folds=None)
        assert report.cohort is not None, report.problems
        assert [(one.slide_id, one.path.name, one.label) for one in report.cohort.slides] == [
            ("case", "case", "yes"),
            ("other", "other", "no"),
        ]

    def test_slides_of_one_folder_go_by_their_first_files(self, tmp_path: Path) -> None:
        two_slides(tmp_path / "slides")
        (tmp_path / "labels.csv").write_text("slide_id,label\na0,yes\nslides/b1.dcm,no\n")
        report = validate_cohort(tmp_path / "slides", tmp_path / "labels.csv", folds=None)
        assert report.cohort is not None and [one.slide_id for one in report.cohort.slides] == ["a0", "b0"]

    @pytest.mark.parametrize("name", ["slides", "level-1.dcm"])
    def test_a_name_that_may_mean_several_is_refused_with_what_it_may_mean(self, tmp_path: Path, name: str) -> None:
        if name == "slides":
            two_slides(tmp_path / "slides")
        else:
            write_series(tmp_path / "slides/a0")
            write_series(tmp_path / "slides/b0")
        (tmp_path / "labels.csv").write_text(f"slide_id,label\n{name},yes\n")
        report = validate_cohort(tmp_path / "slides", tmp_path / "labels.csv", folds=None)
        (hint,) = [problem.hint for problem in report.problems if problem.severity == "error"]
        assert f"'{name}' may be 'a0' or 'b0'" in hint


def test_folders_of_thousands_take_seconds(tmp_path: Path) -> None:
    """A folder is looked through once, not once for each of its files."""
    whole = write_level(tmp_path / "whole", PIXELS[:64, :64], series="1.2.3.10000").read_bytes()
    (tmp_path / "in").mkdir()
    for number in range(3000):
        content = whole.replace(b"1.2.3.10000", f"1.2.3.{10_000 + number // 3}".encode())
        (tmp_path / f"in/{number:05}.dcm").write_bytes(content)
    (tmp_path / "in/LICENSE").touch()
    long_ago = time.time() - 1000
    for path in (tmp_path / "in").iterdir():
        os.utime(path, (long_ago, long_ago))
    start = time.process_time()
    found = find_slides(tmp_path / "in")
    assert len(found) == 1000 and time.process_time() - start < 5  # 0.3 s where nothing else runs; 76 s file by file
    start = time.process_time()
    assert all(len(parts_of(path)) == 3 for path in found[:20])
    assert len(find_slides((tmp_path / "in").iterdir())) == 1001 and time.process_time() - start < 10


def test_a_folder_is_sorted_by_slide_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many of its files are asked for, one by one."""
    monkeypatch.setattr("lrmil.slides.dicom_series.SETTLED_NS", 0)  # as if all had been there for long
    two_slides(tmp_path)
    made = []
    real = dicom_series.DicomFolder

    def counted(*values: object) -> dicom_series.DicomFolder:
        made.append(values)
        return real(*values)  # type: ignore[arg-type]

    monkeypatch.setattr(dicom_series, "DicomFolder", counted)
    for _ in range(3):
        known = {path.name: slide_path(path).name for path in tmp_path.iterdir()}
        assert known == {"a0.dcm": "a0.dcm", "a1.dcm": "a0.dcm", "b0.dcm": "b0.dcm", "b1.dcm": "b0.dcm"}
        assert [path.name for path in find_slides(tmp_path)] == ["a0.dcm", "b0.dcm"]
    assert len(made) == 1
    write_series(tmp_path, ("c0.dcm", "c1.dcm"))
    assert slide_path(tmp_path / "c1.dcm").name == "c0.dcm" and len(made) == 2


def test_each_slide_of_a_folder_is_classified(tmp_path: Path) -> None:
    pixels = make_slide("negative", seed=1, size=1024).pixels
    write_series(tmp_path / "in", ("a0.dcm", "a1.dcm"), pixels)
    write_series(tmp_path / "in", ("b0.dcm", "b1.dcm"), np.ascontiguousarray(pixels[::-1]))
    sources = [SlideSource(slide_id_of(path), path) for path in find_slides(tmp_path / "in")]
    rows = last(predict_slides(sources, replace(tiny_bundle(), sha256="ab"), tmp_path / "out", ON_CPU))
    assert [(row.slide_id, row.status) for row in rows] == [("a0", "ok"), ("b0", "ok")]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.json")) == ["a0.json", "b0.json"]


def test_a_level_of_endless_size_beside_the_one_that_is_opened_is_refused(tmp_path: Path) -> None:
    """OpenSlide would end the process for want of memory."""
    write_series(tmp_path)
    level = bytearray((tmp_path / "level-1.dcm").read_bytes())
    place = level.index(b"\x48\x00\x06\x00UL\x04\x00") + 8  # columns of the whole picture
    level[place : place + 4] = (542_393_171).to_bytes(4, "little")
    (tmp_path / "level-1.dcm").write_bytes(level)
    with pytest.raises(SlideError, match=r"level-1\.dcm\. Got a side of 542393171 px"):
        open_slide(tmp_path)
