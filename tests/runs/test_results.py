"""Figures and model of a finished run."""

import json

import numpy as np
import pytest

from lrmil.runs.plan_file import read_plan, settings_hash
from lrmil.runs.results import _difference, gap_recovered
from lrmil.runs.shipping import public_name
from lrmil.tasks.classification import Classification
from support.runs import TinyRun

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    ("teacher", "baseline", "student", "gap"),
    [
        (0.9, 0.8, 0.85, 0.5),
        (0.9, 0.8, 0.95, 1.5),
        (0.9, 0.891, 0.9, None),
        (0.8, 0.9, 0.9, None),
        (None, 0.8, 0.9, None),
    ],
)
def test_gap_recovered(teacher: float | None, baseline: float, student: float, gap: float | None) -> None:
    assert gap_recovered(teacher, baseline, student) == (None if gap is None else pytest.approx(gap))


def test_the_model_names_its_encoder_without_the_folder_it_lay_in(tiny_run: TinyRun) -> None:
    assert public_name("local-dir:somewhere/encoders/vit") == "local-dir:vit"
    assert public_name("hf-hub:owner/name") == "hf-hub:owner/name"
    training = json.loads((tiny_run.folder / "model/bundle.json").read_text(encoding="utf-8"))["training"]
    assert training["settings_sha256"] == settings_hash(read_plan(tiny_run.folder)[0])


def test_a_better_student_is_above_the_others_with_its_interval() -> None:
    targets, cases = [0, 0, 0, 0, 1, 1, 1, 1], [f"case {number}" for number in range(8)]
    good, poor = np.linspace(0.1, 0.9, 8), np.array([0.5, 0.9, 0.4, 0.3, 0.2, 0.6, 0.1, 0.7])
    values = {arm: np.stack([1 - of, of], axis=1) for arm, of in (("lr_student", good), ("lr_undistilled", poor))}
    found = _difference(Classification(("no", "yes")), targets, values, cases, "lr_undistilled")
    low, high = found["interval"]  # type: ignore[misc]
    assert found["difference"] == 1 - 6 / 16 and 0 < low < found["difference"] <= high <= 1
