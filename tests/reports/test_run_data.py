"""What a report says of a run: agreement, curves, losses, settings, each from the run's own files."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from lrmil.configs import TrainConfig, from_dict, with_settings
from lrmil.errors import FormatError
from lrmil.io import atomic
from lrmil.reports.run_data import gather
from lrmil.runs.fold_outputs import Evidence, read_history
from support.runs import TINY

pytestmark = pytest.mark.long


def test_settings_shown_train_the_same_again(run: Path) -> None:
    assert from_dict(tomllib.loads(gather(run).settings)) == with_settings(TrainConfig(), dict(TINY))


def test_roc_curves_enclose_the_auroc(run: Path) -> None:
    report = gather(run)
    assert list(report.roc) == ["positive"]
    for arm, points in report.roc["positive"].items():
        area = np.trapezoid(points["true_positive_rate"], points["false_positive_rate"])
        assert area == pytest.approx(report.figures[arm]["auroc"])  # type: ignore[index]


def test_losses_are_those_of_the_history_with_its_best_epoch(run: Path) -> None:
    report = gather(run)
    history = read_history(run / "fold-0/lr_student")
    line = report.losses["lr_student"][0]
    assert line.train == [epoch["train_ce"] for epoch in history]
    assert line.validation == [] and line.best_epoch == len(history) == 2  # few cases: nothing was selected
    history = read_history(run / "fold-0/lr_encoder")
    lowest = int(np.argmin([epoch["val_loss"] for epoch in history]))
    assert report.losses["lr_encoder"][0].best_epoch == lowest + 1
    assert report.losses["lr_encoder"][0].train == [epoch["train_loss"] for epoch in history]


def test_the_kept_epoch_has_the_best_score_then_the_lowest_loss(run: Path) -> None:
    epochs = [
        {"train_loss": 1.0, "val_loss": loss, "val_score": score} for loss, score in ((1, 0.5), (3, 0.9), (2, 0.9))
    ]
    atomic.write_json(run / "fold-0/teacher/history.json", epochs)
    assert gather(run).losses["teacher"][0].best_epoch == 3


def test_the_start_may_be_what_was_kept(run: Path) -> None:
    """Its validation is no epoch of the curves; of equal ones it is the first."""
    start = {"val_loss": 2.0, "val_score": 0.9, "epoch": 0.0, "step": 0.0}
    for score, best in ((0.9, 0), (0.95, 2)):
        epochs = [
            {"train_loss": 1.0, "val_loss": loss, "val_score": found, "epoch": number, "step": number}
            for number, (loss, found) in enumerate(((3.0, 0.5), (2.0, score)), 1)
        ]
        atomic.write_json(run / "fold-0/teacher/history.json", [start, *epochs])
        line = gather(run).losses["teacher"][0]
        assert (line.best_epoch, line.train, line.validation) == (best, [1.0, 1.0], [3.0, 2.0])


def test_a_teacher_that_was_not_used_is_said(run: Path) -> None:
    poor = Evidence(inner_folds=4, teacher=0.61, baseline=0.84, used=False)
    figures = json.loads((run / "metrics.json").read_text())
    assert not [remark for remark in gather(run).remarks if "fold-0" in remark]
    atomic.write_json(run / "metrics.json", {**figures, "evidence": {"fold-0": poor.to_dict()}})
    (remark,) = [remark for remark in gather(run).remarks if "fold-0" in remark]
    assert "0.610" in remark and "0.840" in remark and "labels alone" in remark
    atomic.write_json(run / "metrics.json", {**figures, "evidence": {"fold-0": {"used": "no one knows"}}})
    with pytest.raises(FormatError, match="evidence"):
        gather(run)
    del figures["evidence"]  # as earlier versions wrote it
    atomic.write_json(run / "metrics.json", figures)
    gather(run)
