"""Two models answer to one list: each keeps its answers and reviews, and the reader chooses whose are shown.

In a window, with a mouse and a keyboard.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QFileDialog

from lrmil.cohorts.labels import read_labels
from lrmil.models.bundle import Bundle, load_bundle, save_bundle
from lrmil.reviews.agreement import reader_agreement
from lrmil.reviews.log import read_reviews
from lrmil.slides.discovery import find_slides
from lrmil.steps import last
from napari_lrmil.docks.classify import ClassifySlide
from napari_lrmil.docks.worklist import Worklist
from napari_lrmil.jobs.classify_list import classify_list
from napari_lrmil.jobs.worker import JobWorker
from napari_lrmil.layers.build import KEY
from napari_lrmil.state import folders
from napari_lrmil.state.answers import answers_of
from napari_lrmil.state.known_models import note_model
from napari_lrmil.state.worklist import entries_of
from napari_lrmil.widgets.worklist.line import PROBABILITY, REVIEWED, STATUS
from support.events import click, press
from support.runs import tiny_bundle

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    import napari

pytestmark = pytest.mark.usefixtures("display")
MakeViewer = Callable[..., "napari.Viewer"]
NAMES = ["demo-000", "demo-001"]
WAIT = 60_000


@pytest.fixture(scope="module")
def slides(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two") / "slides"
    folder.mkdir()
    for name in NAMES:
        shutil.copy(cohort / f"slides/{name}.ome.tif", folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two models with weights of their own, named stain and scanner."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("stain", "scanner")):
        torch.manual_seed(seed)
        save_bundle(folder / name, tiny_bundle())
    return {name: folder / name for name in ("stain", "scanner")}


@pytest.fixture(scope="module")
def bundles(models: dict[str, Path]) -> dict[str, Bundle]:
    found = {name: load_bundle(folder) for name, folder in models.items()}
    assert len({bundle.sha256 for bundle in found.values()}) == 2
    return found


@pytest.fixture(scope="module")
def results(
    slides: Path, models: dict[str, Path], bundles: dict[str, Bundle], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The answers of stain."""
    out, entries = tmp_path_factory.mktemp("results"), entries_of(find_slides(slides))
    note_model(out, bundles["stain"].sha256, models["stain"])
    last(classify_list(entries, entries, bundles["stain"], slides, out, device="cpu"))
    return out


@pytest.fixture
def viewer(make_napari_viewer: MakeViewer, results: Path, qtbot: "QtBot") -> Iterator["napari.Viewer"]:
    shutil.copytree(results, folders.data_folder() / "results")
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1366, 768)
    yield viewer
    qtbot.waitUntil(lambda: not JobWorker._worker_set, timeout=WAIT)  # each holds what it reports to


@pytest.fixture
def open_list(viewer: "napari.Viewer", slides: Path, qtbot: "QtBot") -> Callable[[], Worklist]:
    """Open the worklist as at a start of napari, with the folder and the model of the last time."""

    def open_list() -> Worklist:
        folders.remember("worklist_folder", str(slides))
        _, worklist = viewer.window.add_plugin_dock_widget("napari-lrmil", "Worklist")
        worklist.session.asks_about_models = False  # several are tried in one window
        qtbot.waitUntil(lambda: not worklist.session.jobs.busy and not worklist.tools.device.looking, timeout=WAIT)
        settle(worklist, qtbot)
        viewer.window._qt_window.activateWindow()
        qtbot.waitUntil(lambda: QApplication.activeWindow() is viewer.window._qt_window, timeout=WAIT)
        return worklist

    return open_list


def settle(worklist: Worklist, qtbot: "QtBot") -> None:
    """Wait until nothing runs and the folder is read."""
    qtbot.waitUntil(lambda: not worklist.session.jobs.busy and not worklist.scanning, timeout=WAIT)
    qtbot.waitUntil(lambda: not worklist._update_timer.isActive(), timeout=WAIT)


def column(worklist: Worklist, number: int) -> list[str]:
    return [line.text(number) for line in worklist.table.lines]


