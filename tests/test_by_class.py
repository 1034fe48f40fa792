"""Figures by class against naive loops, for cohorts that have every class, some of them, one or none."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lrmil.by_class import MAX_CONFUSED, class_figures, why_no_interval, why_undefined
from lrmil.models.card import MAX_DOCUMENT
from lrmil.summary import summarise

NAMES = ("low", "mid", "high", "top")
Cohorts = tuple[NDArray[np.int64], NDArray[np.float64], list[str], tuple[str, ...]]


@st.composite
def cohorts(draw: st.DrawFn) -> Cohorts:
    """Labels that may lack classes, probabilities with ties, cases of any labels, and class names."""
    classes = draw(st.integers(2, 4))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=0, max_size=14))
    tenths = st.lists(st.integers(1, 9), min_size=classes, max_size=classes)
    weights = np.array(draw(st.lists(tenths, min_size=len(labels), max_size=len(labels))), float)
    scores = weights.reshape(len(labels), classes)
    cases = draw(st.lists(st.sampled_from("pqrst"), min_size=len(labels), max_size=len(labels)))
    return np.array(labels, np.int64), scores / scores.sum(axis=1, keepdims=True), cases, NAMES[:classes]


def naive(labels: Sequence[int], scores: NDArray[np.float64], classes: Sequence[str]) -> dict[str, object]:
    """The same figures, slide by slide and pair by pair."""
    counts = [[0] * len(classes) for _ in classes]
    for label, row in zip(labels, scores, strict=True):
        best = 0
        for place, value in enumerate(row):
            best = place if value > row[best] else best
        counts[label][best] += 1
    recall: dict[str, float | None] = {}
    areas: dict[str, float | None] = {}
    for place, name in enumerate(classes):
        of_class = sum(counts[place])
        recall[name] = counts[place][place] / of_class if of_class else None
        wins, pairs = 0.0, 0
        for one, own in enumerate(labels):
            for two, other in enumerate(labels):
                if own == place != other:
                    pairs += 1
                    a, b = scores[one, place], scores[two, place]
                    wins += 1.0 if a > b else 0.5 if a == b else 0.0
        areas[name] = wins / pairs if pairs else None
    right = sum(counts[place][place] for place in range(len(classes)))
    accuracy = right / len(labels) if len(labels) else None
    return {"accuracy": accuracy, "recall": recall, "auroc_by_class": areas, "confusion": counts}


@given(cohorts())
def test_figures_are_those_of_loops(cohort: Cohorts) -> None:
    labels, scores, _, classes = cohort
    found, expected = (
        class_figures(labels, scores, classes, scores.argmax(axis=1)),
        naive(labels.tolist(), scores, classes),
    )
    assert found.keys() == expected.keys() and found["confusion"] == expected["confusion"]
    assert found["accuracy"] == pytest.approx(expected["accuracy"])
    assert found["recall"] == pytest.approx(expected["recall"])
    assert found["auroc_by_class"] == pytest.approx(expected["auroc_by_class"])


@given(cohorts())
def test_whatever_is_not_defined_has_a_reason_and_nothing_else_has_one(cohort: Cohorts) -> None:
    labels, scores, cases, classes = cohort
    summary = summarise(labels, scores, cases, classes)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    for measured in (summary, summary["by_case"]):
        if measured is not None:
            figures = {name: value for name, value in measured.items() if not name.startswith(("by_case", "undefined"))}
            missing = {
                name
                for name, value in figures.items()
                if value is None or (isinstance(value, dict) and None in value.values())
            }
            assert measured["undefined"].keys() == missing
            assert all(measured["undefined"].values())


@given(cohorts())
def test_they_agree_with_the_figures_of_all_classes(cohort: Cohorts) -> None:
    labels, scores, cases, classes = cohort
    found = summarise(labels, scores, cases, classes)
    recalls, areas = list(found["recall"].values()), list(found["auroc_by_class"].values())
    if None not in recalls:
        assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))  # type: ignore[arg-type]
        assert found["auroc"] == pytest.approx(areas[1] if len(classes) == 2 else np.mean(areas))  # type: ignore[arg-type]
    assert sum(map(sum, found["confusion"] or [])) == found["n_slides"]


def test_a_cohort_without_a_class_has_the_figures_of_the_others() -> None:
    labels, scores = np.array([0, 0, 1]), np.array([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.1, 0.8, 0.1]])
    assert class_figures(labels, scores, NAMES[:3], scores.argmax(axis=1)) == {
        "accuracy": pytest.approx(2 / 3),
        "recall": {"low": 0.5, "mid": 1, "high": None},
        "auroc_by_class": {"low": 1, "mid": 1, "high": None},
        "confusion": [[1, 0, 1], [0, 1, 0], [0, 0, 0]],
    }
    absent = "there is no slide of 'high'"
    names = ("auroc", "balanced_accuracy", "recall", "auroc_by_class")
    assert why_undefined(labels, NAMES[:3], of="slide") == dict.fromkeys(names, absent)


def test_two_classes_have_one_area_where_a_probability_rounds_to_one() -> None:
    scores = np.array([[1.0, 1e-30], [1.0, 1e-20], [1.0, 1e-25]])
    assert class_figures(np.array([0, 1, 0]), scores, NAMES[:2], np.zeros(3, np.int64))["auroc_by_class"] == {
        "low": 1,
        "mid": 1,
    }


@pytest.mark.parametrize("count", [1, 5])
def test_a_cohort_of_one_class_has_its_recall(count: int) -> None:
    labels, scores = np.full(count, 1), np.tile([0.3, 0.7], (count, 1))
    found = class_figures(labels, scores, NAMES[:2], scores.argmax(axis=1))
    assert found["accuracy"] == 1 and found["confusion"] == [[0, 0], [0, count]]
    assert found["recall"] == {"low": None, "mid": 1} and set(found["auroc_by_class"].values()) == {None}
    reasons = why_undefined(labels, NAMES[:2], of="case")
    assert reasons["auroc_by_class"] == "every case is of 'mid'" and reasons["recall"] == "there is no case of 'low'"


def test_the_counts_of_many_classes_would_be_too_large_for_a_model_file() -> None:
    for classes in (MAX_CONFUSED, MAX_CONFUSED + 1):
        names, labels = [str(place) for place in range(classes)], np.arange(classes)
        found, reasons = class_figures(labels, np.eye(classes), names, labels), why_undefined(labels, names, of="slide")
        assert (found["confusion"] is None) == ("confusion" in reasons) == (classes > MAX_CONFUSED)
        assert set(found["recall"].values()) == {1}
        if found["confusion"] is not None:
            largest = [["9999" for _ in row] for row in found["confusion"]]  # with its quotes as long as six digits
            arms = {arm: {way: {"by_case": {"confusion": largest}} for way in range(4)} for arm in range(3)}
            assert len(json.dumps({"metrics": arms}, indent=2)) < MAX_DOCUMENT


def test_why_there_is_no_interval() -> None:
    labels = np.array([0, 0, 1, 1])
    assert why_no_interval(labels, ["p", "q", "r", "r"], NAMES[:2]) == "there are fewer than two cases of 'mid'"
    assert "two cases of 'high', 'mid'" in why_no_interval(labels, ["p", "q", "r", "r"], NAMES[:3])
    assert "no resample" in why_no_interval(labels, ["p", "q", "r", "s"], NAMES[:2])
