"""What the dock says is always of the slide that is chosen, of the last action, and of the model in use."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.components import ViewerModel

from lrmil.errors import OutputError, ResolutionError
from lrmil.slides.opening import open_slide
from lrmil.steps import Step
from napari_lrmil.docks.classify import ClassifySlide
from napari_lrmil.docks.worklist import Worklist
from napari_lrmil.layers.slides import slides_in
from napari_lrmil.session import session as session_module
from napari_lrmil.session.opened_slide import find_tissue_layer
from napari_lrmil.session.session import Session
from napari_lrmil.state.preferences import Preferences
from support.slides import coordinate_pixels, overwrite, segment_of, write_pyramid

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

Finish = Callable[[Session], None]
TISSUE = np.clip(np.random.default_rng(0).normal((200, 130, 180), 25, (1024, 1024, 3)), 1, 255).astype(np.uint8)


@pytest.fixture
def answered(dock: ClassifySlide, cohort: Path, finish: Finish) -> ClassifySlide:
    """The slide demo-001 has been classified."""
    dock.slides.open_file(str(cohort / "slides/demo-001.ome.tif"))
    dock.start()
    finish(dock.session)
    assert dock.result.bars and dock.overlay.layer is not None
    return dock


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return write_pyramid(tmp_path / "bare.tif", TISSUE, None, style="plain")


@pytest.fixture
def other(cohort: Path) -> Path:
    return cohort / "slides/demo-002.ome.tif"


def says_nothing(dock: ClassifySlide) -> bool:
    """No label, bar, overlay, square or review is on show."""
    layers = [dock.overlay.layer, dock.gallery.layer]
    return (
        not dock.result.bars
        and "not been classified" in dock.result.facts.text()
        and not any(layer is not None and layer.visible for layer in layers)
        and not dock.gallery.list.count()
        and not dock.review.review.isEnabled()
    )


def partial_then(then: Callable[[], Any], shown: Any) -> Callable[..., Iterator[Step[Any]]]:
    """Stand in for the Steps of a classification that is half done when `then` is called."""
    half = replace(shown, prediction=replace(shown.prediction, status="partial", label="", probabilities={}))

    def steps(*arguments: object, **named: object) -> Iterator[Step[Any]]:
        yield Step(("x",), 1, 2, "patches", half)
        then()
        yield Step(("x",), 2, 2, "patches", half)

    return steps


class TestTheAnswer:
    def test_a_slide_that_is_refused_never_stands_beside_the_answer_of_another(
        self, answered: ClassifySlide, bare: Path
    ) -> None:
        answered.slides.open_file(str(bare))
        answered.run.click()
        assert "um/px" in answered.message.text() and says_nothing(answered)

    def test_it_goes_when_another_slide_is_chosen_and_comes_back_with_its_own(
        self, answered: ClassifySlide, other: Path, finish: Finish
    ) -> None:
        first = answered.session.shown
        answered.review.override.click()
        answered.review.note.setPlainText("not saved yet")
        answered.slides.open_file(str(other))
        assert says_nothing(answered) and answered.review.note.toPlainText() == ""
        answered.start()
        finish(answered.session)
        second = answered.session.shown
        assert second is not None and second.prediction.slide_id == "demo-002"
        answered.slides.layers.setCurrentText("demo-001")
        assert answered.session.shown is first and "demo-001" in answered.result.facts.text()
        assert answered.review.note.toPlainText() == "not saved yet" and answered.review.decision == "override"
        assert answered.overlay.layer is not None and answered.overlay.layer.visible
        answered.slides.layers.setCurrentText("demo-002")
        assert answered.session.shown is second

    def test_it_goes_with_its_slide(self, answered: ClassifySlide) -> None:
        layers = answered.session.viewer.layers
        layers.remove(layers["demo-001"])
        assert says_nothing(answered)

    def test_it_waits_until_its_slide_is_chosen_again(
        self, dock: ClassifySlide, cohort: Path, other: Path, finish: Finish
    ) -> None:
        dock.slides.open_file(str(other))
        dock.slides.open_file(str(cohort / "slides/demo-001.ome.tif"))
        dock.start()
        dock.slides.layers.setCurrentText("demo-002")
        finish(dock.session)
        assert says_nothing(dock) and "demo-001" in dock.message.text()
        dock.slides.layers.setCurrentText("demo-001")
        assert dock.session.shown is not None and dock.session.shown.complete and dock.result.bars

    def test_another_model_s_does_not_come_back(self, answered: ClassifySlide, other: Path, model_folder: Path) -> None:
        bundle = answered.session.bundle
        assert bundle is not None
        answered.slides.open_file(str(other))
        answered.session.take_model(model_folder, replace(bundle, sha256="another"))
        answered.slides.layers.setCurrentText("demo-001")
        assert says_nothing(answered)

    def test_a_new_dock_is_on_the_slide_whose_answer_is_shown(
        self, answered: ClassifySlide, other: Path, viewer: ViewerModel, qtbot: "QtBot"
    ) -> None:
        answered.slides.open_file(str(other))
        answered.slides.layers.setCurrentText("demo-001")
        again = ClassifySlide(viewer)
        qtbot.addWidget(again)
        assert again.slides.layers.currentText() == "demo-001" and again.result.bars and answered.result.bars

    def test_its_overlay_lies_above_the_slide_that_was_opened_after_it(
        self, answered: ClassifySlide, other: Path, finish: Finish
    ) -> None:
        layers = answered.session.viewer.layers
        drawn = answered.session.viewer.add_points([[0, 0]])
        answered.slides.open_file(str(other))
        answered.start()
        finish(answered.session)
        overlay = answered.overlay.layer, answered.gallery.layer
        assert list(layers) == [layers["demo-001"], drawn, layers["demo-002"], *overlay]
        answered.slides.layers.setCurrentText("demo-001")
        assert list(layers) == [layers["demo-002"], layers["demo-001"], drawn, *overlay]

    def test_it_follows_the_slide_that_the_worklist_opens(
        self, answered: ClassifySlide, cohort: Path, tmp_path: Path, viewer: ViewerModel, qtbot: "QtBot", finish: Finish
    ) -> None:
        (tmp_path / "list").mkdir()
        for name in ("demo-001.ome.tif", "demo-002.ome.tif"):
            shutil.copy(cohort / "slides" / name, tmp_path / "list")
        answered.slides.open_file(str(tmp_path / "list/demo-001.ome.tif"))
        answered.start()
        finish(answered.session)
        viewer.layers.clear()
        worklist = Worklist(viewer)
        qtbot.addWidget(worklist)
        worklist.open_folder(tmp_path / "list")
        qtbot.waitUntil(lambda: [line.entry.status for line in worklist.table.lines] == ["ok", "new"], timeout=60_000)
        for place, name in ((0, "demo-001"), (1, "demo-002"), (0, "demo-001")):
            worklist.open_slide(worklist.table.lines[place].entry)
            qtbot.waitUntil(lambda name=name: [one.name for one in slides_in(viewer.layers)] == [name], timeout=60_000)
            qtbot.waitUntil(lambda: not worklist.message.text().startswith("Opening"), timeout=60_000)
            assert answered.slides.layers.currentText() == name
            shown = answered.session.shown
            assert says_nothing(answered) if place else shown is not None and name in answered.result.facts.text()

    @pytest.mark.parametrize("how", ["fails", "is cancelled"])
    def test_half_of_it_does_not_stay_when_the_job_ends(
        self, answered: ClassifySlide, finish: Finish, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        session = answered.session

        def then() -> None:
            if how == "fails":
                raise OutputError("Expected room to write. Got a full disk; free some.")
            assert session.jobs.job is not None
            session.jobs.job.quit()

        seen: list[str] = []
        session.shown_changed.connect(lambda: seen.append(answered.result.facts.text()))
        monkeypatch.setattr(session_module, "shown_steps", partial_then(then, session.shown))
        answered.run.click()
        finish(session)
        assert any("still reading" in text for text in seen) and says_nothing(answered)
        assert ("full disk" in answered.message.text()) == (how == "fails")


class TestMessages:
    def test_what_was_said_goes_with_the_next_action(
        self, dock: ClassifySlide, bare: Path, other: Path, tmp_path: Path, model_folder: Path, finish: Finish
    ) -> None:
        def fail() -> None:
            dock.slides.open_file(str(tmp_path / "missing.svs"))
            assert "missing.svs" in dock.message.text()

        fail()
        dock.slides.open_file(str(bare))
        assert dock.message.isHidden(), "a slide was opened"
        fail()
        dock.slides.mpp.setValue(0.5)
        dock.slides.apply.click()
        assert dock.message.isHidden(), "its um/px were set"
        fail()
        dock.model.load()
        finish(dock.session)
        assert dock.message.isHidden(), "a model was loaded"
        dock.slides.open_file(str(other))
        fail()
        dock.slides.layers.setCurrentText("bare")
        assert dock.message.isHidden(), "another slide was chosen"

    def test_an_export_that_fails_is_said_once(self, answered: ClassifySlide, tmp_path: Path, finish: Finish) -> None:
        (tmp_path / "file").write_text("")
        case = answered.review.case
        case.ask_for_folder = lambda: tmp_path / "file"  # type: ignore[method-assign]
        case.export_button.click()
        finish(answered.session)
        assert "file" in case.message.text() and answered.message.text() == ""
        case.ask_for_folder = lambda: tmp_path / "case"  # type: ignore[method-assign]
        case.export_button.click()
        finish(answered.session)
        assert case.message.text().startswith("Exported")

    def test_a_model_that_is_refused_leaves_the_path_of_the_one_in_use(
        self, dock: ClassifySlide, model_folder: Path, tmp_path: Path, finish: Finish
    ) -> None:
        refused = tmp_path / "refused"
        shutil.copytree(model_folder, refused)
        (refused / "bundle.json").write_text("{")
        dock.model.path.setText(str(refused))
        dock.model.load()
        finish(dock.session)
        assert str(refused) in dock.message.text() and dock.model.path.text() == str(model_folder)


class TestResolution:
    def test_an_implausible_one_is_said_in_the_core_s_words(
        self, dock: ClassifySlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        warned: list[str] = []
        monkeypatch.setattr("napari.utils.notifications.show_warning", warned.append)
        path = write_pyramid(tmp_path / "odd.ome.tif", TISSUE, 8.0)
        with open_slide(path) as slide, pytest.raises(ResolutionError) as caught:
            _ = slide.mpp
        words = str(caught.value).partition(" Give the um/px yourself")[0]
        assert "8 um (OME PhysicalSize)" in words
        dock.slides.open_file(str(path))
        dock.start()
        for text in (dock.slides.resolution.text(), dock.message.text(), *warned):
            assert text.startswith(words)
        assert len(warned) == 1

    def test_what_is_typed_counts_without_set_and_can_be_corrected(
        self, dock: ClassifySlide, bare: Path, finish: Finish
    ) -> None:
        dock.slides.open_file(str(bare))
        dock.slides.mpp.setValue(0.01)
        dock.start()
        assert "0.05 to 5" in dock.message.text() and not dock.session.jobs.busy
        dock.slides.mpp.setValue(0.5)
        dock.start()
        finish(dock.session)
        shown = dock.session.shown
        assert shown is not None and (shown.prediction.mpp, shown.prediction.mpp_source) == (0.5, "override")
        assert not dock.slides.mpp.isHidden() and dock.slides.mpp.value() == 0.5
        dock.slides.mpp.setValue(1.0)
        dock.slides.apply.click()
        assert says_nothing(dock), "the answer was made at another um/px"
        dock.start()
        finish(dock.session)
        assert dock.session.shown is not None and dock.session.shown.prediction.mpp == 1.0

    def test_a_tissue_mask_stays_on_its_tissue_when_they_are_corrected(
        self, dock: ClassifySlide, bare: Path, finish: Finish, qtbot: "QtBot"
    ) -> None:
        dock.slides.open_file(str(bare))
        # napari hides a warning of making labels, which fails while a thread hides others
        qtbot.waitUntil(lambda: not dock.device.looking and dock.overview.map.picture is not None, timeout=60_000)
        dock.slides.mpp.setValue(0.25)
        dock.find_tissue()
        finish(dock.session)
        mask = find_tissue_layer(dock.session.viewer.layers, bare)
        assert mask is not None and dock.slides.layer is not None
        before = mask.scale / dock.slides.layer.scale, (mask.translate / 0.25).tolist()
        dock.slides.mpp.setValue(0.5)
        dock.slides.apply.click()
        assert tuple(dock.slides.layer.scale) == (0.5, 0.5)
        np.testing.assert_allclose(mask.scale / 0.5, before[0])
        np.testing.assert_allclose(mask.translate / 0.5, before[1])

    def test_a_field_that_waits_for_one_slide_is_empty_for_the_next(
        self, dock: ClassifySlide, bare: Path, tmp_path: Path
    ) -> None:
        dock.slides.open_file(str(bare))
        dock.slides.mpp.setValue(0.5)
        dock.session.viewer.add_points([[0, 0]])
        assert dock.slides.mpp.value() == 0.5, "being typed"
        dock.slides.open_file(str(write_pyramid(tmp_path / "next.tif", TISSUE, None, style="plain")))
        assert dock.slides.mpp.value() == 0


def test_a_results_folder_that_is_changed_counts_at_the_next_run(
    dock: ClassifySlide, other: Path, tmp_path: Path, finish: Finish, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    chosen = Preferences(results_folder=str(tmp_path / "file"))
    monkeypatch.setattr(session_module, "read_preferences", lambda: chosen)
    dock.slides.open_file(str(other))
    dock.start()
    finish(dock.session)
    assert "file" in dock.message.text() and says_nothing(dock)
    chosen = Preferences(results_folder=str(tmp_path / "elsewhere"))
    dock.start()
    finish(dock.session)
    shown = dock.session.shown
    assert shown is not None and shown.out.parent == tmp_path / "elsewhere" and shown.out.is_dir()


def test_what_is_lost_is_hatched_in_the_overview(dock: ClassifySlide, tmp_path: Path, qtbot: "QtBot") -> None:
    path = write_pyramid(tmp_path / "torn.tif", coordinate_pixels(1024, 1024), tile=64, factors=())
    for index in range(128):  # the upper half
        offset, count = segment_of(path, 0, index)
        overwrite(path, offset, b"x" * count)
    dock.slides.open_file(str(path))
    qtbot.waitUntil(lambda: dock.overview.map.picture is not None, timeout=60_000)
    picture = dock.overview.map.picture
    assert picture is not None
    image = picture.toImage()
    across = [image.pixelColor(x, 40).getRgb()[:3] for x in range(image.width())]
    assert len(set(across)) == 2 and all(red == green == blue < 255 for red, green, blue in across)
    below = image.pixelColor(10, image.height() - 10)
    assert below.red() != below.blue(), "what could be read is drawn"


def test_a_slide_that_is_renamed_stays_the_chosen_one(
    answered: ClassifySlide, other: Path, finish: Finish, qtbot: "QtBot"
) -> None:
    first = answered.slides.layer
    answered.slides.open_file(str(other))
    second = answered.slides.layer
    assert first is not None and second is not None and second is not first
    second.name = "right colon"
    assert answered.slides.layer is second and answered.slides.layers.currentText() == "right colon"
    first.name = "left colon"
    assert answered.slides.layer is second, "another slide's new name does not choose it"
    assert [answered.slides.layers.itemText(row) for row in range(2)] == [
        one.name for one in slides_in(answered.session.viewer.layers)
    ]
    answered.start()
    finish(answered.session)
    assert answered.session.shown is not None and answered.session.shown.source.path == other
    answered.slides.layers.setCurrentText("left colon")
    assert answered.slides.layer is first and answered.session.shown.source.path != other


def test_a_slide_without_resolution_has_no_magnification(answered: ClassifySlide, bare: Path) -> None:
    assert "um/px" in answered.overview.magnification.text()
    answered.slides.open_file(str(bare))
    assert answered.overview.magnification.isHidden() and not answered.overview.magnification.text()
    answered.slides.layers.setCurrentIndex(0)
    assert not answered.overview.magnification.isHidden()


def test_no_map_takes_room_before_a_slide_is_open(dock: ClassifySlide, other: Path) -> None:
    assert dock.overview.isHidden()
    dock.slides.open_file(str(other))
    assert not dock.overview.isHidden()
    dock.session.viewer.layers.clear()
    assert dock.overview.isHidden()