def use(worklist: Worklist, folder: Path, qtbot: "QtBot", monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose a model folder with the button of the list."""
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    click(worklist.tools.choose_model)
    qtbot.waitUntil(lambda: worklist.session.model_folder == folder, timeout=WAIT)
    settle(worklist, qtbot)


def choose_answers(worklist: Worklist, name: str, qtbot: "QtBot") -> None:
    """Choose whose answers are listed, with the keyboard."""
    choice = worklist.tools.answers.choice
    choice.setFocus()
    QTest.keyClick(choice, {"stain": Qt.Key.Key_Down, "scanner": Qt.Key.Key_Up}[name])
    assert choice.currentText().startswith(name)
    settle(worklist, qtbot)


def open_first(worklist: Worklist, qtbot: "QtBot") -> None:
    worklist.view.setFocus()
    worklist.view.selectRow(0)
    QTest.keyClick(worklist.view, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: NAMES[0] in worklist.session.viewer.layers, timeout=WAIT)


def drawn(worklist: Worklist) -> set[str]:
    """The models of the overlays in the viewer."""
    about = (layer.metadata.get(KEY, {}) for layer in worklist.session.viewer.layers if layer.visible)
    return {one["bundle_sha256"] for one in about if "bundle_sha256" in one}


def shown_by(worklist: Worklist) -> str:
    shown = worklist.session.shown
    return "" if shown is None else shown.prediction.bundle_sha256


def files_of(worklist: Worklist, sha256: str) -> dict[Path, bytes]:
    """All that a model has answered to the slides of the list."""
    results = worklist.session.preferences.results
    places = [answers_of(results, entry.slide_id, entry.path)[sha256] for entry in worklist.table.entries]
    return {path: path.read_bytes() for place in places for path in place.glob("demo-*") if path.is_file()}


def test_answers_and_reviews_of_two_models_are_kept_and_chosen_by_name(
    open_list: Callable[[], Worklist],
    models: dict[str, Path],
    bundles: dict[str, Bundle],
    qtbot: "QtBot",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stain, scanner = (bundles[name].sha256 for name in ("stain", "scanner"))
    folders.remember("model_folder", str(models["stain"]))
    worklist = open_list()
    _, dock = worklist.session.viewer.window.add_plugin_dock_widget("napari-lrmil", "Classify slide")
    session, answers = worklist.session, worklist.tools.answers
    assert isinstance(dock, ClassifySlide) and not answers.isVisible(), "there is nothing to choose"
    worklist.tools.go_on.setChecked(False)
    open_first(worklist, qtbot)
    qtbot.waitUntil(lambda: drawn(worklist) == {stain}, timeout=WAIT)
    press(worklist, "a")
    agreed = f"agree, {worklist.table.lines[0].entry.label}"
    assert column(worklist, REVIEWED) == [agreed, ""]
    by_stain, files = column(worklist, PROBABILITY), files_of(worklist, stain)

    use(worklist, models["scanner"], qtbot, monkeypatch)
    assert column(worklist, STATUS) == ["other model"] * 2 and column(worklist, PROBABILITY) == ["", ""]
    assert column(worklist, REVIEWED) == [f"{agreed} (stain)", ""] and worklist.table.count()[0] == 0
    assert answers.isVisible() and answers.choice.currentText() == "scanner (in use)" and session.shown is None
    click(worklist.tools.run_all)
    settle(worklist, qtbot)
    by_scanner = column(worklist, PROBABILITY)
    assert column(worklist, STATUS) == ["ok", "ok"] and by_scanner != by_stain
    assert files_of(worklist, stain) == files, "nothing of the other model is replaced"
    qtbot.waitUntil(lambda: shown_by(worklist) == scanner and drawn(worklist) == {scanner}, timeout=WAIT)
    assert column(worklist, REVIEWED) == [f"{agreed} (stain)", ""] and all(line.waits for line in worklist.table.lines)

    choose_answers(worklist, "stain", qtbot)
    assert (column(worklist, PROBABILITY), column(worklist, REVIEWED)) == (by_stain, [agreed, ""])
    qtbot.waitUntil(lambda: shown_by(worklist) == stain and drawn(worklist) == {stain}, timeout=WAIT)
    assert session.bundle is not None and session.bundle.sha256 == scanner, "it is still the one that classifies"
    assert "Answer of stain" in dock.result.facts.text()
    choose_answers(worklist, "scanner", qtbot)
    assert column(worklist, PROBABILITY) == by_scanner
    qtbot.waitUntil(lambda: shown_by(worklist) == scanner and drawn(worklist) == {scanner}, timeout=WAIT)
    assert "Answer of" not in dock.result.facts.text()

    worklist.view.setFocus()
    press(worklist, "u")
    assert column(worklist, REVIEWED) == ["uncertain", ""]
    choose_answers(worklist, "stain", qtbot)
    assert column(worklist, REVIEWED) == [agreed, ""]
    said = {one.bundle_sha256: one.decision for one in read_reviews(session.review_log).reviews}
    assert said == {stain: "agree", scanner: "uncertain"}
    figures = {one.bundle_sha256: one.all_readers for one in reader_agreement(session.review_log).models}
    assert (figures[stain].agree, figures[stain].uncertain) == (1, 0)
    assert (figures[scanner].agree, figures[scanner].uncertain) == (0, 1)


def test_the_labels_of_the_reviews_become_a_table_for_a_training(
    open_list: Callable[[], Worklist],
    models: dict[str, Path],
    tmp_path: Path,
    qtbot: "QtBot",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folders.remember("model_folder", str(models["stain"]))
    worklist, out = open_list(), tmp_path / "labels.csv"
    worklist.tools.go_on.setChecked(False)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(out), ""))
    click(worklist.tools.labels)
    settle(worklist, qtbot)
    assert not out.exists() and worklist.message.text(), "there is no review yet, which is said"
    open_first(worklist, qtbot)
    qtbot.waitUntil(lambda: worklist.session.reviewing.up is not None, timeout=WAIT)
    press(worklist, "a")
    click(worklist.tools.labels)
    settle(worklist, qtbot)
    labels = read_labels(out)
    assert not labels.problems
    label = worklist.table.lines[0].entry.label
    assert [(one.slide_id, one.label) for one in labels.rows] == [(NAMES[0], label)]
    assert str(out) in worklist.message.text()


def test_a_list_opens_with_the_answers_of_its_own_model_and_offers_to_use_it(
    open_list: Callable[[], Worklist], models: dict[str, Path], bundles: dict[str, Bundle], qtbot: "QtBot"
) -> None:
    folders.remember("model_folder", str(models["scanner"]))  # it was used in another window
    worklist = open_list()
    session, answers = worklist.session, worklist.tools.answers
    assert session.bundle is not None and session.bundle.sha256 == bundles["scanner"].sha256
    assert column(worklist, STATUS) == ["ok", "ok"] and answers.choice.currentText() == "stain"
    open_first(worklist, qtbot)
    qtbot.waitUntil(lambda: shown_by(worklist) == bundles["stain"].sha256, timeout=WAIT)
    assert worklist.tools.model_name.text() == "scanner" and answers.use.text() == "Use stain"
    click(answers.use)
    settle(worklist, qtbot)
    assert session.bundle.sha256 == bundles["stain"].sha256 and shown_by(worklist) == session.bundle.sha256
    assert column(worklist, STATUS) == ["ok", "ok"] and not answers.isVisible()


def test_what_is_classified_is_by_the_model_in_use_whatever_was_listed(
    open_list: Callable[[], Worklist], models: dict[str, Path], bundles: dict[str, Bundle], qtbot: "QtBot"
) -> None:
    folders.remember("model_folder", str(models["scanner"]))
    worklist = open_list()
    files = files_of(worklist, bundles["stain"].sha256)
    click(worklist.tools.run_all)
    settle(worklist, qtbot)
    assert worklist.tools.answers.choice.currentText() == "scanner (in use)"
    assert {line.entry.row.model for line in worklist.table.lines if line.entry.row} == {bundles["scanner"].sha256}
    assert column(worklist, STATUS) == ["ok", "ok"] and files_of(worklist, bundles["stain"].sha256) == files


def test_a_slide_that_is_classified_alone_shows_the_answers_of_that_model(
    open_list: Callable[[], Worklist], models: dict[str, Path], bundles: dict[str, Bundle], qtbot: "QtBot"
) -> None:
    stain, scanner = (bundles[name].sha256 for name in ("stain", "scanner"))
    folders.remember("model_folder", str(models["scanner"]))
    worklist = open_list()
    files = files_of(worklist, stain)
    open_first(worklist, qtbot)
    qtbot.waitUntil(lambda: shown_by(worklist) == stain, timeout=WAIT)
    layer = worklist.session.chosen
    assert layer is not None and worklist.session.classify(layer, device="cpu")
    settle(worklist, qtbot)
    assert shown_by(worklist) == scanner and column(worklist, STATUS) == ["ok", "other model"]
    assert worklist.tools.answers.choice.currentText() == "scanner (in use)" and files_of(worklist, stain) == files
    choose_answers(worklist, "stain", qtbot)
    qtbot.waitUntil(lambda: shown_by(worklist) == stain, timeout=WAIT)
    assert column(worklist, STATUS) == ["ok", "ok"]


def test_answers_of_a_model_that_is_gone_are_shown_without_an_offer(
    open_list: Callable[[], Worklist], models: dict[str, Path], bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    note_model(folders.data_folder() / "results", bundles["stain"].sha256, tmp_path / "stain")
    save_bundle(tmp_path / "stain", bundles["scanner"])  # trained again into its folder
    folders.remember("model_folder", str(models["scanner"]))
    worklist = open_list()
    assert column(worklist, STATUS) == ["ok", "ok"] and worklist.tools.answers.isVisible()
    assert worklist.tools.answers.choice.currentText() == "stain" and not worklist.tools.answers.use.isVisible()
