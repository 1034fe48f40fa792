"""What a report says of a run: agreement, curves, losses, settings, each from the run's own files."""

import math
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from lrmil.configs import TrainConfig, from_dict, with_settings
from lrmil.features.store import read_features
from lrmil.io import atomic
from lrmil.reports.run_data import gather, spearman
from lrmil.runs.fold_outputs import read_history, read_outputs
from support.pages import read_page
from support.runs import TINY

pytestmark = pytest.mark.long


def test_settings_shown_train_the_same_again(run: Path) -> None:
    assert from_dict(tomllib.loads(gather(run).settings)) == with_settings(TrainConfig(), dict(TINY))


def test_every_test_slide_has_its_resolution_and_where_it_came_from(written: Path) -> None:
    report = gather(written.parent)
    assert {(result.mpp, result.mpp_source) for result in report.slides} == {(0.5, "OME PhysicalSize")}
    cells = [row[-1] for row in read_page(written).rows if row[0] in {result.slide_id for result in report.slides}]
    assert cells.count("0.5, OME PhysicalSize") == len(report.slides)


def test_agreement_is_spearman_on_the_low_resolution_patches(run: Path) -> None:
    result = gather(run).slides[0]
    hr = read_features(run / "shared/hr" / f"{result.slide_id}.zarr")
    lr = read_features(run / result.fold / "lr" / f"{result.slide_id}.zarr")
    outputs = read_outputs(run / result.fold)
    teacher = outputs["hr_teacher"][result.slide_id].attention_logits.astype(float)
    mass, student = [], []
    for place, cell in enumerate(lr.index):
        inside = [teacher[k] for k, child in enumerate(hr.index) if tuple(child // 2) == tuple(cell)]
        if inside:
            mass.append(np.log(np.exp(inside).sum()))
            student.append(outputs["lr_student"][result.slide_id].attention_logits[place])
    assert len(mass) > 3
    assert result.agreement["lr_student"] == pytest.approx(spearmanr(mass, student).statistic, abs=1e-6)


def test_mean_agreement_leaves_out_what_is_not_defined(run: Path) -> None:
    report = gather(run)
    values = [result.agreement["lr_student"] for result in report.slides]
    assert None not in values
    assert report.agreement["lr_student"] == pytest.approx(np.mean([value or 0.0 for value in values]))
    assert spearman([1, 2, 2, 5], [4, 1, 3, 0]) == pytest.approx(spearmanr([1, 2, 2, 5], [4, 1, 3, 0]).statistic)
    assert spearman([1, 2], [1, 2]) is None
    assert spearman([1, 2, 3], [7, 7, 7]) is None


def mean_ranks(values: Sequence[float]) -> list[float]:
    """1 for the lowest; equal values share the mean of their ranks."""
    return [sum(v < value for v in values) + (sum(v == value for v in values) + 1) / 2 for value in values]


@given(st.lists(st.tuples(st.integers(-3, 3), st.floats(-1e6, 1e6, width=32)), max_size=12))
def test_rank_correlation_is_that_of_the_definition(pairs: list[tuple[int, float]]) -> None:
    first, second = [float(pair[0]) for pair in pairs], [pair[1] for pair in pairs]
    found = spearman(first, second)
    if len(pairs) < 3 or len(set(first)) == 1 or len(set(second)) == 1:
        assert found is None
        return
    middle = (len(pairs) + 1) / 2
    one, two = ([rank - middle for rank in mean_ranks(values)] for values in (first, second))
    product = sum(a * b for a, b in zip(one, two, strict=True))
    assert found == pytest.approx(product / math.sqrt(sum(a * a for a in one) * sum(b * b for b in two)), abs=1e-14)


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
    assert line.validation == [epoch["val_loss"] for epoch in history]
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
