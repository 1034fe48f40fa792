"""Classify slide: from a file to an answer, cancelled, failed and taken up again, on a viewer without a window."""

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QPointF, Qt

from lrmil.prediction.files import read_prediction
from lrmil.prediction.one import predict_one
from lrmil.reviews.log import read_reviews
from lrmil.slides.source import SlideSource
from lrmil.steps import Step, last
from napari_lrmil.docks.classify import EARLIER_REGIONS, NO_TISSUE, STOPPING, ClassifySlide
from napari_lrmil.layers.build import KEY
from napari_lrmil.session import session as session_module
from napari_lrmil.session.opened_slide import find_tissue_layer
from napari_lrmil.session.reviewing import key_of
from napari_lrmil.session.session import Session
from napari_lrmil.widgets.classify.result_box import facts as facts_of
from support.cli import write_outline
from support.runs import ON_CPU
from support.slides import COHORT_SIDE, coordinate_pixels, write_pyramid

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from napari.layers import Shapes

Finish = Callable[[Session], None]


@pytest.fixture
def widget(viewer: ViewerModel, session: Session, qtbot: "QtBot") -> ClassifySlide:
    widget = ClassifySlide(viewer)
    qtbot.addWidget(widget)
    return widget


@pytest.fixture
def slide(cohort: Path) -> Path:
    return cohort / "slides/demo-001.ome.tif"


@pytest.fixture
def ready(widget: ClassifySlide, slide: Path, model_folder: Path, finish: Finish) -> ClassifySlide:
    """A slide is open and a model is loaded."""
    widget.slides.open_file(str(slide))
    widget.model.path.setText(str(model_folder))
    widget.model.load()
    finish(widget.session)
    assert widget.session.bundle is not None, widget.message.text()
    return widget


def pictures(widget: ClassifySlide) -> list[np.ndarray[Any, Any]]:
    """Middle pixel of each picture in the gallery."""
    found = []
    for row in range(widget.gallery.list.count()):
        image = widget.gallery.list.item(row).icon().pixmap(40, 40).toImage()
        color = image.pixelColor(20, 20)
        found.append(np.array([color.red(), color.green(), color.blue()]))
    return found


def test_a_slide_is_classified_as_on_the_command_line(
    ready: ClassifySlide, slide: Path, tmp_path: Path, finish: Finish, qtbot: "QtBot"
) -> None:
    partial: list[bool] = []
    session = ready.session
    session.shown_changed.connect(lambda: partial.append(session.shown.complete) if session.shown else None)
    ready.run.click()
    assert ready.session.jobs.busy and not ready.run.isEnabled() and ready.cancel.isEnabled()
    assert ready.progress.text() == "classify demo-001", "words, before it is known how long it takes"
    finish(ready.session)
    assert partial[-1] is True and partial.count(False) >= 2, "the attention filled in while the slide was read"
    bundle, shown = ready.session.bundle, ready.session.shown
    assert bundle is not None and shown is not None
    expected = last(predict_one(SlideSource("demo-001", slide), bundle, tmp_path / "cli", ON_CPU))
    assert shown.prediction.probabilities == pytest.approx(expected.probabilities, abs=1e-6)
    kept = read_prediction(shown.out, "demo-001")
    assert kept is not None and kept.probabilities == shown.prediction.probabilities

    assert {name: bar.value() for name, bar in ready.result.bars.items()} == {
        name: round(1000 * p) for name, p in expected.probabilities.items()
    }
    facts = ready.result.facts.text()
    for words in (f"{len(expected.patches)} patches used", "OME PhysicalSize", "0.5 um/px", "mm²", " s"):
        assert words in facts
    assert "Checksum of the slide: not compared" in facts
    compared = replace(expected, checksum=f"sha256 {'0123456789abcdef' * 4}")
    assert "Checksum of the slide: sha256 0123456789ab..." in facts_of(compared), "no wider than a dock"
    assert "not a diagnosis" in ready.result.notice.text()
    layer = ready.overlay.layer
    assert layer is not None and layer.colorbar.visible
    assert np.count_nonzero(~np.isnan(layer.data)) == len(expected.patches)
    qtbot.waitUntil(lambda: not ready.gallery.reading, timeout=60_000)
    count = min(8, len(expected.patches))
    assert ready.gallery.list.count() == count
    assert ready.gallery.layer is not None and ready.gallery.layer.nshapes == count
    assert any((picture != pictures(ready)[0]).any() for picture in pictures(ready)), "pictures, not placeholders"
    assert ready.run.isEnabled() and not ready.cancel.isEnabled() and ready.progress.isHidden()


