"""How far a list is, in words and in the bar."""

from dataclasses import replace
from typing import TYPE_CHECKING

from lrmil.steps import Step
from napari_lrmil.widgets.worklist.progress import WorklistProgress, progress_text

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

STEP: Step[object] = Step(("x",), 3, 9, metrics={"slides_per_min": 4.123, "seconds_left": 400.0})


def test_pace_is_told_in_words() -> None:
    assert progress_text(STEP) == "3 of 9 slides, 4.12 slides/min, 7 min left"
    assert progress_text(replace(STEP, metrics={})) == "3 of 9 slides"
    assert progress_text(replace(STEP, metrics={**STEP.metrics, "seconds_left": 20.0})).endswith("20 s left")


def test_the_bar_has_the_name_of_a_job_until_it_is_known_how_far_it_is(qtbot: "QtBot") -> None:
    bar = WorklistProgress()
    qtbot.addWidget(bar)
    bar.begin("load model")
    assert (bar.minimum(), bar.maximum(), bar.format()) == (0, 1, "load model")
    bar.follow(STEP)
    assert (bar.value(), bar.maximum(), bar.format()) == (3, 9, progress_text(STEP))
    bar.begin("")
    assert (bar.maximum(), bar.format()) == (1, "")
