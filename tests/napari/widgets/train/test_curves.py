"""The losses of a run: the finish can be chosen once a run has one."""

from typing import TYPE_CHECKING

from lrmil.runs.arms import STAGE_NAMES
from lrmil.runs.progress import EpochRecord, TrainedStage
from napari_lrmil.widgets.train.curves import MILS, Curves

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


def record(stage: TrainedStage, epoch: int) -> EpochRecord:
    return EpochRecord("fold-0", stage, epoch, {"train_loss": 2.0, "train_ce": 1.0 / epoch}, epoch)


def offered(curves: Curves) -> list[str]:
    return [curves.arm.itemText(place) for place in range(curves.arm.count())]


def test_a_finish_is_offered_and_drawn_while_the_run_has_one(qtbot: "QtBot") -> None:
    curves = Curves()
    qtbot.addWidget(curves)
    without = [STAGE_NAMES[stage] for stage in MILS]
    student = (record("lr_student", 1),)
    curves.show_epochs(student)
    assert offered(curves) == without
    for _ in range(2):
        curves.show_epochs((*student, record("finish", 1), record("finish", 2)))
        curves.show_epochs((*student, record("finish", 1), record("finish", 2), record("finish", 3)))
        assert offered(curves) == [*without, "End-to-end finish"]
        curves.arm.setCurrentIndex(curves.arm.findData("finish"))
        (line, _) = curves.stage2.listDataItems()
        assert [list(values) for values in line.getData()] == [[1, 2, 3], [1.0, 0.5, 1 / 3]]
        curves.show_epochs(student)  # another run
        assert offered(curves) == without and curves.arm.currentData() in MILS
