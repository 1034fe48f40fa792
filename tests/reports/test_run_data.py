"""What a report says of a run: agreement, curves, losses, settings, each from the run's own files."""

import json
import math
import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from lrmil.configs import TrainConfig, from_dict, with_settings
from lrmil.errors import FormatError
from lrmil.features.store import read_features, read_index
from lrmil.io import atomic
from lrmil.io.tensors import load_tensors, save_tensors
from lrmil.reports.run_data import gather
from lrmil.reports.slide_results import spearman
from lrmil.runs.arms import HR, REGIONS
from lrmil.runs.fold_outputs import Evidence, read_history, read_outputs
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


@pytest.mark.parametrize(("teacher", "attended", "children"), [("region", REGIONS, 1), ("patch", HR, 2)])
def test_agreement_is_spearman_on_the_low_resolution_patches(
    run: Path, teacher: str, attended: str, children: int
) -> None:
    """A teacher over patches has a mass on each LR patch; one over regions its attention."""
    plan = (run / "plan.toml").read_text()
    (run / "plan.toml").write_text(plan.replace('teacher = "region"', f'teacher = "{teacher}"'))
    slide_id = next(iter(read_outputs(run / "fold-0")["hr_teacher"]))
    hr = read_features(run / attended / f"{slide_id}.zarr")
    if teacher == "patch":
        give_attention(run, slide_id, np.random.default_rng(0).normal(size=len(hr.index)).astype(np.float32))
    result = next(one for one in gather(run).slides if one.slide_id == slide_id)
    lr = read_features(run / result.fold / "lr" / f"{result.slide_id}.zarr")
    outputs = read_outputs(run / result.fold)
    teacher = outputs["hr_teacher"][result.slide_id].attention_logits.astype(float)
    mass, student = [], []
    for place, cell in enumerate(lr.index):
        inside = [teacher[k] for k, child in enumerate(hr.index) if tuple(child // children) == tuple(cell)]
        if inside:
            mass.append(np.log(np.exp(inside).sum()))
            student.append(outputs["lr_student"][result.slide_id].attention_logits[place])
    assert len(mass) > 3
    assert result.agreement["lr_student"] == pytest.approx(spearmanr(mass, student).statistic, abs=1e-6)


def give_attention(run: Path, slide_id: str, logits: np.ndarray) -> None:
    """Let the teacher have attended to the patches of every test slide, and so to this one."""
    path = run / "fold-0/outputs/outputs.safetensors"
    tensors = load_tensors(path)
    for name in [name for name in tensors if name.startswith("hr_teacher/") and name.endswith("/attention_logits")]:
        of_slide = read_index(run / HR / f"{name.split('/')[1]}.zarr")
        tensors[name] = torch.zeros(len(of_slide))
    tensors[f"hr_teacher/{slide_id}/attention_logits"] = torch.from_numpy(logits)
    save_tensors(path, tensors)


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
