"""What the window says of the lead that a student recovered."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from napari_lrmil.widgets.train.result import ResultTable

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


@pytest.mark.parametrize(
    ("recovered", "said"),
    [
        (None, "The teacher's lead over the baseline is below 0.01 or not defined."),
        (0.5, "The student recovers 50 % of the teacher's lead over the baseline."),
        (-0.25, "The student recovers -25 % of the teacher's lead over the baseline."),
        (1.0, "The student recovers 100 % of the teacher's lead over the baseline."),
        (2.5, "The student is above the teacher, which is above the baseline."),
    ],
)
def test_a_share_above_all_is_said_in_words(tmp_path: Path, qtbot: "QtBot", recovered: float | None, said: str) -> None:
    arm = {"auroc": 0.9, "auroc_ci": [0.8, 1.0], "balanced_accuracy": 0.9}
    cost = {"seconds_per_slide": 1.0, "bytes_per_slide": 1e6, "patches_per_slide": 9.0}
    figures = dict.fromkeys(("hr_teacher", "lr_undistilled", "lr_student"), arm | cost)
    document = {"classes": ["no", "yes"], "gap_recovered": recovered, **figures}
    (tmp_path / "metrics.json").write_text(json.dumps(document))
    table = ResultTable()
    qtbot.addWidget(table)
    table.show_run(tmp_path)
    assert table.notes.text().startswith(said)
