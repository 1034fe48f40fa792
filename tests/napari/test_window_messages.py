"""The messages of the windows that are promised: each is provoked for real.

Those of the library that a window shows unchanged are in tests/contracts/messages.md. Other tests check the item that a
message names and the buttons that it leaves enabled, not its sentences.
"""

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from napari.components import ViewerModel

from lrmil.cohorts.cohort import CohortReport, Problem
from lrmil.configs import TrainConfig
from lrmil.errors import SlideError
from lrmil.runs.plan_file import write_plan
from napari_lrmil import sample, triton_guard
from napari_lrmil.docks.classify import ClassifySlide
from napari_lrmil.docks.train import TrainFromFolder
from napari_lrmil.triton_guard import TritonGuard
from napari_lrmil.widgets.train.cohort import Checked, describe
from napari_lrmil.widgets.train.result import ResultTable
from napari_lrmil.widgets.train.settings import SettingsBox

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

KILLED = "The training ended without a final status (killed, or power loss). Press Resume to continue."


@pytest.fixture
def train(viewer: ViewerModel, qtbot: "QtBot") -> TrainFromFolder:
    dock = TrainFromFolder(viewer)
    qtbot.addWidget(dock)
    return dock


def test_classify_without_a_slide(viewer: ViewerModel, qtbot: "QtBot") -> None:
    dock = ClassifySlide(viewer)
    qtbot.addWidget(dock)
    dock.start()
    assert dock.message.text() == "No slide is chosen. Drop one on the viewer, or press Open."
    assert dock.model.card.text() == "No model is loaded."
    assert dock.result.facts.text() == "The chosen slide has not been classified yet."


def test_train_without_folders(train: TrainFromFolder) -> None:
    assert train.why.text() == "Choose a slide folder, a labels table and a run folder."


def test_train_before_the_check(train: TrainFromFolder, tmp_path: Path) -> None:
    for field in (train.cohort.slides, train.cohort.labels, train.cohort.run):
        field.setText(str(tmp_path))
    assert train.why.text() == "The cohort must be checked first."


def test_train_with_errors_in_the_cohort(train: TrainFromFolder, tmp_path: Path) -> None:
    for field in (train.cohort.slides, train.cohort.labels, train.cohort.run):
        field.setText(str(tmp_path))
    train.cohort._timer.stop()
    report = CohortReport((Problem(2, "label", "Expected a label.", "Write one.", "error"),), None)
    train.cohort._show(Checked(report, [["slide_id", "label"], ["a", ""]]))
    assert train.why.text() == "The cohort has errors. Fix those listed above first."
    assert train.cohort.verdict.text() == describe(Checked(report, []))
    assert train.cohort.verdict.text() == "1 error, 0 warnings. Fix the errors below, then check again."


def test_a_training_that_was_killed(train: TrainFromFolder, tmp_path: Path) -> None:
    write_plan(tmp_path / "run", TrainConfig(), "slides", "labels.csv")
    train.cohort.choose_run(tmp_path / "run")
    assert train.message.text() == KILLED


def test_a_run_without_figures_and_report(tmp_path: Path, qtbot: "QtBot") -> None:
    result = ResultTable()
    qtbot.addWidget(result)
    result.show_run(tmp_path)
    assert result.report.toolTip() == "There is no report yet; `lrmil report RUN` writes one."
    (tmp_path / "metrics.json").write_text('{"gap_recovered": "half"}')
    result.show_run(tmp_path)
    assert result.notes.text() == "The figures of this run cannot be read. Train it again."


def test_settings_without_an_encoder(qtbot: "QtBot") -> None:
    settings = SettingsBox()
    qtbot.addWidget(settings)
    settings.encoder.setCurrentText(" ")
    assert settings.problem == "No encoder is chosen. Choose one, such as mobilenetv2_100."


def test_a_sample_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen
    failing = [sys.executable, "-c", "import sys; sys.exit('lrmil demo: the disk is full')"]
    monkeypatch.setattr(sample.subprocess, "Popen", lambda command, **options: real(failing, **options))
    with pytest.raises(SlideError) as caught:
        list(sample.made_by_a_process(["demo"], tmp_path / "demo.log", 30))
    words = "Cannot make the sample: lrmil demo: the disk is full. Free disk space, then try again."
    assert str(caught.value) == words


def test_triton_beside_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_guard, "MAPS", tmp_path / "maps")
    (tmp_path / "maps").write_text("/usr/lib/libLLVM-15.so.1\n")
    with pytest.raises(ModuleNotFoundError) as caught:
        TritonGuard().find_spec("triton", None)
    assert str(caught.value) == "triton is not loaded, because it would crash with the LLVM of the OpenGL driver"
