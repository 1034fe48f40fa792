"""One bad slide stops nothing, whatever it does; what concerns every slide stops the run with one sentence."""

import errno
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lrmil.cli import main
from lrmil.errors import OutputError, ResolutionError, SlideError, Stopped, TissueError
from lrmil.features import chosen_patches
from lrmil.features.extraction import Extracted, extract_features
from lrmil.io import atomic
from lrmil.models.bundle import Bundle
from lrmil.models.encoders.loading import PatchEncoder
from lrmil.patches import plan
from lrmil.patches.plan import PatchPlan
from lrmil.prediction import one
from lrmil.prediction.batch import predict_slides
from lrmil.prediction.table import PredictionRow
from lrmil.slides.failures import duplicate_names, failure_of
from lrmil.slides.slide import Slide
from lrmil.slides.source import SlideSource
from lrmil.steps import Step, last
from support.runs import ON_CPU, tiny_bundle, tiny_encoder

pytestmark = pytest.mark.long

SOURCE = SlideSource("a", Path("/data/of ann/a.svs"))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return replace(tiny_bundle(), sha256="ab" * 32)


def classify(slides: list[SlideSource], bundle: Bundle, out: Path) -> list[PredictionRow]:
    return last(predict_slides(slides, bundle, out, ON_CPU))


def extract(slides: list[SlideSource], out: Path) -> list[Extracted]:
    encoder = PatchEncoder(tiny_encoder(), torch.device("cpu"), batch_size=8)
    return last(extract_features(slides, encoder, "x", out, PatchPlan(mpp=2.0, size=64)))


class TestReasons:
    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (ResolutionError("Expected um/px"), "resolution"),
            (TissueError("Expected tissue"), "tissue"),
            (SlideError("Expected a slide"), "file"),
            (RuntimeError("a defect"), "unexpected"),
        ],
    )
    def test_a_word_tells_a_missing_resolution_from_a_broken_file(self, error: Exception, reason: str) -> None:
        failure = failure_of(error, SOURCE)
        assert failure.reason == reason and str(error) in failure.message

    def test_no_folder_is_told(self) -> None:
        odd = SlideSource("a", Path("/data/of\nann/a b\n.svs"))
        for source in (SOURCE, odd):
            for kind in (SlideError, ValueError):
                message = failure_of(kind(f"Expected a slide at {source.path}"), source).message
                assert "ann" not in message and "a" in message and "\n" not in message

    def test_the_traceback_of_what_was_not_foreseen_is_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, "lrmil.slides.failures"):
            try:
                raise ZeroDivisionError("division by zero")
            except ZeroDivisionError as error:
                failure_of(error, SOURCE)
        assert "Traceback" in caplog.text and "test_failures" in caplog.text

    @pytest.mark.parametrize("error", [OutputError("full"), Stopped("stop")])
    def test_what_concerns_the_run_is_no_failure_of_a_slide(self, error: Exception) -> None:
        with pytest.raises(type(error)):
            failure_of(error, SOURCE)


