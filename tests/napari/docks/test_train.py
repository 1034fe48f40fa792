"""Training from a folder in a window: checked, run as a process of its own, watched, stopped, resumed, handed on."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from napari.components import ViewerModel
from napari.utils.theme import get_theme
from qtpy.compat import isalive
from qtpy.QtCore import QCoreApplication, QEvent, QUrl
from qtpy.QtGui import QColor, QDesktopServices

from lrmil.cohorts import screening
from lrmil.cohorts.columns import TableOptions
from lrmil.io.settings import read_toml, write_toml
from lrmil.runs.control import is_running, request_stop
from lrmil.runs.plan_file import write_plan
from lrmil.slides.slide import Slide
from lrmil.slides.source import SlideSource
from napari_lrmil.docks.train import LOOKING, TrainFromFolder
from napari_lrmil.jobs import training_process
from napari_lrmil.jobs.training_process import has_process
from napari_lrmil.session.session import Session
from napari_lrmil.session.viewers import session_of
from napari_lrmil.state import folders
from napari_lrmil.widgets.train.cohort import EMPTY, propose_run
from support.events import answering, click
from support.runs import TinyRun, stamp_of, tiny_config

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

PATIENCE = 120_000
LONG = {"mil__fit__epochs": 5000, "mil__fit__patience": 5000}  # lasts until it is stopped
VIEWER = """
import sys
from pathlib import Path
from lrmil.io.settings import read_toml
from napari_lrmil.jobs.training_process import start_training
run, slides, labels, settings = map(Path, sys.argv[1:])
start_training(run, slides, labels, read_toml(settings), "cpu")
"""
Make = Callable[..., TrainFromFolder]
Begin = Callable[..., None]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the child process, so that it leaves the machine's other cores alone."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """A run folder; a training that a failing test leaves behind is stopped."""
    folder = tmp_path / "run"
    yield folder
    end = time.monotonic() + 60
    while (is_running(folder) or has_process(folder)) and time.monotonic() < end:
        request_stop(folder)
        time.sleep(0.2)


@pytest.fixture
def make(qtbot: "QtBot") -> Iterator[Make]:
    """Make the dock of a viewer; a test may delete it."""
    made: list[TrainFromFolder] = []

    def make(viewer: ViewerModel) -> TrainFromFolder:
        made.append(TrainFromFolder(viewer))
        return made[-1]

    yield make
    for widget in filter(isalive, made):
        delete(widget)


@pytest.fixture
def widget(make: Make, viewer: ViewerModel, session: Session) -> TrainFromFolder:
    return make(viewer)


@pytest.fixture
def begin(cohort: Path, run: Path, qtbot: "QtBot") -> Callable[..., None]:
    """Fill the form in and press Start."""

    def begin(widget: TrainFromFolder, **settings: object) -> None:
        choose(widget, cohort / "slides", cohort / "labels.csv", run, qtbot)
        widget.settings.show_config(tiny_config(**settings))
        widget.settings.device.devices.setCurrentIndex(widget.settings.device.devices.findData("cpu"))
        widget.start_button.click()

    return begin


def choose(widget: TrainFromFolder, slides: Path, labels: Path, run: Path | None, qtbot: "QtBot") -> None:
    widget.cohort.slides.setText(str(slides))
    widget.cohort.labels.setText(str(labels))
    if run is not None:
        widget.cohort.choose_run(run)
    qtbot.waitUntil(lambda: widget.cohort.verdict.text() not in ("Checking...", EMPTY), timeout=PATIENCE)
    qtbot.waitUntil(lambda: widget.settings.device.devices.findData("cpu") >= 0, timeout=PATIENCE)


def points(widget: TrainFromFolder) -> tuple[int, int]:
    """Points drawn in either plot."""
    plots = (widget.curves.stage1, widget.curves.stage2)
    first, second = (sum(len(item.getData()[0]) for item in plot.listDataItems()) for plot in plots)
    return first, second


def delete(widget: TrainFromFolder) -> None:
    widget.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)  # type: ignore[arg-type]


def kill(run: Path) -> None:
    """End the training on a folder as a system does that is short of memory."""
    process = training_process._started[run]
    process.kill()
    process.wait()


def by_name(widget: TrainFromFolder) -> dict[str, list[str]]:
    """Rows of the table of results."""
    return {name: values for name, *values in widget.result.table.texts}


@pytest.mark.long
def test_start_curves_finish_and_the_model_is_handed_on(
    widget: TrainFromFolder, begin: Begin, run: Path, session: Session, qtbot: "QtBot", finish: Callable[..., None]
) -> None:
    assert not widget.start_button.isEnabled() and widget.why.text() == widget.start_button.toolTip() != ""
    begin(widget)
    assert widget.active and not widget.start_button.isEnabled() and widget.stop_button.isEnabled()
    assert "Starting" in widget.progress.state.text()
    assert read_toml(run / "settings.toml") == tiny_config() and folders.recall("run_folder") == str(run)
    qtbot.waitUntil(lambda: not widget.active, timeout=PATIENCE)
    assert widget.status.state == "finished" and widget.message.text() == ""
    assert not widget.curves_group.isHidden() and points(widget) == (4, 4)  # two epochs, training and validation
    labels = [plot.getAxis("bottom").labelText for plot in (widget.curves.stage1, widget.curves.stage2)]
    assert labels == ["optimisation step", "epoch"]
    assert [list(item.getData()[0]) for item in widget.curves.stage1.listDataItems()] == [[2, 4]] * 2
    figures = json.loads((run / "metrics.json").read_text())
    rows = by_name(widget)
    for place, arm in enumerate(("hr_teacher", "lr_undistilled", "lr_student")):
        assert rows["AUROC"][place] == f"{figures[arm]['auroc']:.3f}"
        low, high = figures[arm]["auroc_ci"]
        assert rows["95 % interval by patient"][place] == f"{low:.2f}-{high:.2f}"
        assert rows["MB/slide"][place] == f"{figures[arm]['bytes_per_slide'] / 1e6:.2f}"
        assert rows["patches/slide"][place] == f"{figures[arm]['patches_per_slide']:.0f}"
    assert not widget.result_group.isHidden() and widget.result.report.isEnabled()
    assert widget.start_button.text() == "Train again" and widget.start_button.isEnabled()
    widget.result.use.click()
    finish(session)
    assert session.bundle is not None and session.bundle.sha256 and session.model_folder == run / "model"
    assert "loaded" in widget.message.text()


def test_a_finished_run_that_is_trained_again_is_starting(
    widget: TrainFromFolder, tiny_run: TinyRun, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_run.folder, tmp_path / "again"))
    widget.cohort.choose_run(folder)
    assert widget.start_button.text() == "Train again" and not widget.result_group.isHidden()
    (folder / training_process.LOG).write_text("")  # as a start leaves it until the training logs
    widget.poll()
    assert widget.active and "Starting" in widget.progress.state.text()
    assert widget.stop_button.isEnabled() and widget.result_group.isHidden()


def test_training_again_asks_and_leaves_the_finished_run_as_it_is(
    widget: TrainFromFolder, tiny_run: TinyRun, tmp_path: Path, qtbot: "QtBot", monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
    (tmp_path / "run-2").mkdir()
    choose(widget, tiny_run.slides, tiny_run.labels, folder, qtbot)
    qtbot.waitUntil(lambda: widget.cohort.ready, timeout=PATIENCE)
    before = stamps_below(folder)
    started: list[list[str]] = []
    monkeypatch.setattr(
        training_process.subprocess,
        "Popen",
        lambda command, **_: started.append(command) or SimpleNamespace(poll=lambda: 0),
    )
    asked = answering("Cancel")
    click(widget.start_button)
    assert "finished model" in asked()[0] and not started
    asked = answering("Train in run-3")
    click(widget.start_button)
    assert len(asked()) == 1 and started[0][started[0].index("--out") + 1] == str(tmp_path / "run-3")
    assert stamps_below(folder) == before and widget.cohort.run.text() == str(tmp_path / "run-3")


def stamps_below(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


@pytest.mark.long
def test_stop_then_resume_to_the_end(widget: TrainFromFolder, begin: Begin, run: Path, qtbot: "QtBot") -> None:
    begin(widget, **LONG)
    widget.curves.arm.setCurrentIndex(widget.curves.arm.findData("teacher"))  # is trained first
    qtbot.waitUntil(lambda: len(widget.status.epochs) > 3 and points(widget)[1] > 0, timeout=PATIENCE)
    assert widget.status.state == "running" and not widget.curves_group.isHidden()
    assert widget.result_group.isHidden()
    widget.stop_button.click()
    assert "Stopping" in widget.message.text() and not widget.stop_button.isEnabled()
    qtbot.waitUntil(lambda: not widget.active, timeout=PATIENCE)
    assert widget.status.state == "stopped" and widget.message.text() == ""
    assert widget.start_button.text() == "Resume" and widget.start_button.isEnabled()
    assert "Stopped" in widget.progress.state.text() and widget.result_group.isHidden()
    made = sorted((run / "shared").rglob("*.zarr"))
    before = [stamp_of(path) for path in made]
    widget.settings.show_config(tiny_config())
    widget.start_button.click()
    qtbot.waitUntil(lambda: widget.status.state == "finished" and not widget.active, timeout=PATIENCE)
    assert len(made) == 36 and [stamp_of(path) for path in made] == before
    assert by_name(widget)["AUROC"]


@pytest.mark.long
def test_another_widget_takes_a_run_in_progress_up(
    widget: TrainFromFolder, make: Make, begin: Begin, run: Path, cohort: Path, qtbot: "QtBot"
) -> None:
    begin(widget, **LONG)
    delete(widget)  # at once: the training has not yet taken the folder's lock
    again = make(ViewerModel())
    assert again.active and not again.start_button.isEnabled()
    qtbot.waitUntil(lambda: again.status.state == "running" and len(again.status.epochs) > 3, timeout=PATIENCE)
    delete(again)
    third = make(ViewerModel())
    assert third.status.state == "running" and len(third.status.epochs) > 3
    assert third.cohort.paths == (cohort / "slides", cohort / "labels.csv", run)
    assert third.settings.config() == tiny_config(**LONG)
    assert not third.cohort.slides.isEnabled() and not third.settings.seed.isEnabled()
    third.stop_button.click()
    qtbot.waitUntil(lambda: not third.active, timeout=PATIENCE)
    assert third.status.state == "stopped" and third.cohort.slides.isEnabled() and third.settings.seed.isEnabled()


@pytest.mark.long
def test_a_training_outlives_its_viewer_and_is_known_and_stopped_before_it_begins(
    make: Make, cohort: Path, run: Path, tmp_path: Path, qtbot: "QtBot"
) -> None:
    write_toml(tmp_path / "long.toml", tiny_config(**LONG))
    viewer = [sys.executable, "-c", VIEWER, run, cohort / "slides", cohort / "labels.csv", tmp_path / "long.toml"]
    subprocess.run(viewer, check=True)  # starts the training and is gone
    folders.remember("run_folder", str(run))
    widget = make(ViewerModel())
    assert widget.active and widget.status.state == "absent" and "Starting" in widget.progress.state.text()
    widget.stop_button.click()  # a training takes a request from before its work for one of an earlier call
    qtbot.waitUntil(lambda: not widget.active, timeout=PATIENCE)
    assert widget.status.state == "stopped" and widget.message.text() == ""


@pytest.mark.long
def test_a_killed_training_is_told_and_can_be_resumed(
    widget: TrainFromFolder, make: Make, begin: Begin, run: Path, qtbot: "QtBot"
) -> None:
    begin(widget, **LONG)
    qtbot.waitUntil(lambda: bool(widget.status.job), timeout=PATIENCE)
    kill(run)
    qtbot.waitUntil(lambda: not widget.active, timeout=PATIENCE)
    for one in (widget, make(ViewerModel())):
        assert one.status.state == "interrupted" and "Interrupted" in one.progress.state.text()
        assert one.start_button.text() in one.message.text() and not one.message.isHidden()
        qtbot.waitUntil(lambda one=one: one.cohort.ready, timeout=PATIENCE)
        assert one.start_button.text() == "Resume" and one.start_button.isEnabled()


def test_the_problems_of_a_bad_table_are_listed_and_forbid_the_start(
    widget: TrainFromFolder, cohort: Path, tmp_path: Path, qtbot: "QtBot"
) -> None:
    table = tmp_path / "labels.csv"
    good = (cohort / "labels.csv").read_text().splitlines()
    bad = [*good, "ghost,case-x,positive,train", good[1].replace("demo-000", "")]
    table.write_text("\n".join(bad) + "\n")
    choose(widget, cohort / "slides", table, None, qtbot)
    rows = widget.cohort.problems.texts
    assert [row[:3] for row in rows if row[0] == "error"] == [["error", "14", "slide_id"], ["error", "15", "slide_id"]]
    assert "'ghost'" in rows[0][3] and rows[0][3].count("\n") == 1, "the problem, then its remedy"
    assert "2 errors" in widget.cohort.verdict.text()
    assert len(widget.cohort.preview.texts) == 14 and widget.cohort.preview.texts[12][0] == "ghost"
    assert not widget.start_button.isEnabled() and widget.why.text() == widget.start_button.toolTip() != ""
    table.write_text("\n".join(good) + "\n")
    widget.cohort.again.click()
    qtbot.waitUntil(lambda: widget.cohort.ready, timeout=PATIENCE)
    assert widget.cohort.verdict.text() == "12 slides of 12 cases: negative 6, positive 6."
    assert widget.start_button.isEnabled() and widget.why.isHidden()


@pytest.mark.parametrize("name", ["none.csv", "notes.docx"])
def test_a_table_that_cannot_be_read_is_told_in_a_sentence(
    widget: TrainFromFolder, cohort: Path, tmp_path: Path, name: str, qtbot: "QtBot"
) -> None:
    (tmp_path / "notes.docx").write_bytes(b"PK")
    choose(widget, cohort / "slides", tmp_path / name, None, qtbot)
    assert name in widget.cohort.verdict.text()
    assert not widget.start_button.isEnabled()


def test_too_many_folds_for_the_cases_are_a_problem_at_once(
    widget: TrainFromFolder, cohort: Path, tmp_path: Path, qtbot: "QtBot"
) -> None:
    lines = [",".join(line.split(",")[:3]) for line in (cohort / "labels.csv").read_text().splitlines()]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    choose(widget, cohort / "slides", tmp_path / "labels.csv", None, qtbot)
    assert widget.cohort.ready
    widget.settings.folds.setValue(9)
    assert not widget.start_button.isEnabled()
    qtbot.waitUntil(lambda: widget.cohort.report is not None, timeout=PATIENCE)
    assert not widget.cohort.ready and any("9 folds" in row[3] for row in widget.cohort.problems.texts)


def test_a_test_part_is_checked_and_goes_into_the_settings(
    widget: TrainFromFolder, cohort: Path, tmp_path: Path, qtbot: "QtBot"
) -> None:
    choose(widget, cohort / "slides", cohort / "labels.csv", None, qtbot)
    assert widget.cohort.ready and widget.settings.config().test_fraction == 0
    for field in (widget.settings.folds, widget.settings.test_fraction):
        assert not field.isEnabled() and "'split'" in field.toolTip()
    widget.settings.test_fraction.setValue(0.2)
    assert widget.settings.config().test_fraction == 0.2 and widget.settings.test_fraction.text() == "0.2"
    qtbot.waitUntil(lambda: widget.cohort.report is not None and not widget.cohort.checking, timeout=PATIENCE)
    assert not widget.cohort.ready  # the table has a column split
    assert widget.settings.test_fraction.isEnabled() and "test part" in widget.settings.folds.toolTip()
    assert any("'Test part'" in row[3] for row in widget.cohort.problems.texts)
    lines = [",".join(line.split(",")[:3]) for line in (cohort / "labels.csv").read_text().splitlines()]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    choose(widget, cohort / "slides", tmp_path / "labels.csv", None, qtbot)
    assert widget.cohort.ready
    widget.settings.show_config(widget.settings.config())
    assert widget.settings.config().test_fraction == 0.2
    assert widget.settings.test_fraction.isEnabled() and not widget.settings.folds.isEnabled()
    widget.settings.test_fraction.setValue(0)
    assert widget.settings.folds.isEnabled() and "nothing" not in widget.settings.folds.toolTip()


def test_a_bad_setting_is_a_sentence_and_forbids_the_start(
    widget: TrainFromFolder, cohort: Path, run: Path, qtbot: "QtBot"
) -> None:
    choose(widget, cohort / "slides", cohort / "labels.csv", run, qtbot)
    leaves = widget.settings.leaves()
    for name, value in (("mil.dropout", "2"), ("stage1.layers", "[0, 0]")):
        was = leaves[name].text(1)
        leaves[name].setText(1, value)
        assert f"{name}: " in widget.why.text() and not widget.start_button.isEnabled()
        leaves[name].setText(1, was)
        assert widget.start_button.isEnabled() and widget.why.isHidden()
    widget.settings.mpp_lr.setText("quick")
    assert "'quick'" in widget.why.text()
    widget.settings.mpp_lr.setText("5x")
    widget.settings.mpp_hr.setText("0.75")
    assert "0.75" in widget.why.text() and not widget.start_button.isEnabled()
    widget.settings.mpp_hr.setText("20x")
    assert widget.settings.config() == tiny_config().__class__() and widget.start_button.isEnabled()


def test_the_folder_of_an_encoder_is_taken_and_looked_into(
    widget: TrainFromFolder, cohort: Path, run: Path, tmp_path: Path, qtbot: "QtBot"
) -> None:
    choose(widget, cohort / "slides", cohort / "labels.csv", run, qtbot)
    folder = tmp_path / "mobilenetv2_100"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    widget.settings.encoder.setCurrentText(str(folder))
    assert str(folder) in widget.why.text() and "no model.safetensors" in widget.why.text()
    assert not widget.start_button.isEnabled()
    (folder / "model.safetensors").write_bytes(b"")
    widget.settings.seed.setValue(1)
    assert widget.settings.config().encoder == f"local-dir:{folder}" and widget.start_button.isEnabled()


def test_weights_that_cannot_be_had_are_told_before_a_training_begins(
    widget: TrainFromFolder, cohort: Path, run: Path, qtbot: "QtBot", monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    choose(widget, cohort / "slides", cohort / "labels.csv", run, qtbot)
    widget.settings.encoder.setCurrentText("hf-hub:owner/none")
    click(widget.start_button)
    assert widget.message.text() == LOOKING and not widget.start_button.isEnabled()
    qtbot.waitUntil(widget.start_button.isEnabled, timeout=PATIENCE)
    assert "hf-hub:owner/none" in widget.message.text() and "HF_HUB_OFFLINE" in widget.message.text()
    assert not run.exists() and widget.start_button.text() == "Start" and not widget.active


def test_the_patches_of_a_slide_are_foretold_with_the_settings(
    widget: TrainFromFolder, cohort: Path, qtbot: "QtBot"
) -> None:
    widget.settings.patch_size.setValue(64)
    choose(widget, cohort / "slides", cohort / "labels.csv", None, qtbot)
    expected = widget.cohort.expected
    qtbot.waitUntil(lambda: not expected.isHidden(), timeout=PATIENCE)
    assert "patches of 128 um a slide" in expected.text() and "fewer" not in expected.text()
    widget.settings.patch_size.setValue(256)  # as large as the slides
    assert "12 of 12 slides" in expected.text() and "'Patch, px'" in expected.text()
    assert widget.start_button.isEnabled(), "a warning forbids nothing"
    widget.settings.mpp_lr.setText("quick")
    assert expected.isHidden()


def test_a_setting_that_does_nothing_is_grey_and_says_why(widget: TrainFromFolder) -> None:
    rows = widget.settings.leaves()
    assert rows["finish.slides_per_step"].isDisabled() and "finish.epochs is 0" in rows[
        "finish.slides_per_step"
    ].toolTip(1)
    assert not rows["stage1.stain"].isDisabled()
    rows["finish.epochs"].setText(1, "2")
    rows["stage1.augment"].setText(1, "false")
    assert not rows["finish.slides_per_step"].isDisabled() and rows["stage1.stain"].isDisabled()
    assert "nothing" not in rows["finish.slides_per_step"].toolTip(0)


def test_every_setting_can_be_read_and_written_and_is_explained(widget: TrainFromFolder) -> None:
    config = tiny_config(stage2__fraction=1e-5, student_encoder="resnet18", stage1__layers=[1, -1], mpp_hr=0.2512345)
    widget.settings.show_config(replace(config, mpp_lr=4 * config.mpp_hr))
    assert widget.settings.config() == replace(config, mpp_lr=4 * config.mpp_hr)
    for name, item in widget.settings.leaves().items():
        assert item.toolTip(0) == item.toolTip(1), name
        assert item.toolTip(0).endswith("."), name


@pytest.mark.long
def test_a_training_that_cannot_begin_says_why(
    widget: TrainFromFolder, cohort: Path, run: Path, qtbot: "QtBot"
) -> None:
    choose(widget, cohort / "slides", cohort / "labels.csv", run, qtbot)
    widget.settings.show_config(tiny_config())
    devices = widget.settings.device.devices
    devices.addItem("gone", "cuda:7")
    devices.setCurrentIndex(devices.count() - 1)
    widget.start_button.click()
    qtbot.waitUntil(lambda: not widget.active, timeout=PATIENCE)
    assert "'cuda:7'" in widget.message.text() and str(run / "train.log") in widget.message.text()
    assert widget.start_button.text() == "Start" and widget.start_button.isEnabled()
    devices.setCurrentIndex(devices.findData("cpu"))
    widget.settings.encoder.setCurrentText("no_such_network")
    widget.start_button.click()
    qtbot.waitUntil(lambda: not widget.active, timeout=PATIENCE)
    assert widget.status.state == "failed" and "'no_such_network'" in widget.message.text()
    assert widget.start_button.text() == "Resume" and widget.start_button.isEnabled()


def test_a_run_folder_that_cannot_be_written_is_told(
    widget: TrainFromFolder, cohort: Path, tmp_path: Path, qtbot: "QtBot"
) -> None:
    (tmp_path / "file").write_text("")
    choose(widget, cohort / "slides", cohort / "labels.csv", tmp_path / "file" / "run", qtbot)
    widget.settings.show_config(tiny_config())
    widget.start_button.click()
    assert str(tmp_path / "file") in widget.message.text()
    assert widget.start_button.isEnabled() and not widget.active


def test_a_chosen_run_is_shown_and_fills_the_form(
    widget: TrainFromFolder, tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, qtbot: "QtBot"
) -> None:
    folder = Path(shutil.copytree(tiny_run.folder, tmp_path / "old"))
    problems = [{"slide_id": "demo-999", "message": "broken"}, {"slide_id": None, "message": "a warning"}]
    (folder / "problems.json").write_text(json.dumps(problems))
    widget.cohort.choose_run(folder)
    assert widget.status.state == "finished" and points(widget) == (4, 4)
    assert widget.cohort.paths == (tiny_run.slides, tiny_run.labels, folder)
    assert widget.settings.config() == tiny_config()
    assert "demo-999: broken" in widget.result.notes.text() and "warning" not in widget.result.notes.text()
    assert not widget.result.report.isEnabled()  # made without the command line
    widget.curves.arm.setCurrentIndex(1)
    assert points(widget) == (4, 4)
    (folder / "report.html").write_text("<p>")
    widget.poll()
    opened: list[QUrl] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", opened.append)
    widget.result.report.click()
    assert [Path(url.toLocalFile()) for url in opened] == [folder / "report.html"]
    widget.cohort.choose_run(tmp_path / "new")
    assert widget.status.state == "absent" and widget.result_group.isHidden() and points(widget) == (0, 0)


def test_columns_of_other_names_are_chosen_in_the_form_and_handed_on(
    widget: TrainFromFolder,
    cohort: Path,
    run: Path,
    tmp_path: Path,
    qtbot: "QtBot",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = (cohort / "labels.csv").read_text().replace("slide_id,case_id,label", "Scan,Pat,Finding", 1)
    (tmp_path / "labels.csv").write_text(text + "elsewhere,p,positive,train\n")
    choose(widget, cohort / "slides", tmp_path / "labels.csv", run, qtbot)
    assert not widget.cohort.ready and widget.cohort.verdict.text().startswith("2 errors")
    options = TableOptions(
        slide_column="Scan", case_column="Pat", label_column="Finding", positive="negative", skip_missing=True
    )
    reading = widget.cohort.reading
    for name, field in reading.fields.items():
        field.setText(getattr(options, name))
    assert not widget.cohort.ready
    reading.skip_missing.setChecked(True)
    assert reading.options == options
    qtbot.waitUntil(lambda: widget.cohort.ready, timeout=PATIENCE)
    assert "12 slides" in widget.cohort.verdict.text() and "negative 6" in widget.cohort.verdict.text()
    started: list[list[str]] = []

    class Process:
        def __init__(self, command: list[str], **_: object) -> None:
            started.append(command)

        def poll(self) -> int:
            return 0

    monkeypatch.setattr(training_process.subprocess, "Popen", Process)
    widget.settings.show_config(tiny_config())
    qtbot.waitUntil(lambda: widget.cohort.ready, timeout=PATIENCE)
    widget.start()
    assert started[0][-5:] == options.arguments and "--positive=negative" in started[0]
    widget.cohort.set_locked(locked=True)
    assert not reading.isEnabled()


def test_a_chosen_run_fills_in_how_its_table_is_read(
    widget: TrainFromFolder, cohort: Path, run: Path, tmp_path: Path
) -> None:
    run.mkdir()
    options = TableOptions(label_column="Finding", skip_missing=True)
    write_plan(run, tiny_config(), str(cohort / "slides"), str(cohort / "labels.csv"), options=options)
    widget.cohort.choose_run(run)
    assert widget.cohort.reading.options == options and widget.cohort.reading.isExpanded()
    (tmp_path / "other").mkdir()
    write_plan(tmp_path / "other", tiny_config(), str(cohort / "slides"), str(cohort / "labels.csv"))
    widget.cohort.choose_run(tmp_path / "other")
    assert widget.cohort.reading.options == TableOptions()


def test_a_run_of_another_version_says_so(widget: TrainFromFolder, tiny_run: TinyRun, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_run.folder, tmp_path / "old"))
    plan = (folder / "plan.toml").read_text()
    (folder / "plan.toml").write_text(plan.replace("lrmil.run/1", "lrmil.run/9"))
    widget.cohort.choose_run(folder)
    assert "lrmil.run/9" in widget.message.text() and widget.cohort.slides.text() == ""


def test_the_run_folder_that_is_proposed_is_no_other_cohorts(
    widget: TrainFromFolder, cohort: Path, tmp_path: Path, qtbot: "QtBot"
) -> None:
    slides, labels = tmp_path / "slides", cohort / "labels.csv"
    slides.symlink_to(cohort / "slides", target_is_directory=True)
    choose(widget, slides, labels, None, qtbot)
    assert widget.cohort.run.text() == str(tmp_path / "run")
    write_plan(tmp_path / "run", tiny_config(), "others", "others.csv")
    (tmp_path / "run-2").mkdir()
    (tmp_path / "run-2" / "notes.txt").write_text("mine")
    assert propose_run(slides, labels) == tmp_path / "run-3"
    write_plan(tmp_path / "run-3", tiny_config(), str(slides), str(labels))
    assert propose_run(slides, labels) == tmp_path / "run-3"


def test_a_busy_session_is_told_when_the_model_is_handed_on(
    widget: TrainFromFolder, session: Session, tiny_run: TinyRun, finish: Callable[..., None]
) -> None:
    widget.cohort.choose_run(tiny_run.folder)
    session.load_model(tiny_run.folder / "model")
    widget.result.use.click()
    assert not widget.message.isHidden() and widget.message.text()
    finish(session)
    widget.message.say("")
    session.load_model(tiny_run.folder / "none")  # not asked for here
    finish(session)
    assert widget.message.text() == ""


def test_the_curves_follow_the_theme(widget: TrainFromFolder, viewer: ViewerModel) -> None:
    for theme in ("light", "dark"):
        viewer.theme = theme
        background, text = get_theme(theme).background.as_hex(), get_theme(theme).text.as_hex()
        for plot in (widget.curves.stage1, widget.curves.stage2):
            assert plot.backgroundBrush().color().name() == QColor(background).name()
            assert plot.getAxis("left").textPen().color().name() == QColor(text).name()


@pytest.mark.usefixtures("display")
def test_the_dock_opens_by_its_name_and_hands_the_model_to_classify_slide(
    make_napari_viewer: Callable[..., Any], tiny_run: TinyRun, qtbot: "QtBot"
) -> None:
    viewer = make_napari_viewer(show=True)
    _, widget = viewer.window.add_plugin_dock_widget("napari-lrmil", "Train from folder")
    assert isinstance(widget, TrainFromFolder)
    widget.cohort.choose_run(tiny_run.folder)
    widget.result.use.click()
    session = session_of(viewer)
    qtbot.waitUntil(lambda: not session.jobs.busy and session.bundle is not None, timeout=PATIENCE)
    (classify,) = (one for name, one in viewer.window.dock_widgets.items() if "Classify slide" in name)
    assert classify.isVisible()
    classify.parent().close()
    widget.result.use.click()
    qtbot.waitUntil(lambda: not session.jobs.busy, timeout=PATIENCE)
    assert any(one.isVisible() for name, one in viewer.window.dock_widgets.items() if "Classify slide" in name)


def test_the_docks_become_tabs_and_the_model_s_dock_comes_to_the_front(
    make_napari_viewer: Callable[..., Any], tiny_run: TinyRun, qtbot: "QtBot"
) -> None:
    viewer = make_napari_viewer(show=True)
    _, classify = viewer.window.add_plugin_dock_widget("napari-lrmil", "Classify slide")
    _, training = viewer.window.add_plugin_dock_widget("napari-lrmil", "Train from folder")
    qtbot.waitUntil(lambda: training.isVisible() and classify.visibleRegion().isEmpty(), timeout=PATIENCE)
    training.cohort.choose_run(tiny_run.folder)
    training.result.use.click()
    qtbot.waitUntil(lambda: not classify.visibleRegion().isEmpty(), timeout=PATIENCE)
    assert classify.height() > viewer.window.geometry()[3] / 2 and training.visibleRegion().isEmpty()


def test_copies_and_slides_that_cannot_be_used_are_listed_while_nothing_waits_for_it(
    widget: TrainFromFolder,
    cohort: Path,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    qtbot: "QtBot",
) -> None:
    """The same sentences as `lrmil validate`; the table's verdict is there before the slides are looked at."""
    slides = Path(shutil.copytree(cohort / "slides", tmp_path / "slides"))
    shutil.copy(slides / "demo-001.ome.tif", slides / "demo-011.ome.tif")
    (slides / "demo-002.ome.tif").write_bytes(b"torn")
    open_it, held = screening.open_source, threading.Event()
    calls: list[str] = []

    def slowly(source: SlideSource) -> Slide:
        calls.append(source.slide_id)
        if len(calls) == 11:
            assert held.wait(60)
        return open_it(source)

    monkeypatch.setattr(screening, "open_source", slowly)
    choose(widget, slides, cohort / "labels.csv", run, qtbot)
    qtbot.waitUntil(lambda: "10 of 12" in widget.cohort.verdict.text(), timeout=PATIENCE)
    assert widget.cohort.ready and widget.cohort.problems.texts == [] and widget.start_button.isEnabled()
    held.set()
    qtbot.waitUntil(lambda: "2 warnings below" in widget.cohort.verdict.text(), timeout=PATIENCE)
    assert "of 12." not in widget.cohort.verdict.text() and widget.cohort.ready
    listed = {row[0]: row[3] for row in widget.cohort.problems.texts}
    assert listed.keys() == {"warning"} and len(widget.cohort.problems.texts) == 2
    text = " ".join(row[3] for row in widget.cohort.problems.texts)
    assert all(f"'{name}'" in text for name in ("demo-001", "demo-011", "demo-002"))
    shutil.copy(cohort / "slides/demo-002.ome.tif", slides)
    shutil.copy(cohort / "slides/demo-011.ome.tif", slides)
    widget.cohort.again.click()  # fixed
    qtbot.waitUntil(lambda: len(calls) == 24 and not widget.cohort.problems.texts, timeout=PATIENCE)
    qtbot.waitUntil(lambda: "Looking" not in widget.cohort.verdict.text(), timeout=PATIENCE)
    assert widget.cohort.ready
