"""Collect what the probabilities of a run are worth: reliability, decision curve, selective risk, DeLong's tests."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from lrmil.calibration import Reliability
from lrmil.reports.slide_results import SlideResult
from lrmil.runs.arms import ARMS, CALIBRATION
from lrmil.runs.differences import OTHERS
from lrmil.selective import Selective
from lrmil.tasks.answers import Target
from lrmil.tasks.calibration import Calibration
from lrmil.tasks.task import Task

CALIBRATED, UNCALIBRATED = "calibrated", "uncalibrated"
Points = dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class RunTrust:
    """What the probabilities of a run are worth on its test slides, JSON-ready."""

    student: str
    """Of which student `selective` and `decision_curve` are: `CALIBRATED` if every fold has a calibration."""
    reliability: dict[str, Points]
    """`CALIBRATED` or `UNCALIBRATED` -> points, a bin each: confidence, right, low, high, slides."""
    selective: Points
    """Points: coverage, risk, confidence."""
    selective_area: float
    decision_curve: Points
    """thresholds, treat_all, and the net benefit of each arm; {} unless there are two classes."""
    delong: dict[str, dict[str, object] | None]
    """Arm -> difference, interval and p of the student less it, or None; {} unless there are two classes."""
    cases_with_several_slides: int


def find_calibrations(figures: Mapping[str, Any]) -> dict[str, Calibration] | None:
    """Return the calibration of each fold that metrics.json states; None if a fold has none, as in earlier versions.

    Parameters
    ----------
    figures
        Content of metrics.json.

    Raises
    ------
    ValueError
        If a calibration is damaged.
    """
    found = figures.get(CALIBRATION)
    if not found or not found["after"]:
        return None
    stated = {fold: one["calibration"] for fold, one in found["by_fold"].items() if one["calibration"]}
    return TypeAdapter(dict[str, Calibration]).validate_python(stated)


def run_trust(slides: Sequence[SlideResult], task: Task) -> RunTrust | None:
    """Return what the probabilities of a run are worth; None if its task has no such figures.

    Parameters
    ----------
    slides
        The test slides.
    task
        What is predicted.
    """
    targets = [task.target(slide.label) for slide in slides]
    arms = {arm: np.array([slide.probabilities[arm] for slide in slides]) for arm in ARMS}
    students = {UNCALIBRATED: arms["lr_student"]}
    calibrated = [slide.calibrated for slide in slides if slide.calibrated is not None]
    if len(calibrated) == len(slides):
        students[CALIBRATED] = np.array(calibrated)
    trusts = {name: task.trust(targets, values) for name, values in students.items()}
    name = CALIBRATED if CALIBRATED in students else UNCALIBRATED
    if (shown := trusts[name]) is None:
        return None
    return RunTrust(
        student=name,
        reliability={one: _bins(trust.reliability) for one, trust in trusts.items() if trust},
        selective=_points(shown.selective),
        selective_area=shown.selective.area,
        decision_curve=_decision_curve(task, targets, arms | {"lr_student": students[name]}),
        delong=_delong(task, targets, arms),
        cases_with_several_slides=sum(count > 1 for count in Counter(slide.case_id for slide in slides).values()),
    )


def _bins(found: Reliability) -> Points:
    low, high = found.interval.T.tolist()
    slides = found.slides.tolist()
    return {
        "confidence": found.confidence.tolist(),
        "right": found.right.tolist(),
        "low": low,
        "high": high,
        "slides": slides,
    }


def _points(found: Selective) -> Points:
    return {
        "coverage": found.coverage.tolist(),
        "risk": found.risk.tolist(),
        "confidence": found.confidence.tolist(),
    }


def _decision_curve(task: Task, targets: Sequence[Target], arms: Mapping[str, NDArray[np.float64]]) -> Points:
    found: Points = {}
    for arm, values in arms.items():
        trust = task.trust(targets, values)
        if trust is None or trust.benefit is None:
            return {}
        found |= {"thresholds": trust.benefit.thresholds.tolist(), "treat_all": trust.benefit.treat_all.tolist()}
        found[arm] = trust.benefit.net_benefit.tolist()
    return found


def _delong(
    task: Task, targets: Sequence[Target], arms: Mapping[str, NDArray[np.float64]]
) -> dict[str, dict[str, object] | None]:
    if len(task.names) != 2:
        return {}
    tests = {other: task.difference_test(targets, arms["lr_student"], arms[other]) for other in OTHERS}
    return {
        other: found and {"difference": found.difference, "interval": list(found.interval), "p": found.p}
        for other, found in tests.items()
    }
