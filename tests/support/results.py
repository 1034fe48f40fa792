"""Test slides of a run, for its report."""

import numpy as np

from lrmil.reports.slide_results import SlideResult
from lrmil.runs.arms import ARMS
from lrmil.tasks.classification import Classification


def results(task: Classification, count: int = 40, *, calibrated: bool = True, cases: int = 40) -> list[SlideResult]:
    """Test slides whose arms are unlike each other."""
    rng = np.random.default_rng(count)
    found = []
    for number in range(count):
        place = number % len(task.names)
        values = {arm: rng.dirichlet(1 + 2.0 * np.eye(len(task.names))[place]).tolist() for arm in ARMS}
        mild = (0.5 * np.array(values["lr_student"]) + 0.5 / len(task.names)).tolist()
        said = {arm: task.names[int(np.argmax(value))] for arm, value in values.items()}
        case = f"p{number % cases}"
        found.append(
            SlideResult(
                f"s{number}", case, "fold-0", task.names[place], values, said, {}, 0.5, "", mild if calibrated else None
            )
        )
    return found