def test_the_model_card_is_shown(ready: ClassifySlide) -> None:
    card = ready.model.card.text()
    bundle = ready.session.bundle
    assert bundle is not None
    for words in ("no, yes", "64 px", "2 um/px", "not a medical device", bundle.sha256[:12]):
        assert words in card


def test_the_overlay_follows_its_controls(ready: ClassifySlide, finish: Finish) -> None:
    ready.start()
    finish(ready.session)
    layer = ready.overlay.layer
    assert layer is not None and layer.name == "attention, percentile in slide"
    assert layer.contrast_limits == [0, 1] and layer.opacity == pytest.approx(0.6)
    ready.overlay.toggle()
    assert not layer.visible
    ready.overlay.toggle()
    ready.overlay.change_opacity(-20)
    assert layer.visible and layer.opacity == pytest.approx(0.4)
    ready.overlay.kind.setCurrentIndex(1)
    layer = ready.overlay.layer
    assert layer is not None and layer.name == "attention, raw (sums to 1)" and ready.session.shown is not None
    assert np.nansum(layer.data) == pytest.approx(1, rel=1e-3)
    assert layer.contrast_limits[1] == pytest.approx(ready.session.shown.prediction.patch_attention.max(), rel=1e-4)
    assert "not evidence" in ready.overlay.scale.text()


def test_the_gallery_jumps_to_its_patches(ready: ClassifySlide, finish: Finish) -> None:
    ready.start()
    finish(ready.session)
    shown, camera = ready.session.shown, ready.session.viewer.scene.camera
    assert shown is not None
    order = np.argsort(-shown.prediction.patch_attention, kind="stable")

    def centre(position: int) -> list[float]:
        corner = shown.prediction.patches.level0_yx[position]  # type: ignore[union-attr]
        side = shown.prediction.patches.size_level0  # type: ignore[union-attr]
        return [(value + side / 2 - 0.5) * 0.5 for value in corner.tolist()]

    for rank in (0, 1):
        ready.gallery.step(1)
        assert list(camera.center[-2:]) == pytest.approx(centre(order[rank]))
    ready.gallery.step(-1)
    assert list(camera.center[-2:]) == pytest.approx(centre(order[0]))
    ready.gallery.step(-1)
    assert ready.gallery.list.currentRow() == ready.gallery.list.count() - 1, "around the end"
    layer, camera = ready.gallery.layer, ready.session.viewer.scene.camera
    assert layer is not None
    widths = []
    for zoom in (1.0, 4.0):
        camera.zoom = zoom
        widths.append(zoom * np.array(layer.edge_width))  # px on the screen
    np.testing.assert_allclose(widths, 2)
    camera.zoom = 1e-3  # seen from afar, a line does not fill its square
    assert max(layer.edge_width) < np.ptp(layer.data[0], axis=0).max() / 4
    ready.gallery.ends.setCurrentIndex(1)
    ready.gallery.step(1)
    assert list(camera.center[-2:]) == pytest.approx(centre(int(np.argmin(shown.prediction.patch_attention))))
    assert ready.gallery.layer is not None and ready.gallery.layer.name == "patches: lowest attention"


