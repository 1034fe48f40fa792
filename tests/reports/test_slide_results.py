"""What each arm says of each test slide: resolution, agreement of attention, calibrated probabilities."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from lrmil.features.store import read_features, read_index
from lrmil.io import atomic
from lrmil.io.tensors import load_tensors, save_tensors
from lrmil.reports.run_data import gather
from lrmil.reports.slide_results import spearman
from lrmil.runs.arms import HR, REGIONS
from lrmil.runs.fold_outputs import read_outputs
from lrmil.tasks.calibration import Calibration
from support.pages import read_page

pytestmark = pytest.mark.long

CALIBRATION = Calibration(slopes=(0.5, 0.5), offsets=(-0.7, 0.7), slides=40)


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


def state_calibration(run: Path, fitted: Calibration | None) -> None:
    """Let the fold of the run have, or lack, a calibration."""
    figures = json.loads((run / "metrics.json").read_text())
    by_fold = {"fold-0": {"calibration": fitted and fitted.to_dict(), "folds": 4, "reason": ""}}
    figures["calibration"] = {"by_fold": by_fold, "after": figures["lr_student"] if fitted else None}
    atomic.write_json(run / "metrics.json", figures)


def test_calibrated_probabilities_are_those_of_the_folds_calibration(run: Path) -> None:
    state_calibration(run, CALIBRATION)
    outputs = read_outputs(run / "fold-0")["lr_student"]
    for result in gather(run).slides:
        logits = outputs[result.slide_id].logits.astype(float)
        odds = 0.5 * (logits[1] - logits[0]) + 0.7
        assert result.calibrated == pytest.approx([1 / (1 + math.exp(odds)), 1 / (1 + math.exp(-odds))])


def test_without_a_calibration_there_are_no_calibrated_probabilities(run: Path) -> None:
    state_calibration(run, None)
    assert {result.calibrated is None for result in gather(run).slides} == {True}
    figures = json.loads((run / "metrics.json").read_text())
    del figures["calibration"]  # as earlier versions wrote it
    atomic.write_json(run / "metrics.json", figures)
    assert {result.calibrated is None for result in gather(run).slides} == {True}