class TestOneBadSlide:
    @pytest.mark.parametrize(
        "error", [RuntimeError("a bug in a decoder"), MemoryError(), ValueError("x"), KeyError("y")]
    )
    def test_whatever_it_raises_the_others_are_classified(
        self,
        slides: list[SlideSource],
        bundle: Bundle,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        error: Exception,
    ) -> None:
        real = one.classify_steps

        def broken(slide: Slide, *a: object, **k: object) -> Iterator[Step[object]]:
            if slide.slide_id == "demo-001":
                raise error
            yield from real(slide, *a, **k)

        monkeypatch.setattr(one, "classify_steps", broken)
        rows = classify(slides, bundle, tmp_path / "out")
        assert [row.status for row in rows] == ["ok", "failed", "ok"]
        assert rows[1].reason == "unexpected" and ("unexpected" in rows[1].message or "memory" in rows[1].message)
        assert "reason" in (tmp_path / "out/predictions.csv").read_text().splitlines()[0]

    def test_and_encoded(self, slides: list[SlideSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = plan.patches_of

        def broken(slide: Slide, plan: PatchPlan) -> object:
            if slide.slide_id == "demo-001":
                raise RuntimeError("a bug")
            return real(slide, plan)

        monkeypatch.setattr(chosen_patches, "patches_of", broken)
        outcomes = extract(slides, tmp_path / "out")
        assert [outcome.path is None for outcome in outcomes] == [False, True, False]
        assert "RuntimeError: a bug" in outcomes[1].message and outcomes[1].reason == "unexpected"

    @pytest.mark.skipif(not hasattr(os, "pread"), reason="the system has no pread")
    def test_a_disk_that_fails_under_it(
        self, slides: list[SlideSource], bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pread, bad = os.pread, slides[1].path.stat().st_ino

        def torn(descriptor: int, count: int, offset: int) -> bytes:
            if os.fstat(descriptor).st_ino == bad:
                raise OSError(errno.EIO, "Input/output error")
            return pread(descriptor, count, offset)

        monkeypatch.setattr(os, "pread", torn)
        rows = classify(slides, bundle, tmp_path / "out")
        assert [row.status for row in rows] == ["ok", "failed", "ok"]
        assert rows[1].reason == "file" and "Input/output error" in rows[1].message

    def test_without_um_per_px_it_is_no_broken_file(
        self, slides: list[SlideSource], bundle: Bundle, tmp_path: Path
    ) -> None:
        import numpy as np

        from support.slides import write_pyramid

        path = write_pyramid(tmp_path / "unknown.tif", np.full((512, 512, 3), 150, np.uint8), None, style="plain")
        slides[1].path.write_bytes(b"")
        rows = classify([SlideSource("unknown", path), slides[1]], bundle, tmp_path / "out")
        assert [row.reason for row in rows] == ["resolution", "file"]
        assert "um/px" in rows[0].message

    @pytest.mark.skipif(os.name == "nt", reason="Windows does not delete a file in use")
    def test_a_file_that_vanishes_while_it_is_read(
        self, slides: list[SlideSource], bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = one.open_source

        def opened(source: SlideSource) -> Slide:
            slide = real(source)
            if source == slides[1]:
                source.path.unlink()
            return slide

        monkeypatch.setattr(one, "open_source", opened)
        rows = classify(slides, bundle, tmp_path / "out")
        assert [row.status for row in rows] == ["ok", "failed", "ok"]
        assert rows[1].reason == "file" and "No such file" in rows[1].message and str(tmp_path) not in rows[1].message


class TestNamesakes:
    def test_slides_of_one_name_fail_and_the_others_go_on(
        self, slides: list[SlideSource], bundle: Bundle, tmp_path: Path
    ) -> None:
        twin = tmp_path / "slides/demo-001.tif"
        shutil.copy(slides[1].path, twin)
        given = [*slides, SlideSource("demo-001", twin)]
        for results in (classify(given, bundle, tmp_path / "out"), extract(given, tmp_path / "features")):
            assert [result.reason for result in results] == ["", "name", "", "name"]
            assert "demo-001.ome.tif and demo-001.tif" in results[1].message
        assert not list((tmp_path / "out").glob("demo-001*")) and (tmp_path / "out/demo-002.json").exists()

    def test_case_and_the_way_accents_are_written_make_no_difference(self) -> None:
        names = ["A1", "a1", "é", "e\u0301", "b"]
        sources = [SlideSource(name, Path(f"{number}.svs")) for number, name in enumerate(names)]
        assert sorted(path.stem for path in duplicate_names(sources)) == ["0", "1", "2", "3"]

    def test_folders_are_named_where_the_files_are_called_the_same(self) -> None:
        found = duplicate_names([SlideSource("a", Path("/x/one/a.svs")), SlideSource("a", Path("/x/two/a.svs"))])
        failure = found[Path("/x/one/a.svs")]
        assert failure.reason == "name" and "one/a.svs and two/a.svs" in failure.message

    def test_the_same_file_twice_is_no_namesake(self) -> None:
        assert duplicate_names([SOURCE, SOURCE]) == {}


class TestFullDisk:
    def full(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        """Let the disk be full when a file of this name is flushed."""
        real = atomic.flush

        def flush(path: Path) -> None:
            if name in path.name:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(path)

        monkeypatch.setattr(atomic, "flush", flush)

    def test_the_run_ends_with_a_sentence_and_keeps_what_is_finished(
        self, slides: list[SlideSource], bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "out"
        self.full(monkeypatch, "demo-001.geojson")
        with pytest.raises(OutputError, match=r"Cannot write .*demo-001\.geojson: No space left on device"):
            classify(slides, bundle, out)
        assert (out / "demo-000.json").exists() and not (out / "demo-001.json").exists()
        assert not list(out.glob(".*.tmp")), "nothing half-written stays"
        assert "demo-000" in (out / "predictions.csv").read_text()
        monkeypatch.undo()
        assert [row.status for row in classify(slides, bundle, out)] == ["ok"] * 3

    def test_features_too(self, slides: list[SlideSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full(monkeypatch, "demo-001.zarr")
        with pytest.raises(OutputError, match="No space left"):
            extract(slides, tmp_path / "out")
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lrmil.lock", "demo-000.zarr"]

    @pytest.mark.parametrize(
        "error",
        [
            OSError(errno.EROFS, "Read-only file system"),
            PermissionError(errno.EACCES, "Permission denied"),
            ValueError("Error while serializing: IoError(Os { code: 28, kind: StorageFull })"),
        ],
    )
    def test_however_it_is_said(self, tmp_path: Path, error: Exception) -> None:
        atomic.write_text(tmp_path / "a", "old")
        expected = pytest.raises(OutputError, match="rerun the same command; finished work is kept")
        with expected, atomic.replacing(tmp_path / "a") as temporary:
            temporary.write_text("new")
            raise error
        assert (tmp_path / "a").read_text() == "old" and len(list(tmp_path.iterdir())) == 1

    def test_a_file_in_place_of_the_folder(self, slides: list[SlideSource], bundle: Bundle, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("a file")
        for out in (tmp_path / "out", tmp_path / "out/deeper"):
            with pytest.raises(OutputError, match="Cannot write "):
                classify(slides, bundle, out)

    @pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
    def test_a_disk_that_really_refuses(self, tmp_path: Path) -> None:
        """The limit of the size of a file is the nearest to a full disk that a test may make."""
        program = (
            "import sys; from pathlib import Path; from lrmil.io import atomic\n"
            "atomic.write_text(Path(sys.argv[1]) / 'a', 'x' * 10)\n"
            "try: atomic.write_text(Path(sys.argv[1]) / 'a', 'y' * 100_000)\n"
            "except atomic.OutputError as error: print(error)\n"
        )

        import resource

        def limited() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))

        done = subprocess.run(
            [sys.executable, "-B", "-c", program, str(tmp_path)], capture_output=True, text=True, preexec_fn=limited
        )
        assert "File too large" in done.stdout, done.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "x" * 10


class TestCommandLine:
    def test_a_full_disk_is_one_sentence_and_exit_code_1(
        self,
        slides: list[SlideSource],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        from lrmil.models.bundle import save_bundle

        save_bundle(tmp_path / "model", tiny_bundle())
        TestFullDisk().full(monkeypatch, "demo-001.geojson")
        arguments = ["predict", str(tmp_path / "slides"), "--model", str(tmp_path / "model"), "--device", "cpu"]
        assert main([*arguments, "--out", str(tmp_path / "out")]) == 1
        said = capsys.readouterr().err
        assert "lrmil predict: Cannot write " in said and "Traceback" not in said

    def test_two_slides_of_one_name_and_a_list(
        self, slides: list[SlideSource], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from lrmil.models.bundle import save_bundle

        save_bundle(tmp_path / "model", tiny_bundle())
        shutil.copy(slides[1].path, tmp_path / "slides/demo-001.tif")
        arguments = ["predict", str(tmp_path / "slides"), "--model", str(tmp_path / "model"), "--device", "cpu"]
        assert main([*arguments, "--out", str(tmp_path / "out")]) == 1
        captured = capsys.readouterr()
        assert captured.out.count("Rename all but one") == 2 and "2 of 4 failed" in captured.err
