"""The slide, mask and model that count are those on the screen, and nothing is replaced without a question.

In a window, with a mouse and a keyboard.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from lrmil.models.bundle import load_bundle, save_bundle
from napari_lrmil.docks.classify import ClassifySlide
from napari_lrmil.layers.slides import file_of
from napari_lrmil.session.opened_slide import find_tissue_layer, masks_of
from napari_lrmil.widgets.review_strip import ReviewStrip
from support.events import answering, click

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    import napari
    from napari.layers import Image

pytestmark = pytest.mark.usefixtures("display")
MakeViewer = Callable[..., "napari.Viewer"]
WAIT = 60_000


@pytest.fixture
def viewer(make_napari_viewer: MakeViewer) -> "napari.Viewer":
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1400, 950)
    return viewer


@pytest.fixture
def dock(viewer: "napari.Viewer", model_folder: Path, qtbot: "QtBot") -> ClassifySlide:
    _, dock = viewer.window.add_plugin_dock_widget("napari-lrmil", "Classify slide")
    dock.session.load_model(model_folder)
    qtbot.waitUntil(lambda: not dock.session.jobs.busy and not dock.device.looking, timeout=WAIT)
    return dock


@pytest.fixture
def namesakes(cohort: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two slides "HE" in the folders of two cases."""
    found = []
    for case, name in (("case-1", "demo-001"), ("case-2", "demo-002")):
        (tmp_path / case).mkdir()
        found.append(Path(shutil.copy(cohort / f"slides/{name}.ome.tif", tmp_path / case / "HE.ome.tif")))
    return found[0], found[1]


def open_in(viewer: "napari.Viewer", path: Path) -> "Image":
    (layer,) = viewer.open(str(path), plugin="napari-lrmil")
    return layer


def classify(dock: ClassifySlide, qtbot: "QtBot") -> None:
    dock.run.window().activateWindow()
    click(dock.run)
    qtbot.waitUntil(lambda: not dock.session.jobs.busy, timeout=WAIT)


def find_tissue(dock: ClassifySlide, qtbot: "QtBot") -> None:
    click(dock.tissue)
    qtbot.waitUntil(lambda: not dock.session.jobs.busy, timeout=WAIT)


