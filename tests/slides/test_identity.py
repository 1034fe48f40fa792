"""A slide that changes while it is read fails with that reason: nothing of it is stored, the next run reads it anew."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrmil import cli
from lrmil.cohorts.screening import screen_steps
from lrmil.demo.synthetic import make_slide
from lrmil.errors import OutputError, SlideChangedError, SlideError
from lrmil.features.extraction import SlideSource, extract_features
from lrmil.features.store import read_card
from lrmil.models.bundle import Bundle, load_bundle
from lrmil.models.encoders.loading import PatchEncoder, encoder_hash
from lrmil.patches.plan import PatchPlan
from lrmil.prediction.batch import predict_slides
from lrmil.prediction.exports import write_overlay
from lrmil.prediction.inference import predict, predict_steps
from lrmil.prediction.options import PredictOptions
from lrmil.runs.train import train, train_steps
from lrmil.slides import identity, opening
from lrmil.slides.dicom_head import head_of
from lrmil.slides.failures import reason_of
from lrmil.slides.identity import identity_of, unchanged
from lrmil.slides.opening import open_slide, open_source
from lrmil.slides.parts import fingerprint_of, parts_of
from lrmil.slides.slide import Slide
from lrmil.slides.thumbnail import Thumbnail
from lrmil.steps import Job, Step, last
from support.dicom_slides import write_level, write_series
from support.runs import ON_CPU, TinyRun, tiny_bundle, tiny_config, tiny_encoder
from support.slides import write_ome_zarr_slide, write_pyramid

PIXELS = make_slide("negative", seed=1, size=1024).pixels
Change = Callable[[Path], None]


def keep_time(change: Change) -> Change:
    """Set the times of all files back to what they were."""

    def changed(slide: Path) -> None:
        before = {part: part.stat() for part in parts_of(slide)}
        change(slide)
        for part, stat in before.items():
            os.utime(part, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    return changed


def biggest(slide: Path) -> Path:
    return max(parts_of(slide), key=lambda part: (part.stat().st_size, part.name))


def write_over(slide: Path) -> None:
    """Other content of the same size, in place."""
    part = biggest(slide)
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)


def put_another_in_place(slide: Path) -> None:
    """As copies that are finished under another name first do."""
    part = biggest(slide)
    other = part.with_name(".coming")
    other.write_bytes(part.read_bytes()[::-1])
    other.replace(part)


def grow(slide: Path) -> None:
    with biggest(slide).open("ab") as file:
        file.write(b"\0")


def cut(slide: Path) -> None:
    os.truncate(biggest(slide), biggest(slide).stat().st_size // 3)


def touch(slide: Path) -> None:
    os.utime(biggest(slide), (1e9, 1e9))


def lose(slide: Path) -> None:
    part = biggest(slide)
    part.rename(part.parent.parent / "moved away")


def add_level(slide: Path) -> None:
    """A level that comes later, as a copy that is still under way brings it."""
    head = head_of(parts_of(slide)[0])
    assert head is not None
    write_level(slide / "level-9", PIXELS[:128, :128], series=head.series, mpp=4.0, number=9)


ANY = {
    "other content, same size and time": keep_time(write_over),
    "other content, same size": write_over,
    "another file, same time": keep_time(put_another_in_place),
    "larger, same time": keep_time(grow),
    "cut short": cut,
    "written again": touch,
    "gone": lose,
}
CASES = [
    pytest.param(kind, change, id=f"{kind}: {name}")
    for kind in ("tif", "zarr", "dicom")
    for name, change in ANY.items()
]
CASES.append(pytest.param("dicom", add_level, id="dicom: a level came"))


def write_slide(folder: Path, kind: str, name: str = "a") -> Path:
    folder.mkdir(exist_ok=True)
    if kind == "zarr":
        return write_ome_zarr_slide(folder / f"{name}.ome.zarr", PIXELS, chunk=256)
    if kind == "dicom":
        write_series(folder / name, pixels=PIXELS)
        return folder / name
    return write_pyramid(folder / f"{name}.tif", PIXELS)


@pytest.fixture
def bundle() -> Bundle:
    return replace(tiny_bundle(), sha256="ab")


def pair_of(kind: str, folder: Path) -> list[SlideSource]:
    """A slide to be changed, and one that stays."""
    other = SlideSource("b", write_slide(folder / "other", "tif", "b"))
    return [SlideSource("a", write_slide(folder / "slides", kind)), other]


def changed_midway(steps: Iterator[Step[object]], job: Job, change: Callable[[], object]) -> object:
    """The result of work in the midst of which, at the first patches of a job, something is changed."""
    todo = True
    result = None
    for step in steps:
        if todo and step.job == job and step.unit == "patches" and step.done:
            assert step.total is not None and step.done < step.total, "in the midst of it"
            change()
            todo = False
        result = step.result
    assert not todo
    return result


def of_name(folder: Path, name: str) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith((name, f".{name}")))


class TestPredict:
    @pytest.mark.parametrize(("kind", "change"), CASES)
    def test_a_changed_slide_fails_and_the_next_run_reads_what_is_there_then(
        self, kind: str, change: Change, bundle: Bundle, tmp_path: Path
    ) -> None:
        pair, out = pair_of(kind, tmp_path), tmp_path / "out"
        slide = pair[0].path
        backup = tmp_path / "backup"
        (shutil.copytree if slide.is_dir() else shutil.copy)(slide, backup)
        steps = predict_slides(pair, bundle, out, PredictOptions(device="cpu", batch_size=4))
        first, second = changed_midway(steps, ("predict", "a"), lambda: change(slide))  # type: ignore[misc]
        assert (first.status, first.reason, second.status) == ("failed", "changed", "ok")
        assert "changed while it was read" in first.message and str(tmp_path) not in first.message
        assert of_name(out, "a") == [] and len(of_name(out, "b")) >= 4
        shutil.rmtree(slide) if slide.is_dir() else slide.unlink(missing_ok=True)
        backup.rename(slide)
        again = last(predict_slides(pair, bundle, out, ON_CPU))
        assert [row.status for row in again] == ["ok", "ok"]
        assert again[0].probabilities == pytest.approx(predict(slide, bundle, "cpu").probabilities)

    def test_the_answer_of_a_slide_that_was_replaced_is_that_of_the_new_one(
        self, bundle: Bundle, tmp_path: Path
    ) -> None:
        """The mixed answer was stored under the old name, and served when the old slide came back."""
        slide = write_slide(tmp_path / "slides", "tif")
        old = tmp_path / "old.tif"
        new = write_pyramid(tmp_path / "new.tif", np.ascontiguousarray(PIXELS[::-1, ::-1]))
        shutil.copy2(slide, old)
        sources, out = [SlideSource("a", slide)], tmp_path / "out"
        steps = predict_slides(sources, bundle, out, PredictOptions(device="cpu", batch_size=4))
        changed_midway(steps, ("predict", "a"), lambda: new.replace(slide))
        for _ in range(2):
            (row,) = last(predict_slides(sources, bundle, out, ON_CPU))
            assert row.probabilities == pytest.approx(predict(slide, bundle, "cpu").probabilities)
            if old.exists():
                old.replace(slide)

    def test_an_open_slide_that_changed_since_it_was_opened(self, bundle: Bundle, tmp_path: Path) -> None:
        path = write_slide(tmp_path / "slides", "tif")
        with open_slide(path) as slide:
            predict(slide, bundle, "cpu")
            keep_time(write_over)(path)
            with pytest.raises(SlideChangedError, match="different content"):
                predict(slide, bundle, "cpu")
        predict(path, bundle, "cpu")

    def test_no_answer_is_given_before_the_slide_was_compared(self, bundle: Bundle, tmp_path: Path) -> None:
        path = write_slide(tmp_path / "slides", "tif")
        results = []
        with pytest.raises(SlideChangedError):
            for step in predict_steps(path, bundle, "cpu", batch_size=4):
                results.append(step.result)
                touch(path)
        assert results and results == [None] * len(results)

    def test_a_picture_is_drawn_of_the_slide_that_was_classified(self, bundle: Bundle, tmp_path: Path) -> None:
        path = write_slide(tmp_path / "slides", "tif")
        with open_slide(path) as slide:
            prediction = predict(slide, bundle, "cpu")
            write_over(path)
            with pytest.raises(SlideChangedError):
                write_overlay(tmp_path / "a.png", prediction, slide)
        assert not (tmp_path / "a.png").exists()

    def test_a_case_of_a_changed_slide_has_no_page(
        self, tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = write_slide(tmp_path / "slides", "tif")

        def slow(*arguments: object, **options: object) -> Iterator[Step[object]]:
            yield from predict_steps(*arguments, **options)  # type: ignore[arg-type]
            touch(path)

        monkeypatch.setattr("lrmil.prediction.inference.predict_steps", slow)
        model, out = tiny_run.folder / "model", tmp_path / "case"
        assert cli.main(["case", str(path), "--model", str(model), "--out", str(out), "--device", "cpu"]) == 1
        assert "changed while it was read" in capsys.readouterr().err
        assert not list(out.iterdir())


class TestExtract:
    @pytest.mark.parametrize("resolution", ["lr", "hr"])
    @pytest.mark.parametrize(("kind", "change"), [CASES[0], CASES[4], CASES[7], CASES[14], CASES[-1]])
    def test_a_changed_slide_has_no_features(self, kind: str, change: Change, resolution: str, tmp_path: Path) -> None:
        pair, encoder, out = pair_of(kind, tmp_path), tiny_encoder(), tmp_path / "features"

        def steps() -> Iterator[Step[object]]:
            patch_encoder = PatchEncoder(encoder, torch.device("cpu"), batch_size=4)
            plan = PatchPlan(mpp=2.0, size=64, children=2)
            return extract_features(pair, patch_encoder, encoder_hash(encoder), out, plan, resolution=resolution)  # type: ignore[arg-type, return-value]

        slide, backup = pair[0].path, tmp_path / "backup"
        (shutil.copytree if slide.is_dir() else shutil.copy)(slide, backup)
        first, second = changed_midway(steps(), ("extract", "a"), lambda: change(slide))  # type: ignore[misc]
        assert (first.path, first.reason) == (None, "changed") and second.path is not None
        assert of_name(out, "a") == [] and of_name(out, "b") == ["b.zarr"]
        shutil.rmtree(slide) if slide.is_dir() else slide.unlink(missing_ok=True)
        backup.rename(slide)
        first, second = last(steps())  # type: ignore[misc]
        assert first.path is not None and first.computed and not second.computed
        assert read_card(first.path).slide_fingerprint == fingerprint_of(slide)


class TestTrain:
    def test_a_slide_replaced_after_its_features_were_made_stops_the_run_and_the_next_call_takes_the_new_one(
        self, tiny_run: TinyRun, tmp_path: Path
    ) -> None:
        slides = Path(shutil.copytree(tiny_run.slides, tmp_path / "slides"))
        shutil.copytree(tiny_run.folder / "shared", tmp_path / "run/shared")
        replaced, other = slides / "demo-004.ome.tif", slides / "demo-000.ome.tif"
        with pytest.raises(SlideChangedError, match="demo-004"):
            for step in train_steps(slides, tiny_run.labels, tmp_path / "run", tiny_config(), device="cpu"):
                if step.job == ("fold-0", "stage 1"):
                    shutil.copy(other, replaced)
        run = train(slides, tiny_run.labels, tmp_path / "run", tiny_config(), device="cpu")
        assert load_bundle(run.model) and not run.failed
        assert read_card(tmp_path / "run/shared/lr/demo-004.zarr").slide_fingerprint == fingerprint_of(other)

    def test_a_look_at_a_slide_that_changes_says_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write_slide(tmp_path / "slides", "tif")
        overview = Slide.overview

        def changed_meanwhile(slide: Slide, side: int) -> Thumbnail:
            found = overview(slide, side)
            write_over(path)
            return found

        monkeypatch.setattr(Slide, "overview", changed_meanwhile)
        (look,) = last(screen_steps([SlideSource("a", path)]))
        assert "changed while it was read" in look.problem and not look.fingerprint


class TestIdentity:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (keep_time(write_over), "different content"),
            (grow, "different size"),
            (touch, "rewritten"),
            (lose, "can no longer be read"),
        ],
    )
    def test_what_changed_is_said(self, tmp_path: Path, change: Change, said: str) -> None:
        path = write_slide(tmp_path / "slides", "tif")
        with open_slide(path) as slide, pytest.raises(SlideChangedError) as caught, unchanged(slide):
            change(path)
        assert f"{said})" in str(caught.value)
        assert reason_of(caught.value) == "changed"

    def test_files_that_come_and_go_are_counted(self, tmp_path: Path) -> None:
        path = write_slide(tmp_path / "slides", "dicom")
        with (
            pytest.raises(SlideChangedError, match="a new file"),
            open_slide(path) as slide,
            unchanged(slide),
        ):
            add_level(path)
        with (
            pytest.raises(SlideChangedError, match="one of its files is missing"),
            open_slide(path) as slide,
            unchanged(slide),
        ):
            (path / "level-9").unlink()

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
    @given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def test_any_bit_of_a_small_slide_counts(self, tmp_path: Path, place: float, bit: int) -> None:
        path = tmp_path / "a.tif"
        if not path.is_file():
            write_pyramid(path, PIXELS[:256, :256])
        before, stat, data = identity_of(path), path.stat(), bytearray(path.read_bytes())
        data[int(place * len(data))] ^= 1 << bit
        path.write_bytes(data)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        after = identity_of(path)
        assert after.files == before.files and after.fingerprint != before.fingerprint

    def test_a_slide_is_identified_before_it_is_opened(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Else its head would be that of another file than the one that is identified."""
        for kind in ("tif", "zarr", "dicom"):
            path = write_slide(tmp_path / "slides", kind)
            before = fingerprint_of(path)
            real = opening.open_reader

            def opened(file: Path, path: Path = path, real: Callable[..., object] = real) -> object:
                reader = real(file)
                grow(path)
                return reader

            with monkeypatch.context() as patched:
                patched.setattr(opening, "open_reader", opened)
                with open_source(SlideSource("a", path)) as slide:
                    assert slide.fingerprint == before
                    with pytest.raises(SlideChangedError), unchanged(slide):
                        pass

    def test_content_is_read_again_only_where_the_files_changed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        slide, read, real = tmp_path / "a.svs", [], identity.fingerprint_of
        monkeypatch.setattr(identity, "fingerprint_of", lambda path: read.append(path) or real(path))
        slide.write_bytes(b"one")
        assert identity.find_identity(slide) == identity.find_identity(slide) and len(read) == 2  # written just now
        monkeypatch.setattr(identity, "SETTLED_NS", 0)
        first = identity.find_identity(slide)
        assert identity.find_identity(slide) == first and len(read) == 3
        identity_of(slide)
        with unchanged(SimpleNamespace(path=slide, identity=first)):
            pass
        assert len(read) == 5  # what is compared is read
        keep_time(lambda path: path.write_bytes(b"two"))(slide)
        assert identity.find_identity(slide).fingerprint == real(slide) != first.fingerprint and len(read) == 6

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes among its files")
    def test_a_slide_that_becomes_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        path = write_slide(tmp_path / "slides", "tif")
        with (
            pytest.raises(SlideChangedError, match="can no longer be read"),
            open_slide(path) as slide,
            unchanged(slide),
        ):
            path.unlink()
            os.mkfifo(path)
        with pytest.raises(SlideError, match="a device or a pipe"):
            open_slide(path)

    def test_other_errors_of_a_slide_that_stayed_come_through(self, tmp_path: Path) -> None:
        path = write_slide(tmp_path / "slides", "tif")
        for error in (SlideError("damaged"), ValueError("odd"), OutputError("full")):
            with open_slide(path) as slide, pytest.raises(type(error)) as caught, unchanged(slide):
                raise error
            assert caught.value is error

    def test_a_full_disk_is_no_change_of_the_slide(self, tmp_path: Path) -> None:
        path = write_slide(tmp_path / "slides", "tif")
        with open_slide(path) as slide, pytest.raises(OutputError), unchanged(slide):
            touch(path)
            raise OutputError("full")

    def test_work_that_is_stopped_is_not_compared(self, tmp_path: Path, bundle: Bundle) -> None:
        path = write_slide(tmp_path / "slides", "tif")
        steps = predict_steps(path, bundle, "cpu", batch_size=4)
        next(steps)
        touch(path)
        steps.close()  # type: ignore[attr-defined]
