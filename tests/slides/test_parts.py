"""The files that a slide consists of."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from lrmil import cli
from lrmil.slides.dicom_series import dicom_in, series_of
from lrmil.slides.opening import open_slide
from lrmil.slides.parts import changed_at, fingerprint_of, parts_of
from support.dicom_slides import PIXELS, write_level, write_series


def test_fingerprint_follows_the_content_of_every_part(tmp_path: Path, shared: Path) -> None:
    folder = tmp_path / "series"
    folder.mkdir()
    for index in (0, 1):
        source = shared / f"data/slides/other/openslide_boxes_{index}.dcm"
        (folder / source.name).write_bytes(source.read_bytes())
    with open_slide(folder) as slide:
        assert slide.slide_id == "series" and slide.reader_name == "openslide"
        first = slide.fingerprint
    with (folder / "openslide_boxes_1.dcm").open("ab") as file:
        file.write(b"\0\0")
    with open_slide(folder) as slide:
        assert slide.fingerprint != first


FLIPPED = np.ascontiguousarray(PIXELS[::-1])


def two_slides(folder: Path, **options: bool) -> None:
    write_series(folder, ("a0.dcm", "a1.dcm"), **options)
    write_series(folder, ("b0.dcm", "b1.dcm"), FLIPPED, **options)


class TestParts:
    def test_they_are_the_files_that_openslide_reads(self, tmp_path: Path) -> None:
        """OpenSlide takes every file of the series, whatever its name: without each of them a level is gone."""
        series = write_series(tmp_path, ("a0.dcm", "a1", ".a2.part"))
        write_series(tmp_path, ("b0.dcm", "b1"), FLIPPED)
        first = tmp_path / "a0.dcm"
        assert parts_of(first) == [tmp_path / ".a2.part", first, tmp_path / "a1"]
        levels = {3: tmp_path / ".a2.part", 2: tmp_path / "a1"}
        for count, path in levels.items():
            with open_slide(first) as slide:
                assert len(slide.levels) == count
            before = fingerprint_of(first), changed_at(first)
            path.unlink()
            assert path not in parts_of(first) and fingerprint_of(first) != before[0]
        write_level(tmp_path / "a9", FLIPPED[:160, :192], series=series, number=2)
        assert parts_of(first) == [first, tmp_path / "a9"], "a file that came later"

    def test_a_file_written_over_by_one_of_another_series(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The time of the folder does not tell: nothing came or went."""
        monkeypatch.setattr("lrmil.slides.dicom_series.SETTLED_NS", 0)  # as if all had been there for long
        two_slides(tmp_path)
        assert [file.name for file in series_of(tmp_path / "a0.dcm")] == ["a0.dcm", "a1.dcm"]
        (tmp_path / "a1.dcm").write_bytes((tmp_path / "b1.dcm").read_bytes())
        assert [file.name for file in series_of(tmp_path / "a0.dcm")] == ["a0.dcm"]
        assert [file.name for file in series_of(tmp_path / "b0.dcm")] == ["a1.dcm", "b0.dcm", "b1.dcm"]

    def test_a_change_right_after_a_look_is_seen(self, tmp_path: Path) -> None:
        """Clocks of folders are coarse: what happens within a tick leaves the time as it was."""
        for number in range(20):
            write_series(tmp_path, (f"{number}.dcm",))
            assert len(dicom_in(tmp_path).slides) == number + 1

    def test_checksums_name_the_files_of_the_series_alone(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_series(tmp_path / "in", ("a0", "a1"))
        write_series(tmp_path / "in", ("b0", "b1"), FLIPPED)
        files = sorted((tmp_path / "in").iterdir())
        lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
        (tmp_path / "sums").write_text("".join(lines))
        (tmp_path / "in/b1").write_bytes((tmp_path / "in/b1").read_bytes() + b"\0")
        cli.main(["inspect", str(tmp_path / "in"), "--checksums", str(tmp_path / "sums"), "--json"])
        said = {Path(one["path"]).name: one for one in json.loads(capsys.readouterr().out)}
        assert said["a0"]["checksum"].startswith("sha256 of 2 of 2 files")
        assert said["b0"]["status"] == "failed" and "b1" in said["b0"]["message"]


class TestHamamatsu:
    """A VMS or VMU is a text that names the pictures beside it."""

    def write(self, folder: Path, name: str, values: Iterable[str]) -> Path:
        path = folder / name
        lines = [f"ImageFile({place},0)={value}" for place, value in enumerate(values)]
        path.write_text("\n".join(["[Virtual Microscope Specimen]", *lines]), encoding="latin-1")
        return path

    def test_the_files_of_each_are_those_that_it_names(self, tmp_path: Path) -> None:
        for name in ("a0.jpg", "a1.jpg", "b0.jpg", "shared.opt", ".hidden.jpg"):
            (tmp_path / name).write_bytes(b"x")
        first = self.write(tmp_path, "a.vms", ["a1.jpg", " a0.jpg ", "shared.opt", ".hidden.jpg", "a1.jpg"])
        second = self.write(tmp_path, "b.VMU", ["b0.jpg", "shared.opt", "gone.jpg"])
        names = {path: [part.name for part in parts_of(path)] for path in (first, second)}
        assert names == {
            first: ["a.vms", ".hidden.jpg", "a0.jpg", "a1.jpg", "shared.opt"],
            second: ["b.VMU", "b0.jpg", "shared.opt"],
        }

    def test_only_files_beside_it_count(self, tmp_path: Path) -> None:
        (tmp_path / "in/deeper").mkdir(parents=True)
        for name in ("out.jpg", "in/deeper/x.jpg", "in/a.jpg"):
            (tmp_path / name).write_bytes(b"x")
        away = ["../out.jpg", "deeper/x.jpg", "deeper", "./a.jpg", str(tmp_path / "out.jpg"), ".", "..", "", "/"]
        path = self.write(tmp_path / "in", "a.vms", [*away, "n\0ul", "x" * 5000])
        assert parts_of(path) == [path]

    def test_no_folder_is_listed_for_a_slide(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "a.jpg").write_bytes(b"x")
        path = self.write(tmp_path, "a.vms", ["a.jpg"])
        with monkeypatch.context() as patch:
            for where, name in ((Path, "iterdir"), (os, "scandir"), (os, "listdir")):
                patch.setattr(where, name, lambda *_: pytest.fail("a folder was listed"))
            assert [part.name for part in parts_of(path)] == ["a.vms", "a.jpg"]
            assert fingerprint_of(path) and changed_at(path)
