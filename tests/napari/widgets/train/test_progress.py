"""Progress of a training in words."""

from typing import TYPE_CHECKING

from lrmil.runs.watch import RunStatus
from napari_lrmil.widgets.train.progress import ProgressBox, duration

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


def test_times_are_told_in_words() -> None:
    assert [duration(seconds) for seconds in (3, 89, 95, 3600, 7000, 90000)] == [
        "3 s",
        "89 s",
        "2 min",
        "60 min",
        "1 h 57 min",
        "25 h 0 min",
    ]


def test_three_folds_are_not_counted_as_four(qtbot: "QtBot") -> None:
    box = ProgressBox()
    qtbot.addWidget(box)
    status = RunStatus("running", ("fold-1", "stage 1"), "fold-1: stage 1", 3, 9, "steps", 3.0, 1, 4, True, 200.0)
    box.show_status(status, active=True)
    assert box.folds.text() == "fold-1 (2 of 3), then the final model, 3 min left" and box.folds.value() == 1
    assert box.stage.text() == "3 of 9 steps, 3 s left"
    box.show_status(RunStatus("running", stage="starting", folds_total=4, has_final=True), active=True)
    assert box.folds.text() == "3 folds and the final model" and box.stage.text().strip() == ""