def test_an_edited_tissue_mask_is_used(ready: ClassifySlide, finish: Finish, cohort: Path) -> None:
    ready.start()
    finish(ready.session)
    whole = ready.session.shown
    ready.tissue.click()
    finish(ready.session)
    layer = find_tissue_layer(ready.session.viewer.layers, cohort / "slides/demo-001.ome.tif")
    assert layer is not None and whole is not None
    ready.start()
    finish(ready.session)
    assert ready.session.shown is not None and ready.session.shown.prediction.tissue_source == "segmented"
    layer.data[: layer.data.shape[0] // 2] = 0
    ready.start()
    finish(ready.session)
    shown = ready.session.shown
    assert shown.prediction.tissue_source == "given" and "edited by hand" in ready.result.facts.text()
    assert 0 < len(shown.prediction.patches) < len(whole.prediction.patches)
    assert shown.prediction.patches.level0_yx[:, 0].min() > 300


def test_a_slide_without_resolution_asks_for_it(
    widget: ClassifySlide, model_folder: Path, tmp_path: Path, finish: Finish, cohort: Path
) -> None:
    from lrmil.slides.opening import open_slide

    with open_slide(cohort / "slides/demo-001.ome.tif") as whole:
        pixels = np.asarray(whole.pyramid()[0])
    widget.slides.open_file(str(write_pyramid(tmp_path / "bare.tif", pixels, None, style="plain")))
    widget.model.path.setText(str(model_folder))
    widget.model.load()
    finish(widget.session)
    assert not widget.slides.mpp.isHidden() and "um/px of the slide is unknown" in widget.slides.resolution.text()
    widget.start()
    assert (
        not widget.session.jobs.busy and "um/px of level 0" in widget.message.text() and not widget.message.isHidden()
    )
    widget.slides.apply.click()
    assert "0.05 to 5" in widget.message.text()
    widget.slides.mpp.setValue(0.5)
    widget.slides.apply.click()
    layer = widget.slides.layer
    assert layer is not None and tuple(layer.scale) == (0.5, 0.5) and "override" in widget.slides.resolution.text()
    widget.start()
    finish(widget.session)
    shown = widget.session.shown
    assert shown is not None and (shown.prediction.mpp, shown.prediction.mpp_source) == (0.5, "override")


def held_steps(held: threading.Event, closed: threading.Event) -> Callable[..., Iterator[Step[Any]]]:
    """Work that reports four patches of 5000, and goes no further before `held` is set."""

    def steps(*arguments: object, **options: object) -> Iterator[Step[Any]]:
        try:
            for done in range(5000):
                if done == 4:
                    assert held.wait(60)
                yield Step(("slow",), done, 5000, "patches")
        finally:
            closed.set()

    return steps


def test_cancel_stops_and_everything_works_again(
    ready: ClassifySlide, finish: Finish, qtbot: "QtBot", monkeypatch: pytest.MonkeyPatch
) -> None:
    held, closed = threading.Event(), threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr(session_module, "shown_steps", held_steps(held, closed))
        ready.run.click()
        qtbot.waitUntil(lambda: ready.progress.value() == 3, timeout=20_000)
        assert ready.progress.maximum() == 5000 and "of 5000 patches" in ready.progress.text()
        ready.cancel.click()
        assert ready.message.text() == STOPPING
        held.set()
        finish(ready.session)
    assert ready.message.isHidden() and not ready.message.text(), "it is not stopping any more"
    assert closed.is_set() and ready.progress.value() < 4999
    assert ready.run.isEnabled() and ready.session.shown is None
    ready.run.click()
    finish(ready.session)
    assert ready.session.shown is not None and ready.session.shown.complete


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "CPU"),
        (RuntimeError("cuDNN error"), "cuDNN error"),
        (OSError(5, "Input/output error"), "Input/output error"),
    ],
)
def test_an_error_is_one_sentence_and_the_buttons_work_again(
    ready: ClassifySlide, finish: Finish, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fails(*arguments: object, **options: object) -> Iterator[Step[Any]]:
        yield Step(("x",), 1, 2)
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(session_module, "shown_steps", fails)
        ready.run.click()
        finish(ready.session)
    assert words in ready.message.text() and not ready.message.isHidden() and ready.run.isEnabled()
    ready.run.click()
    finish(ready.session)
    assert ready.message.isHidden() and ready.session.shown is not None


def test_glass_and_coarse_slides_are_refused_with_a_remedy(
    ready: ClassifySlide, tmp_path: Path, finish: Finish
) -> None:
    glass = np.full((1024, 1024, 3), 243, np.uint8)
    ready.slides.open_file(str(write_pyramid(tmp_path / "glass.tif", glass, 0.5)))
    ready.start()
    finish(ready.session)
    assert "tissue" in ready.message.text() and ready.run.isEnabled()
    ready.find_tissue()
    finish(ready.session)
    assert ready.message.text().startswith(NO_TISSUE)
    ready.slides.open_file(str(write_pyramid(tmp_path / "coarse.tif", coordinate_pixels(600, 600), 4.0)))
    assert ready.slides.layer is not None and ready.slides.layer.name == "coarse", "the slide opened last is chosen"
    ready.start()
    finish(ready.session)
    assert "coarse.tif" in ready.message.text() and ready.run.isEnabled()


def test_a_broken_model_folder_is_said(ready: ClassifySlide, tmp_path: Path, finish: Finish) -> None:
    ready.model.path.setText(str(tmp_path))
    ready.model.load()
    finish(ready.session)
    assert "bundle.json" in ready.message.text() and ready.session.bundle is not None, "the model before stays"


def test_a_broken_slide_is_said(ready: ClassifySlide, tmp_path: Path) -> None:
    (tmp_path / "broken.svs").write_bytes(b"II*\0" + bytes(50))
    ready.slides.open_file(str(tmp_path / "broken.svs"))
    assert "broken.svs" in ready.message.text() and len(ready.session.viewer.layers) == 1


def test_a_slide_that_vanishes_is_said(ready: ClassifySlide, slide: Path, tmp_path: Path, finish: Finish) -> None:
    import shutil

    copy = shutil.copy(slide, tmp_path / "gone.ome.tif")
    ready.slides.open_file(str(copy))
    Path(copy).unlink()
    ready.start()
    finish(ready.session)
    assert "gone.ome.tif" in ready.message.text() and ready.run.isEnabled()


def test_a_new_widget_takes_the_session_up(
    ready: ClassifySlide, viewer: ViewerModel, finish: Finish, qtbot: "QtBot", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Napari makes a new widget when a dock was closed; the job goes on meanwhile."""
    ready.start()
    again = ClassifySlide(viewer)
    qtbot.addWidget(again)
    assert again.session is ready.session and again.cancel.isEnabled()
    finish(ready.session)
    assert again.result.bars and again.model.card.text() == ready.model.card.text()
    assert len([layer for layer in viewer.layers if layer.metadata.get(KEY, {}).get("kind")]) == 1


def test_another_model_takes_the_answer_of_the_last_one_away(
    ready: ClassifySlide, model_folder: Path, finish: Finish
) -> None:
    ready.run.click()
    finish(ready.session)
    bundle, shown = ready.session.bundle, ready.session.shown
    assert bundle is not None and shown is not None
    ready.session.take_model(model_folder, bundle)
    assert ready.session.shown is shown, "the same model, loaded again"
    ready.session.take_model(model_folder, replace(bundle, sha256="another"))
    assert ready.session.shown is None and not ready.result.bars
    assert ready.overlay.layer is None or not ready.overlay.layer.visible


def test_a_model_is_remembered(ready: ClassifySlide, model_folder: Path, finish: Finish, qtbot: "QtBot") -> None:
    other = ViewerModel()
    later = ClassifySlide(other)
    qtbot.addWidget(later)
    finish(later.session)
    assert later.session.model_folder == model_folder and later.session.bundle is not None


def test_the_overview_follows_the_camera_and_moves_it(ready: ClassifySlide, qtbot: "QtBot") -> None:
    overview, camera = ready.overview, ready.session.viewer.scene.camera
    qtbot.waitUntil(lambda: overview.map.picture is not None, timeout=60_000)
    um = COHORT_SIDE * 0.5
    camera.center = (0, um / 4 - 0.25, 3 * um / 4 - 0.25)  # a quarter down, three quarters right
    camera.zoom = 4.0
    view = overview.map.view
    assert (view.center().y(), view.center().x()) == pytest.approx((0.25, 0.75), abs=1e-3)
    height, width = ready.session.viewer.canvas.size
    assert (view.height(), view.width()) == pytest.approx((height / 4 / um, width / 4 / um))
    assert "0.25 um/px" in overview.magnification.text() and "40x" in overview.magnification.text()
    overview.map.clicked(QPointF(0.5, 0.25))
    assert list(camera.center[-2:]) == pytest.approx([um / 4 - 0.25, um / 2 - 0.25])


def test_devices_are_listed(ready: ClassifySlide, qtbot: "QtBot") -> None:
    qtbot.waitUntil(lambda: not ready.device.looking, timeout=60_000)
    names = [ready.device.devices.itemData(i) for i in range(ready.device.devices.count())]
    assert names[0] == "auto" and "cpu" in names and ready.device.device == "auto"


def test_importing_the_plugin_imports_no_torch() -> None:
    import subprocess

    program = "import sys, napari_lrmil.docks.classify; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", program], timeout=120).returncode == 0


def test_keys_are_bound_to_the_dock(ready: ClassifySlide) -> None:
    from qtpy.QtGui import QShortcut

    bound = {shortcut.key().toString(): shortcut for shortcut in ready.findChildren(QShortcut)}
    assert {"H", ",", ".", "N", "Shift+N"} <= set(bound)
    assert all(shortcut.context() == Qt.ShortcutContext.WindowShortcut for shortcut in bound.values())
    bound["H"].activated.emit()
    assert not ready.overlay.visible.isChecked()


def test_an_unsure_answer_is_uncertain(ready: ClassifySlide, finish: Finish) -> None:
    ready.session.preferences = replace(ready.session.preferences, uncertain_below=0.99)
    ready.start()
    finish(ready.session)
    assert ready.session.shown is not None and ready.session.shown.prediction.status == "uncertain"
    assert "uncertain: the highest probability" in ready.result.facts.text()


class TestRegions:
    """A part of the slide is classified, and every line says so."""

    def choose(self, ready: ClassifySlide, row: int) -> None:
        ready.where.parts.setCurrentIndex(row)

    def draw(self, ready: ClassifySlide, share: float) -> "Shapes":
        """Draw the upper part of the slide, in its microns."""
        slide = ready.slides.layer
        assert slide is not None
        height, width = slide.extent.world[1]
        bottom = share * height
        return ready.session.viewer.add_shapes([[[0, 0], [0, width], [bottom, width], [bottom, 0]]], name="mine")

    def test_inside_outside_and_whole(self, ready: ClassifySlide, finish: Finish) -> None:
        shapes = self.draw(ready, 0.5)
        assert [ready.where.parts.itemText(row) for row in range(3)] == ["whole slide", "inside: mine", "outside: mine"]
        found = []
        for row in (0, 1, 2):
            self.choose(ready, row)
            ready.start()
            finish(ready.session)
            assert ready.session.shown is not None, ready.message.text()
            prediction = ready.session.shown.prediction
            found.append((ready.result.facts.text().splitlines()[0], len(prediction.patches)))
        words = [line for line, _ in found]
        assert "region" not in words[0] and words[1].endswith("(inside 1 region)")
        assert words[2].endswith("(outside 1 region)")
        assert 0 < found[1][1] < found[0][1] and 0 < found[2][1] < found[0][1]
        whole = ready.session.shown.out.parent
        kept = read_prediction(whole, "demo-001")
        assert kept is not None and kept.regions is None, "the answer for the whole slide stays"
        ready.session.reviewing.decide(ready.session.shown, "agree")
        (review,) = read_reviews(ready.session.review_log).reviews
        assert review.regions == "outside 1 region"
        assert key_of(ready.session.shown) == review.key != (review.slide_fingerprint, review.bundle_sha256)
        ready.session.viewer.layers.remove(shapes)
        assert ready.where.where is None and ready.where.parts.count() == 1

    def test_shapes_that_were_changed_since_are_said(self, ready: ClassifySlide, finish: Finish) -> None:
        shapes = self.draw(ready, 0.5)
        self.choose(ready, 1)
        ready.start()
        finish(ready.session)
        assert ready.earlier_mask.text() == ""
        before = shapes.data[0].copy()
        shapes.add([before * 0.5])
        assert ready.earlier_mask.text() == EARLIER_REGIONS
        shapes.selected_data = {1}
        shapes.remove_selected()
        assert ready.earlier_mask.text() == ""
        self.choose(ready, 2)
        assert ready.earlier_mask.text() == EARLIER_REGIONS

    def test_what_is_no_region_is_refused_with_words(self, ready: ClassifySlide, finish: Finish) -> None:
        ready.session.viewer.add_shapes([[[0, 0], [5, 5]]], shape_type="line", name="mine")
        self.choose(ready, 1)
        ready.start()
        finish(ready.session)
        assert ready.session.shown is None and "lines only" in ready.message.text()

    def test_each_slide_has_its_own_choice(self, ready: ClassifySlide, cohort: Path) -> None:
        first = ready.slides.layer
        self.draw(ready, 0.5)
        self.choose(ready, 2)
        ready.slides.open_file(str(cohort / "slides/demo-002.ome.tif"))
        assert ready.slides.layer is not first and ready.where.parts.count() == 1 and ready.where.where is None
        ready.session.choose(first)
        assert ready.where.parts.currentText() == "outside: mine"

    def test_annotations_are_imported(self, ready: ClassifySlide, tmp_path: Path) -> None:
        ready.where.import_file(write_outline(tmp_path, "qupath"))
        assert ready.where.parts.currentText() == "inside: regions: qupath.geojson"
        (tmp_path / "bad.geojson").write_text("{}")
        ready.where.import_file(tmp_path / "bad.geojson")
        assert "bad.geojson" in ready.message.text()
        assert ready.where.parts.currentText() == "inside: regions: qupath.geojson"
