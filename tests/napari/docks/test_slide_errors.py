"""What the core says of bad slides and disks arrives in the windows word for word, and the next slide is classified."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.components import ViewerModel

from lrmil.errors import LrmilError
from lrmil.io import atomic
from lrmil.models.bundle import load_bundle
from lrmil.prediction import one
from lrmil.prediction.inference import predict
from lrmil.slides.discovery import find_slides
from lrmil.slides.slide import Slide
from lrmil.steps import Step
from napari_lrmil.docks.classify import ClassifySlide
from napari_lrmil.docks.worklist import Worklist
from napari_lrmil.jobs.classify_list import classify_list
from napari_lrmil.session.session import Session
from napari_lrmil.state import folders
from napari_lrmil.state.worklist import Entry, entries_of
from support.slides import overwrite, segment_of, write_pyramid

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

Finish = Callable[[Session], None]
TISSUE = np.clip(np.random.default_rng(0).normal((200, 130, 180), 25, (1024, 1024, 3)), 1, 255).astype(np.uint8)


def damaged(path: Path, levels: dict[int, list[int]]) -> Path:
    """Write a slide of tissue with 64 px tiles, and spoil tiles of some levels."""
    write_pyramid(path, TISSUE, tile=64, factors=(4, 16))
    for level, segments in levels.items():
        for index in segments:
            offset, count = segment_of(path, level, index)
            overwrite(path, offset, b"x" * count)
    return path


class TestClassifySlide:
    def test_a_slide_that_lost_too_much_says_the_core_s_sentence_and_the_next_one_is_classified(
        self, dock: ClassifySlide, model_folder: Path, cohort: Path, tmp_path: Path, finish: Finish
    ) -> None:
        half = {0: list(range(128)), 1: list(range(8)), 2: [0]}
        path = damaged(tmp_path / "torn.tif", half)
        with pytest.raises(LrmilError, match="unreadable patches") as caught:
            predict(path, load_bundle(model_folder), "cpu")
        dock.slides.open_file(str(path))
        dock.start()
        finish(dock.session)
        assert dock.message.text() == str(caught.value)
        assert dock.session.shown is None and dock.run.isEnabled() and not dock.cancel.isEnabled()
        dock.slides.open_file(str(cohort / "slides/demo-001.ome.tif"))
        dock.start()
        finish(dock.session)
        assert dock.message.text() == "" and dock.session.shown is not None and dock.session.shown.complete

    def test_a_level_that_is_damaged_is_told_among_the_facts(
        self, dock: ClassifySlide, model_folder: Path, tmp_path: Path, finish: Finish
    ) -> None:
        path = damaged(tmp_path / "level.tif", {1: list(range(16))})
        dock.slides.open_file(str(path))
        dock.start()
        finish(dock.session)
        note = "Level 1 is damaged. The finer level 0 was read instead in"
        assert note in dock.result.facts.text()
        assert predict(path, load_bundle(model_folder), "cpu").notes[0].startswith(note)

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [("empty.svs", b"", "is empty"), ("text.svs", b"not a slide", "OpenSlide cannot open")],
    )
    def test_what_is_no_slide_is_said_when_it_is_opened(
        self, dock: ClassifySlide, tmp_path: Path, name: str, content: bytes, words: str
    ) -> None:
        (tmp_path / name).write_bytes(content)
        told: list[str] = []
        dock.session.jobs.failed.connect(told.append)
        dock.slides.open_file(str(tmp_path / name))
        assert words in " ".join([dock.message.text(), *told, dock.slides.resolution.text()])
        assert not dock.session.jobs.busy

    def test_a_full_disk_is_one_sentence_and_the_next_try_succeeds(
        self, dock: ClassifySlide, cohort: Path, finish: Finish, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dock.slides.open_file(str(cohort / "slides/demo-001.ome.tif"))
        with monkeypatch.context() as patch:
            patch.setattr(atomic, "flush", full)
            dock.start()
            finish(dock.session)
        assert "No space left on device" in dock.message.text()
        dock.start()
        finish(dock.session)
        assert dock.message.text() == "" and dock.session.shown is not None and dock.session.shown.complete


class TestWorklist:
    def steps(self, folder: Path, model_folder: Path, results: Path) -> Iterator[Step[list[Entry]]]:
        entries = entries_of(find_slides(folder))
        return classify_list(entries, entries, load_bundle(model_folder), folder, results, device="cpu")

    @pytest.fixture
    def folder(self, cohort: Path, tmp_path: Path) -> Path:
        (tmp_path / "slides").mkdir()
        for name in ("demo-000", "demo-001", "demo-002"):
            shutil.copy(cohort / "slides" / f"{name}.ome.tif", tmp_path / "slides")
        return tmp_path / "slides"

    def test_a_bug_that_one_slide_brings_out_is_its_row_and_the_log_s_traceback(
        self, folder: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = one.classify_steps

        def broken(slide: Slide, *arguments: object, **options: object) -> Iterator[Step[object]]:
            if slide.slide_id == "demo-001":
                raise RuntimeError("a bug in a decoder")
            yield from real(slide, *arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(one, "classify_steps", broken)
        answers = list(self.steps(folder, model_folder, tmp_path / "results"))[-1].result
        assert answers is not None
        assert [entry.status for entry in answers] == ["ok", "failed", "ok"]
        assert "RuntimeError: a bug in a decoder" in answers[1].message
        assert "Traceback" in folders.log_file().read_text(encoding="utf-8")

    def test_a_slide_that_changes_while_it_is_read_is_a_failed_row_and_keeps_no_answer(
        self, folder: Path, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = one.classify_steps

        def disturbed(slide: Slide, *arguments: object, **options: object) -> Iterator[Step[object]]:
            for step in real(slide, *arguments, **options):  # type: ignore[arg-type]
                yield step
                if slide.slide_id == "demo-001":
                    os.utime(slide.path, (1e9, 1e9))

        with monkeypatch.context() as patched:
            patched.setattr(one, "classify_steps", disturbed)
            answers = list(self.steps(folder, model_folder, tmp_path / "results"))[-1].result
        assert answers is not None
        assert [(entry.status, entry.reason) for entry in answers] == [("ok", ""), ("failed", "changed"), ("ok", "")]
        assert "demo-001.ome.tif changed while it was read" in answers[1].message
        assert not list((tmp_path / "results").rglob("demo-001.*"))
        answers = list(self.steps(folder, model_folder, tmp_path / "results"))[-1].result
        assert answers is not None and [entry.status for entry in answers] == ["ok"] * 3

    def test_a_full_disk_ends_the_list_with_a_sentence_and_it_goes_on_later(
        self,
        viewer: ViewerModel,
        session: Session,
        folder: Path,
        model_folder: Path,
        qtbot: "QtBot",
        finish: Finish,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        session.bundle, session.model_folder = load_bundle(model_folder), model_folder
        worklist = Worklist(viewer)
        qtbot.addWidget(worklist)
        worklist.open_folder(folder)
        qtbot.waitUntil(lambda: len(worklist.table.lines) == 3, timeout=60_000)
        told: list[str] = []
        session.jobs.failed.connect(told.append)
        finish(session)
        with monkeypatch.context() as patch:
            patch.setattr(atomic, "flush", full)
            worklist.classify_all()
            finish(session)
        assert len(told) == 1 and "No space left on device" in told[0] and "Traceback" not in told[0]
        worklist.classify_all()
        finish(session)
        assert [line.entry.status for line in worklist.table.lines] == ["ok"] * 3


def full(path: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
