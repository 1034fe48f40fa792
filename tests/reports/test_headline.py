"""The sentences at the top of a report: on whom, how good, and whether the arms can be told apart."""

from dataclasses import replace
from typing import Any

import pytest

from lrmil.reports.headline import headline
from lrmil.runs.arms import ARMS
from lrmil.runs.differences import difference_sentence, find_differences
from lrmil.tasks.classification import Classification
from support.results import results

TASK = Classification(("no", "yes"))
MINUS = {
    "lr_undistilled": {"difference": 0.031, "interval": [0.010, 0.080]},
    "hr_teacher": {"difference": -0.010, "interval": [-0.050, 0.020]},
}


def figures(**more: object) -> dict[str, Any]:
    areas = zip(ARMS, (0.96, 0.919, 0.95), strict=True)
    arms = {arm: {"auroc": area, "auroc_ci": [0.9, 0.99], "balanced_accuracy": 0.8} for arm, area in areas}
    return {**arms, "student_minus": MINUS, **more}


def test_patients_figures_and_differences_are_told() -> None:
    said = headline(figures(), TASK, results(TASK, cases=32))
    assert said.startswith(
        "On 32 patients (40 slides) that the models had not seen, the distilled low-resolution student reached AUROC "
        "0.950 (95 % interval by patient 0.900 to 0.990); its high-resolution teacher 0.960, the undistilled "
        "baseline 0.919. "
    )
    for arm, found in find_differences(figures()).items():
        assert said.count(difference_sentence("AUROC", arm, found)) == 1
    assert "cannot tell student and teacher apart" in said and "the student is above the baseline" in said


def test_a_table_without_patients_has_none() -> None:
    slides = [replace(slide, case_id=slide.slide_id) for slide in results(TASK)]
    assert headline(figures(), TASK, slides).startswith("On 40 slides that")
    assert headline(figures(), TASK, results(TASK, 1)).startswith("On 1 patient (1 slide) that")


def test_what_the_encoder_of_the_start_had_seen_is_not_called_unseen() -> None:
    start = {"slides": 9, "seen": 1, "tested": {"fold-0": ["s1"]}}
    said = headline(figures(student_start=start), TASK, results(TASK))
    assert "had not seen" not in said and "the encoder that the student started from had" in said
    assert "had not seen" in headline(figures(student_start=start | {"tested": {}}), TASK, results(TASK))


def test_what_is_not_defined_or_not_stated_is_not_made_up() -> None:
    arms = figures()
    arms["lr_student"]["auroc"] = None
    assert headline(arms, TASK, results(TASK)).endswith("AUROC of the distilled low-resolution student is not defined.")
    arms = figures(student_minus=None)
    arms["lr_student"]["auroc_ci"] = None
    said = headline(arms, TASK, results(TASK))
    assert said.endswith("reached AUROC 0.950; its high-resolution teacher 0.960, the undistilled baseline 0.919.")


@pytest.mark.parametrize("interval", [None, [0.0, 0.0]])
def test_an_interval_that_tells_nothing_is_no_claim(interval: list[float] | None) -> None:
    minus = {arm: {"difference": 0.0, "interval": interval} for arm in MINUS}
    said = headline(figures(student_minus=minus), TASK, results(TASK))
    assert "above" not in said and "below" not in said
