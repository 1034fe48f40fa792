"""What needs a canvas: loading, the overlay's place on screen, a screenshot, the docks by their names, closing.

Run under xvfb where there is no display.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from qtpy.QtGui import QPainter, QPicture

from lrmil.errors import SlideError
from lrmil.prediction.inference import predict
from lrmil.prediction.prediction import Prediction
from lrmil.raster import Raster
from lrmil.runs.progress import EpochRecord
from lrmil.slides.opening import open_slide
from lrmil.steps import Step
from napari_lrmil.layers.build import attention_layer, attention_values, slide_layer
from napari_lrmil.session import session as session_module
from napari_lrmil.session.viewers import session_of
from napari_lrmil.widgets.worklist.line import COLUMNS
from support.recording import open_recorded
from support.runs import TinyRun, tiny_bundle
from support.slides import coordinate_pixels, write_pyramid

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    import napari

pytestmark = pytest.mark.usefixtures("display")
MakeViewer = Callable[..., "napari.Viewer"]
SIDE = 1024  # px: the coordinates in coordinate_pixels do not repeat
CELL = 128  # level-0 px of a patch: 64 px at 1.0 um/px on a slide of 0.5
MARGIN = 12  # level-0 px from a cell's border; 1/10 of a cell, where half a cell is asked
WAIT = 60_000
MARGIN_OF_LABEL = 4  # px around the text of an axis label


@pytest.fixture
def slide_path(tmp_path: Path) -> Path:
    return write_pyramid(tmp_path / "coordinates.tif", coordinate_pixels(SIDE, SIDE), 0.5, factors=(2, 4, 16))


@pytest.fixture
def prediction(slide_path: Path) -> Prediction:
    """Of a model that sees the whole slide, not only its tissue."""
    everywhere = Raster.on_lattice(np.ones((4, 4), bool), cell_level0=SIDE / 4, origin_yx=(0.0, 0.0))
    return predict(slide_path, tiny_bundle(mpp=1.0), "cpu", tissue=everywhere)


def shot(viewer: "napari.Viewer") -> NDArray[np.uint8]:
    return np.asarray(viewer.screenshot(canvas_only=True, flash=False))[..., :3]


@pytest.mark.parametrize("zoom", ["whole", 3.0, 9.0])
def test_the_cell_under_the_cursor_is_the_patch_the_model_saw(
    make_napari_viewer: MakeViewer, slide_path: Path, prediction: Prediction, zoom: float | str
) -> None:
    viewer = make_napari_viewer(show=True)
    with open_slide(slide_path) as slide:
        data, keywords, _ = slide_layer(slide)
        viewer.add_image(data, **{**keywords, "interpolation2d": "nearest"})
        values, overlay, _ = attention_layer(prediction, kind="percentile", opacity=1.0)
        layer = viewer.add_image(values, **overlay)
        viewer.reset_view()
        if zoom != "whole":
            viewer.scene.camera.center, viewer.scene.camera.zoom = (0, 301.0, 222.0), float(zoom)
        layer.visible = False
        bare = shot(viewer).astype(int)
        layer.visible = True
        drawn = shot(viewer).astype(int)
        canvas = viewer.window._qt_viewer.canvas
        scale = np.array(bare.shape[:2]) / canvas.size  # device pixels per canvas pixel
        checked = 0
        for y, x in np.random.default_rng(0).uniform(0, 1, (400, 2)) * canvas.size:
            row, col = (np.array([y, x]) * scale).astype(int)
            if bare[row, col, 2] not in range(126, 131):  # beside the slide
                continue
            place = bare[row, col, :2] * 4 + 2  # the level-0 pixel that is drawn there, as its colour says
            if ((place % CELL < MARGIN) | (place % CELL > CELL - MARGIN)).any():
                continue
            saw = np.flatnonzero((prediction.patches.index == place // CELL).all(1))
            (patch,) = saw.tolist()
            rank = attention_values(prediction, "percentile")[0][tuple(prediction.patches.index[patch])]
            world = canvas._map_canvas2world((x, y), canvas.view)
            assert layer.get_value(world, world=True) == pytest.approx(rank)
            color = layer.colormap.map(np.array([rank]))[0]
            expected = 255 * color[:3] * color[3] + bare[row, col] * (1 - color[3])
            assert np.abs(drawn[row, col] - expected).max() <= 4
            checked += 1
        assert checked > 60, "the view must show the slide"


def test_a_slide_is_read_where_it_is_looked_at(make_napari_viewer: MakeViewer, tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "large.tif", coordinate_pixels(6144, 6144), 0.5, factors=(4, 16))
    viewer = make_napari_viewer(show=True)
    slide, reads = open_recorded(path)
    with slide:
        data, keywords, _ = slide_layer(slide)
        layer = viewer.add_image(data, **keywords)
        viewer.reset_view()
        shot(viewer)
        assert reads and 0 not in {read.level for read in reads}, "the whole slide is drawn from a coarse level"
        viewer.scene.camera.center, viewer.scene.camera.zoom = (0, 1500.0, 1500.0), 4.0
        shot(viewer)
        assert layer.data_level == 0 and 0 < [read.level for read in reads].count(0) <= 9


def test_files_are_opened_by_the_reader_of_the_manifest(
    make_napari_viewer: MakeViewer, slide_path: Path, tmp_path: Path
) -> None:
    viewer = make_napari_viewer(show=True)
    svs = write_pyramid(tmp_path / "slide.svs", coordinate_pixels(600, 600), 0.25, style="aperio")
    (layer,) = viewer.open(str(svs), plugin="napari-lrmil")
    assert layer.name == "slide" and tuple(layer.scale) == (0.25, 0.25)
    assert layer.source.path == str(svs) and layer.source.reader_plugin == "napari-lrmil"
    assert shot(viewer).max() > 0


def test_the_chosen_reader_says_what_is_wrong_and_leaves_other_pictures_to_napari_s_own(
    make_napari_viewer: MakeViewer, tmp_path: Path
) -> None:
    viewer = make_napari_viewer()
    (tmp_path / "text.tif").write_text("no image")
    with pytest.raises(SlideError, match=r"text\.tif"):
        viewer.open(str(tmp_path / "text.tif"), plugin="napari-lrmil")
    tifffile.imwrite(tmp_path / "sixteen.tif", np.ones((64, 64), np.uint16))
    (layer,) = viewer.open(str(tmp_path / "sixteen.tif"), plugin="napari")
    assert layer.data.dtype == np.uint16
    with pytest.raises(ValueError, match="refused the file"):
        viewer.open(str(tmp_path / "sixteen.tif"), plugin="napari-lrmil")


@pytest.mark.parametrize("name", ["Classify slide", "Worklist", "Train from folder"])
def test_the_docks_open_by_their_manifest_names(make_napari_viewer: MakeViewer, name: str, qtbot: "QtBot") -> None:
    viewer = make_napari_viewer(show=True)
    dock, widget = viewer.window.add_plugin_dock_widget("napari-lrmil", name)
    qtbot.waitUntil(widget.isVisible, timeout=WAIT)
    assert name in dock.windowTitle()
    assert session_of(viewer).viewer is session_of(viewer).viewer
    qtbot.waitUntil(lambda: not session_of(viewer).jobs.busy, timeout=WAIT)


def test_a_slide_is_classified_in_the_window(
    make_napari_viewer: MakeViewer, cohort: Path, model_folder: Path, qtbot: "QtBot"
) -> None:
    viewer = make_napari_viewer(show=True)
    _, widget = viewer.window.add_plugin_dock_widget("napari-lrmil", "Classify slide")
    widget.slides.open_file(str(cohort / "slides/demo-001.ome.tif"))
    session = widget.session
    session.load_model(model_folder)
    qtbot.waitUntil(lambda: not session.jobs.busy, timeout=WAIT)
    before = shot(viewer)
    widget.run.click()
    qtbot.waitUntil(lambda: not session.jobs.busy and not widget.gallery.reading, timeout=WAIT)
    assert session.shown is not None and session.shown.complete, widget.message.text()
    after = shot(viewer)
    assert (before != after).mean() > 0.05, "the overlay is drawn"
    assert viewer.canvas.overlays.scale_bar.visible and widget.overlay.layer is not None
    qtbot.waitUntil(lambda: not widget.device.looking, timeout=WAIT)


def test_closing_during_a_run_ends_it_cleanly(
    make_napari_viewer: MakeViewer, cohort: Path, model_folder: Path, qtbot: "QtBot", monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer = make_napari_viewer(show=True)
    _, widget = viewer.window.add_plugin_dock_widget("napari-lrmil", "Classify slide")
    widget.slides.open_file(str(cohort / "slides/demo-001.ome.tif"))
    session = widget.session
    session.load_model(model_folder)
    qtbot.waitUntil(lambda: not session.jobs.busy and not widget.device.looking, timeout=WAIT)
    started, held, closed = list[int](), threading.Event(), threading.Event()

    def steps(*arguments: object, **named: object) -> Iterator[Step[Any]]:
        try:
            for done in range(5000):
                started.append(done)
                if done == 6:
                    assert held.wait(60)
                yield Step(("slow",), done, 5000, "patches")
        finally:
            closed.set()

    monkeypatch.setattr(session_module, "shown_steps", steps)
    widget.run.click()
    qtbot.waitUntil(lambda: len(started) == 7, timeout=WAIT)
    job = session.jobs.job
    viewer.close()
    assert job is not None
    job.quit()  # what napari's own question at closing does
    held.set()
    assert closed.wait(WAIT / 1000) and len(started) < 5000
    qtbot.waitUntil(lambda: not session.jobs.busy, timeout=WAIT)


@pytest.mark.parametrize("name", ["Classify slide", "Train from folder"])
def test_a_dock_below_the_worklist_gets_its_share_of_the_height(
    make_napari_viewer: MakeViewer, name: str, qtbot: "QtBot"
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1400, 900)
    _, worklist = viewer.window.add_plugin_dock_widget("napari-lrmil", "Worklist")
    qtbot.waitUntil(worklist.isVisible, timeout=WAIT)
    _, below = viewer.window.add_plugin_dock_widget("napari-lrmil", name)
    qtbot.waitUntil(below.isVisible, timeout=WAIT)
    qtbot.wait(500)  # until the heights are settled
    assert below.height() > 250 and worklist.height() > 250
    qtbot.waitUntil(lambda: not worklist.tools.device.looking, timeout=WAIT)


def test_the_worklist_cuts_no_column_name_and_has_fields_of_one_height(
    make_napari_viewer: MakeViewer, qtbot: "QtBot"
) -> None:
    viewer = make_napari_viewer(show=True)  # napari's style sets the font, and a height of fields
    _, worklist = viewer.window.add_plugin_dock_widget("napari-lrmil", "Worklist")
    qtbot.waitUntil(worklist.isVisible, timeout=WAIT)
    header = worklist.view.horizontalHeader()
    for column in range(header.count()):  # with the arrow of the sorted column
        assert header.sectionSize(column) >= header.sectionSizeHint(column), COLUMNS[column]
    assert worklist.tools.words.height() == worklist.tools.choice.height() == worklist.tools.next.height()
    qtbot.waitUntil(lambda: not worklist.tools.device.looking, timeout=WAIT)


def test_the_curves_cut_no_label(make_napari_viewer: MakeViewer, tiny_run: TinyRun, qtbot: "QtBot") -> None:
    viewer = make_napari_viewer(show=True)
    _, train = viewer.window.add_plugin_dock_widget("napari-lrmil", "Train from folder")
    train.cohort.choose_run(tiny_run.folder)
    qtbot.waitUntil(train.curves.isVisible, timeout=WAIT)
    small = EpochRecord("fold-0", "lr_encoder", 1, {"train_loss": 0.000142, "val_loss": 0.000098})
    train.curves.show_epochs((small, replace(small, epoch=2)))
    qtbot.wait(100)
    for plot in (train.curves.stage1, train.curves.stage2):
        left, bottom = plot.getAxis("left"), plot.getAxis("bottom")
        label = left.label.mapRectToParent(left.label.boundingRect())
        picture = QPicture()
        painter = QPainter(picture)
        _, _, texts = left.generateDrawSpecs(painter)
        painter.end()
        assert texts and label.right() - MARGIN_OF_LABEL <= min(rect.left() for rect, _, _ in texts)
        epoch = bottom.label.mapRectToScene(bottom.label.boundingRect())
        assert epoch.bottom() <= plot.sceneRect().bottom()


def test_the_result_of_a_training_is_readable_in_a_narrow_dock(
    make_napari_viewer: MakeViewer, tiny_run: TinyRun, qtbot: "QtBot"
) -> None:
    viewer = make_napari_viewer(show=True)
    _, train = viewer.window.add_plugin_dock_widget("napari-lrmil", "Train from folder")
    train.cohort.choose_run(tiny_run.folder)
    qtbot.waitUntil(train.result.table.isVisible, timeout=WAIT)
    table, header = train.result.table, train.result.table.horizontalHeader()
    for column in range(1, table.columnCount()):
        needed = max(table.sizeHintForColumn(column), header.sectionSizeHint(column))
        assert table.columnWidth(column) >= needed, table.horizontalHeaderItem(column).text()
    assert table.columnWidth(0) >= 50 and not table.horizontalScrollBar().isVisible()
