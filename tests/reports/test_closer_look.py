"""The closer look in the report and on the card."""

from typing import Any

import pytest

from lrmil.reports.closer_look import closer_look, why_not_kept
from lrmil.reports.decision_facts import teacher_facts
from support.teachers import card_of_teacher


def point(regions: int, uncertain: int, wrong: int, share: float) -> dict[str, Any]:
    return {
        "regions": regions,
        "slides": 20,
        "looked_at": 5 if regions else 0,
        "uncertain": uncertain,
        "wrong_answered": wrong,
        "patches_per_slide": 100 * share,
        "share_of_hr": share,
    }


def figures(curve: list[dict[str, Any]] | None, reason: str = "") -> dict[str, Any]:
    by_fold = {
        "fold-0": {"calibration": None if reason else {"slides": 8}, "decision": None, "folds": 0, "reason": reason}
    }
    return {"escalation": {"regions": 2, "by_fold": by_fold, "curve": curve}}


def test_the_curve_is_drawn_once_for_each_cost() -> None:
    curve = [point(0, 6, 1, 0.06), point(1, 4, 1, 0.08), point(2, 3, 1, 0.1), point(4, 3, 1, 0.1)]
    found = closer_look(figures(curve))
    assert found is not None and found.regions == 2 and found.points == curve and found.reason == ""
    picture = str(found.picture)
    for text in (">0<", ">1<", ">2<", "not answered", "answered wrong", "30%"):
        assert text in picture, text
    assert ">4<" not in picture  # it reads no more than 2


@pytest.mark.parametrize("uncertain", [0, 20])
def test_a_curve_without_or_with_nothing_but_uncertain_slides_is_drawn(uncertain: int) -> None:
    found = closer_look(figures([point(0, uncertain, 0, 0.06), point(1, uncertain, 0, 0.06)]))
    assert found is not None and "<svg" in found.picture


def test_without_a_curve_the_reason_is_told() -> None:
    found = closer_look(figures(None, "inner_folds is 0"))
    assert found is not None and found.points == [] and found.picture == ""
    not_kept = "The model does not keep its teacher, because the teacher is not calibrated: inner_folds is 0."
    assert found.reason == why_not_kept(figures(None, "inner_folds is 0")) == not_kept
    assert closer_look({}) is None and why_not_kept({}) == ""


NO_ORDER = {"calibration": None, "reason": "no order"}
FITTED = {"calibration": {"slides": 8}, "reason": ""}


def folds(students: dict[str, object], teachers: dict[str, object]) -> dict[str, Any]:
    return {"calibration": {"by_fold": students}, "escalation": {"regions": 2, "by_fold": teachers, "curve": None}}


def test_it_is_said_whether_the_model_lacks_it_or_another_fold() -> None:
    names = ("final", "fold-0", "fold-1")  # as metrics.json sorts them
    fitted = dict.fromkeys(names, FITTED)
    not_kept, no_curve = "The model does not keep its teacher", "There is no curve"
    told = {
        "student of the model": (folds({**fitted, "final": NO_ORDER}, fitted), not_kept, "the student"),
        "teacher of the model": (folds(fitted, {**fitted, "final": NO_ORDER}), not_kept, "the teacher"),
        "student of a fold": (folds({**fitted, "fold-1": NO_ORDER}, fitted), no_curve, "fold-1: the student"),
        "teacher of a fold": (folds(fitted, {**fitted, "fold-1": NO_ORDER}), no_curve, "fold-1: the teacher"),
        "another number of regions": (folds(fitted, fitted), no_curve, "one of the numbers of regions."),
    }
    for what, (metrics, start, words) in told.items():
        found = closer_look(metrics)
        assert found is not None and found.reason.startswith(start) and words in found.reason, what
        assert (found.reason.count("no order"), why_not_kept(metrics) != "") == (
            "regions" not in what,
            start == not_kept,
        ), what
    both = closer_look(folds({**fitted, "final": NO_ORDER, "fold-0": NO_ORDER}, fitted))
    assert both is not None and both.reason.startswith(not_kept) and "fold-0: the student" in both.reason


def test_a_curve_of_other_folds_does_not_hide_that_the_model_lacks_its_teacher() -> None:
    metrics = folds({"final": NO_ORDER, "fold-0": FITTED}, {"final": FITTED, "fold-0": FITTED})
    metrics["escalation"]["curve"] = [point(0, 6, 1, 0.06), point(1, 4, 1, 0.08)]
    found = closer_look(metrics)
    assert found is not None and found.picture and found.reason == why_not_kept(metrics) != ""


def test_the_card_says_what_is_kept() -> None:
    (said,) = teacher_facts(card_of_teacher(regions=3), 2.0).values()
    assert (
        "keeps its teacher" in said
        and "the 3 regions of an uncertain slide" in said
        and "at 1 instead of 2 um/px" in said
    )
    (said,) = teacher_facts(card_of_teacher(regions=1), 2.0).values()
    assert "the region of an uncertain slide" in said
    assert teacher_facts(None, 2.0) == {}