def test_a_mask_never_counts_for_another_slide_of_the_same_name(
    viewer: "napari.Viewer", dock: ClassifySlide, namesakes: tuple[Path, Path], qtbot: "QtBot"
) -> None:
    for path in namesakes:
        open_in(viewer, path)
        find_tissue(dock, qtbot)
        mask = find_tissue_layer(viewer.layers, path)
        assert mask is not None and mask.visible
        if path == namesakes[0]:
            mask.data = np.where(np.arange(mask.data.shape[1]) < mask.data.shape[1] // 2, mask.data, 0)
            mask.name = "mine"
            painted = mask
    assert not painted.visible, "it belongs to a slide that is not on the screen"
    classify(dock, qtbot)
    assert dock.session.shown.source.path == namesakes[1] and "edited by hand" not in dock.result.facts.text()
    assert dock.session.shown.prediction.tissue_source == "segmented"
    dock.slides.layers.setCurrentText("HE")
    assert painted.visible
    classify(dock, qtbot)
    assert dock.session.shown.source.path == namesakes[0] and "edited by hand" in dock.result.facts.text()


def test_a_mask_of_another_extent_or_of_a_replaced_slide_is_refused_with_words(
    viewer: "napari.Viewer", dock: ClassifySlide, namesakes: tuple[Path, Path], qtbot: "QtBot"
) -> None:
    open_in(viewer, namesakes[0])
    find_tissue(dock, qtbot)
    mask = find_tissue_layer(viewer.layers, namesakes[0])
    whole = mask.data.copy()
    mask.data = whole[: len(whole) // 2]
    classify(dock, qtbot)
    assert dock.session.shown is None and "as large as HE.ome.tif" in dock.message.text()
    mask.data = np.ones_like(whole)
    shutil.copy(namesakes[1], namesakes[0])  # the scanner wrote the file again
    classify(dock, qtbot)
    assert dock.session.shown is None and "painted on another slide or an earlier" in dock.message.text()
    viewer.layers.remove(mask)
    classify(dock, qtbot)
    assert dock.session.shown is None and "was replaced since it was opened" in dock.message.text()


def test_the_active_visible_slide_is_the_one_that_is_classified(
    viewer: "napari.Viewer", dock: ClassifySlide, namesakes: tuple[Path, Path], qtbot: "QtBot"
) -> None:
    one, other = (open_in(viewer, path) for path in namesakes)
    assert dock.session.chosen is other and other.visible and not one.visible
    viewer.scene.camera.zoom = 50.0
    other.visible = one.visible = False  # the eyes of the layer list
    one.visible = True
    assert dock.session.chosen is one and dock.slides.layers.currentText() == one.name
    assert viewer.scene.camera.zoom < 5, "the whole slide is shown"
    viewer.layers.selection = {other}  # a click on its name
    assert dock.session.chosen is other and other.visible and not one.visible
    classify(dock, qtbot)
    assert dock.session.shown.source.path == file_of(other) and dock.overlay.layer.visible
    other.visible = False
    assert not dock.overlay.layer.visible and not dock.gallery.layer.visible and dock.overlay.visible.isChecked()
    other.visible = True
    assert dock.overlay.layer.visible and dock.gallery.layer.visible
    viewer.layers.selection = {one}
    assert dock.session.shown is None and not dock.overlay.layer.visible
    viewer.layers.remove(one)
    assert dock.session.chosen is other and dock.session.shown is not None and dock.overlay.layer.visible


def test_a_typed_model_is_loaded_or_refused_at_the_press(
    viewer: "napari.Viewer", dock: ClassifySlide, cohort: Path, tmp_path: Path, model_folder: Path, qtbot: "QtBot"
) -> None:
    save_bundle(tmp_path / "second", replace(load_bundle(model_folder), license="MIT"))
    before = dock.session.bundle
    open_in(viewer, cohort / "slides/demo-001.ome.tif")
    for typed, refused in ((tmp_path / "second", False), (tmp_path / "nowhere", True)):
        dock.model.path.selectAll()
        QTest.keyClicks(dock.model.path, str(typed))
        assert dock.model.waiting.isVisible()
        click(dock.run)
        qtbot.waitUntil(lambda: not dock.session.jobs.busy, timeout=WAIT)
        assert not dock.model.waiting.isVisible()
        if refused:
            assert "nowhere" in dock.message.text() and dock.model.path.text() == str(tmp_path / "second")
        else:
            qtbot.waitUntil(lambda: dock.session.shown is not None and dock.session.shown.complete, timeout=WAIT)
            assert dock.session.shown.prediction.bundle_sha256 == dock.session.bundle.sha256 != before.sha256


def test_a_painted_mask_is_replaced_only_after_a_question_and_comes_back(
    viewer: "napari.Viewer", dock: ClassifySlide, cohort: Path, qtbot: "QtBot"
) -> None:
    path = cohort / "slides/demo-001.ome.tif"
    open_in(viewer, path)
    find_tissue(dock, qtbot)
    mask = find_tissue_layer(viewer.layers, path)
    found, half = mask.data.copy(), mask.data.copy()
    half[: len(half) // 2] = 0
    mask.data = half.copy()
    for words, data in (("Cancel", half), ("Find the tissue again", found)):
        asked = answering(words)
        find_tissue(dock, qtbot)
        assert len(asked()) == 1 and (mask.data == data).all()
    assert "Ctrl+Z" in dock.message.text() and find_tissue_layer(viewer.layers, path) is mask
    viewer.window._qt_window.activateWindow()
    viewer.window._qt_viewer.canvas.native.setFocus()
    QTest.keyClick(viewer.window._qt_viewer.canvas.native, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert (mask.data == half).all()
    find_tissue_again = answering("Cancel")
    find_tissue(dock, qtbot)
    assert len(find_tissue_again()) == 1, "it counts as painted again"


def test_an_answer_says_when_the_mask_was_changed_since(
    viewer: "napari.Viewer", dock: ClassifySlide, cohort: Path, qtbot: "QtBot"
) -> None:
    path, (strip,) = cohort / "slides/demo-001.ome.tif", viewer.window._qt_window.findChildren(ReviewStrip)
    open_in(viewer, path)
    find_tissue(dock, qtbot)
    mask = find_tissue_layer(viewer.layers, path)
    assert mask.contour > 0 and mask.visible and viewer.layers.selection.active is mask
    tissue = np.argwhere(mask.data)[0]
    classify(dock, qtbot)
    assert not mask.visible and viewer.layers.selection.active is not mask
    assert dock.session.shown.complete and not dock.earlier_mask.isVisible()

    def says(*, earlier: bool) -> bool:
        return (dock.earlier_mask.isVisible(), "another tissue mask" in strip.answer.text()) == (earlier, earlier)

    mask.visible = True
    mask.paint(tissue, 0)
    assert says(earlier=True)
    mask.undo()
    assert says(earlier=False)
    mask.redo()
    assert says(earlier=True)
    classify(dock, qtbot)
    assert says(earlier=False) and dock.session.shown.prediction.tissue_source == "given" and not mask.visible
    viewer.layers.remove(mask)
    assert says(earlier=True), "the next answer would be one with the automatic mask"


def test_a_mask_that_is_refused_stays_in_view(
    viewer: "napari.Viewer", dock: ClassifySlide, cohort: Path, qtbot: "QtBot"
) -> None:
    open_in(viewer, cohort / "slides/demo-001.ome.tif")
    find_tissue(dock, qtbot)
    (mask,) = masks_of(viewer.layers, cohort / "slides/demo-001.ome.tif")
    mask.data = np.zeros_like(mask.data)
    classify(dock, qtbot)
    assert dock.session.shown is None and mask.visible
