"""Figures of a finished run."""

import numpy as np
import pytest

from lrmil.runs.results import _difference, gap_recovered
from lrmil.tasks.classification import Classification

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


def test_a_better_student_is_above_the_others_with_its_interval() -> None:
    targets, cases = [0, 0, 0, 0, 1, 1, 1, 1], [f"case {number}" for number in range(8)]
    good, poor = np.linspace(0.1, 0.9, 8), np.array([0.5, 0.9, 0.4, 0.3, 0.2, 0.6, 0.1, 0.7])
    values = {arm: np.stack([1 - of, of], axis=1) for arm, of in (("lr_student", good), ("lr_undistilled", poor))}
    found = _difference(Classification(("no", "yes")), targets, values, cases, "lr_undistilled")
    low, high = found["interval"]  # type: ignore[misc]
    assert found["difference"] == 1 - 6 / 16 and 0 < low < found["difference"] <= high <= 1
