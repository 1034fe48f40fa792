"""What the probabilities of a run are worth, from its slides: of which student, and with which points."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from lrmil.calibration import calibration_error
from lrmil.reports.run_trust import CALIBRATED, UNCALIBRATED, find_calibrations, run_trust
from lrmil.reports.slide_results import SlideResult
from lrmil.runs.arms import ARMS
from lrmil.tasks.classification import Classification
from support.amount_task import Amount
from support.results import results

TWO, THREE = Classification(("no", "yes")), Classification(("a", "b", "c"))


def test_points_are_those_of_the_calibrated_student() -> None:
    slides = results(TWO)
    found = run_trust(slides, TWO)
    assert found is not None and found.student == CALIBRATED and [*found.reliability] == [UNCALIBRATED, CALIBRATED]
    targets = np.array([TWO.target(slide.label) for slide in slides])
    for name, bins in found.reliability.items():
        values = np.array(
            [slide.calibrated if name == CALIBRATED else slide.probabilities["lr_student"] for slide in slides]
        )
        gaps = np.abs(np.array(bins["right"]) - bins["confidence"])
        assert (gaps * bins["slides"]).sum() / 40 == pytest.approx(calibration_error(targets, values))
    mild = [(slide.label, slide.calibrated or []) for slide in slides]
    for threshold, benefit in zip(found.decision_curve["thresholds"], found.decision_curve["lr_student"], strict=True):
        acted = [label == "yes" for label, (_, value) in mild if value >= threshold]
        price = threshold / (1 - threshold)
        assert benefit == pytest.approx((acted.count(True) - price * acted.count(False)) / 40)
    sure = sorted(((max(values), TWO.names[int(np.argmax(values))] != label) for label, values in mild), reverse=True)
    risks = [sum(wrong for _, wrong in sure[:number]) / number for number in range(1, 41)]
    assert found.selective["risk"] == pytest.approx(risks) and found.selective_area == pytest.approx(np.mean(risks))
    assert found.selective["coverage"] == pytest.approx(np.arange(1, 41) / 40)
    assert json.loads(json.dumps(asdict(found), allow_nan=False)) == asdict(found)


def test_the_uncalibrated_student_is_shown_where_there_is_no_other() -> None:
    slides = results(TWO, calibrated=False)
    found, other = run_trust(slides, TWO), run_trust(results(TWO), TWO)
    assert found is not None and other is not None
    assert (found.student, [*found.reliability]) == (UNCALIBRATED, [UNCALIBRATED])
    assert found.reliability[UNCALIBRATED] == other.reliability[UNCALIBRATED]
    assert found.decision_curve["hr_teacher"] == other.decision_curve["hr_teacher"]
    assert found.decision_curve["lr_student"] != other.decision_curve["lr_student"]


def test_more_than_two_classes_have_no_decision_curve_and_no_test() -> None:
    found = run_trust(results(THREE), THREE)
    assert found is not None and (found.decision_curve, found.delong) == ({}, {})
    assert sum(found.reliability[CALIBRATED]["slides"]) == 40 and found.selective["coverage"][-1] == 1


def test_delongs_test_is_of_the_student_less_the_others() -> None:
    slides = results(TWO)
    found = run_trust(slides, TWO)
    assert found is not None and found.delong.keys() == {"lr_undistilled", "hr_teacher"}
    targets = [TWO.target(slide.label) for slide in slides]
    arms = {arm: np.array([slide.probabilities[arm] for slide in slides]) for arm in ARMS}
    for other, test in found.delong.items():
        assert test is not None
        difference = TWO.score(targets, arms["lr_student"]) - TWO.score(targets, arms[other])  # type: ignore[operator]
        assert test["difference"] == pytest.approx(difference)
        assert test["interval"][0] < difference < test["interval"][1] and 0 < test["p"] < 1  # type: ignore[index, operator]


def test_one_slide_of_a_class_has_no_test() -> None:
    found = run_trust(results(TWO, 3), TWO)
    assert found is not None and found.delong == {"lr_undistilled": None, "hr_teacher": None}


def test_cases_with_several_slides_are_counted() -> None:
    counts = [trust.cases_with_several_slides for n in (40, 30, 7) if (trust := run_trust(results(TWO, cases=n), TWO))]
    assert counts == [0, 10, 7]


def test_a_task_without_such_figures_has_none() -> None:
    values = {arm: [1.0] for arm in ARMS}
    slide = SlideResult("s", "p", "fold-0", "1.0", values, {}, {}, 0.5, "")
    assert run_trust([slide], Amount(1.0)) is None


def test_calibrations_are_found_where_every_tested_fold_has_one() -> None:
    fitted = {"slopes": [1.2, 1.2], "offsets": [0.1, -0.1], "slides": 30}
    stated = {"by_fold": {"fold-0": {"calibration": fitted}, "final": {"calibration": None}}, "after": {"auroc": 0.9}}
    found = find_calibrations({"calibration": stated})
    assert found is not None and found.keys() == {"fold-0"} and found["fold-0"].slides == 30
    assert find_calibrations({"calibration": stated | {"after": None}}) is None and find_calibrations({}) is None
    fitted["slopes"] = [-1.0, 1.2]
    with pytest.raises(ValueError, match="slopes"):
        find_calibrations({"calibration": stated})
