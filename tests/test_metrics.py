"""Metrics against naive loops and scikit-learn; what is not defined is None."""

import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from lrmil import metrics
from lrmil.metrics import auroc, auroc_interval, balanced_accuracy, by_case, roc
from lrmil.summary import summarise


def drawn(n: int, classes: int, seed: int, *, digits: int = 8) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels with every class, and probabilities that lean to them; few digits make ties."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    logits = rng.normal(size=(n, classes)) + np.eye(classes)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return labels, np.round(probabilities, digits)


def pairwise_area(positive: NDArray[np.bool_], scores: NDArray[np.float64], weights: NDArray[np.int64]) -> float:
    wins = total = 0.0
    for i in np.flatnonzero(positive):
        for j in np.flatnonzero(~positive):
            weight = weights[i] * weights[j]
            total += weight
            wins += weight * (1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0)
    return wins / total if total else float("nan")


@given(st.integers(0, 10_000), st.integers(4, 30), st.integers(1, 8))
def test_binary_auroc_is_that_of_class_1(seed: int, n: int, digits: int) -> None:
    labels, probabilities = drawn(n, 2, seed, digits=digits)
    expected = pairwise_area(labels == 1, probabilities[:, 1], np.ones(n, np.int64))
    assert auroc(labels, probabilities) == pytest.approx(expected)


@given(st.integers(0, 10_000), st.integers(3, 5))
def test_many_classes_are_averaged_one_against_the_rest(seed: int, classes: int) -> None:
    labels, probabilities = drawn(40, classes, seed, digits=15)
    assert auroc(labels, probabilities) == pytest.approx(roc_auc_score(labels, probabilities, multi_class="ovr"))


def test_auroc_by_hand() -> None:
    right, wrong = [[0.9, 0.1], [0.2, 0.8]], [[0.1, 0.9], [0.8, 0.2]]
    assert auroc([0, 1], right) == 1.0
    assert auroc([0, 1], wrong) == 0.0
    assert auroc([0, 1], [[0.5, 0.5]] * 2) == 0.5
    assert auroc([0, 1], [[0.1, 0.3], [0.2, 0.7]]) == 1.0, "the column of class 1 counts, not that of class 0"


def test_a_missing_class_leaves_nothing_defined() -> None:
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8]])
    three = np.array([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]])
    for labels, scores in [([1, 1], probabilities), ([0, 1], three), ([], np.zeros((0, 2)))]:
        assert auroc(labels, scores) is None
        assert balanced_accuracy(labels, scores) is None
        assert auroc_interval(labels, scores, [str(n) for n in range(len(labels))]) is None
    assert roc([1, 1], probabilities, 1) is None and roc([1, 1], probabilities, 0) is None


@given(st.integers(0, 10_000), st.integers(2, 4))
def test_balanced_accuracy(seed: int, classes: int) -> None:
    labels, probabilities = drawn(25, classes, seed)
    recalls = [(probabilities[labels == index].argmax(axis=1) == index).mean() for index in range(classes)]
    assert balanced_accuracy(labels, probabilities) == pytest.approx(np.mean(recalls))
    assert balanced_accuracy(labels, probabilities) == pytest.approx(
        balanced_accuracy_score(labels, probabilities.argmax(axis=1))
    )


@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(2, 3))
def test_weighted_area_against_pairs(seed: int, digits: int, classes: int) -> None:
    labels, probabilities = drawn(15, classes, seed, digits=digits)
    weights = np.random.default_rng(seed).integers(0, 4, (6, 15))
    weights[0] = 1
    weights[1, labels == 1] = 0
    found = metrics._weighted_auroc(labels, probabilities, weights)
    columns = [1] if classes == 2 else range(classes)
    expected = [np.mean([pairwise_area(labels == c, probabilities[:, c], row) for c in columns]) for row in weights]
    np.testing.assert_allclose(found, expected)
    assert found[0] == pytest.approx(auroc(labels, probabilities)) and np.isnan(found[1])


def test_interval_against_a_loop_over_cases() -> None:
    labels, probabilities = drawn(40, 2, seed=3)
    cases = [f"p{label}{n % 9}" for n, label in enumerate(labels)]
    names = sorted(set(cases))
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(1000):
        picked = [names[place] for place in rng.integers(0, len(names), len(names))]
        slides = [n for name in picked for n, case in enumerate(cases) if case == name]
        if len(set(labels[slides])) == 2:
            areas.append(roc_auc_score(labels[slides], probabilities[slides, 1]))
    found = auroc_interval(labels, probabilities, cases, resamples=3000, level=0.9, seed=5)
    assert found is not None
    np.testing.assert_allclose(found, np.quantile(areas, [0.05, 0.95]), atol=0.02)


def test_interval_draws_cases_not_slides() -> None:
    labels, probabilities = drawn(20, 2, seed=1)
    own = auroc_interval(labels, probabilities, [str(n) for n in range(20)])
    tenfold = np.repeat(np.arange(20), 10)
    copies = auroc_interval(labels[tenfold], probabilities[tenfold], [str(n) for n in tenfold])
    slides = auroc_interval(labels[tenfold], probabilities[tenfold], [str(n) for n in range(200)])
    assert own is not None and copies is not None and slides is not None
    np.testing.assert_allclose(copies, own), "ten copies of a slide say no more than one"
    assert slides[1] - slides[0] < 0.6 * (own[1] - own[0])


def test_interval_holds_the_estimate_and_repeats() -> None:
    labels, probabilities = drawn(60, 3, seed=2)
    cases = [str(n // 2) for n in range(60)]
    interval = auroc_interval(labels, probabilities, cases)
    area = auroc(labels, probabilities)
    assert interval is not None and area is not None and interval[0] < area < interval[1]
    assert interval == auroc_interval(labels, probabilities, cases)
    assert interval != auroc_interval(labels, probabilities, cases, seed=1)
    narrow = auroc_interval(labels, probabilities, cases, level=0.5)
    assert narrow is not None and interval[0] < narrow[0] < narrow[1] < interval[1]


def test_interval_needs_two_cases_of_each_class() -> None:
    labels, probabilities = [0, 0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5]]
    assert auroc_interval(labels, probabilities, ["a", "b", "c", "c"]) is None
    assert auroc_interval(labels, probabilities, ["a", "b", "c", "d"]) == (1.0, 1.0)


@pytest.mark.parametrize("classes", [2, 3])
def test_interval_of_a_difference_against_a_loop_over_cases(classes: int) -> None:
    """The same draws for both models; the loop counts pairs in each resample."""
    labels, first = drawn(24, classes, seed=3)
    second = 0.6 * first + 0.4 * drawn(24, classes, seed=8)[1]
    cases = [f"p{label}{n % 5}" for n, label in enumerate(labels)]
    names = sorted(set(cases))
    counts = np.random.default_rng(5).multinomial(len(names), np.full(len(names), 1 / len(names)), size=60)
    columns = [1] if classes == 2 else range(classes)
    differences = []
    for row in counts:
        weights = np.array([row[names.index(case)] for case in cases])
        areas = [
            np.mean([pairwise_area(labels == column, scores[:, column], weights) for column in columns])
            for scores in (first, second)
        ]
        differences.append(areas[0] - areas[1])
    defined = [difference for difference in differences if np.isfinite(difference)]
    found = auroc_interval(labels, first, cases, minus=second, level=0.9, resamples=60, seed=5)
    np.testing.assert_allclose(found, np.quantile(defined, [0.05, 0.95]))  # type: ignore[arg-type]


def test_interval_of_a_difference_knows_that_models_err_on_the_same_slides() -> None:
    labels, first = drawn(60, 2, seed=2)
    cases = [str(n) for n in range(60)]
    other = 0.95 * first + 0.05 * drawn(60, 2, seed=9)[1]
    alone, paired = auroc_interval(labels, first, cases), auroc_interval(labels, first, cases, minus=other)
    assert alone is not None and paired is not None
    assert paired[1] - paired[0] < 0.5 * (alone[1] - alone[0])
    turned = auroc_interval(labels, other, cases, minus=first)
    np.testing.assert_allclose(turned, [-paired[1], -paired[0]])  # type: ignore[arg-type]
    assert auroc_interval(labels, first, cases, minus=first) == (0, 0)
    assert auroc_interval(labels, first, ["a", *cases[1:]], minus=other) is not None
    assert auroc_interval([0, 1], [[0.9, 0.1], [0.2, 0.8]], ["a", "b"], minus=[[0.5, 0.5]] * 2) is None


def test_interval_of_a_large_cohort_takes_seconds() -> None:
    labels, probabilities = drawn(2000, 2, seed=0)
    start = time.perf_counter()
    assert auroc_interval(labels, probabilities, [str(n // 2) for n in range(2000)]) is not None
    assert time.perf_counter() - start < 20


def test_roc_points() -> None:
    curve = roc([0, 1, 0, 1], [[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]], 1)
    assert curve is not None
    assert (curve.false_positive_rate[0], curve.true_positive_rate[0]) == (0, 0)
    assert (curve.false_positive_rate[-1], curve.true_positive_rate[-1]) == (1, 1)
    labels, probabilities = drawn(50, 3, seed=0)
    other = roc(labels, probabilities, 2)
    assert other is not None
    area = np.trapezoid(other.true_positive_rate, other.false_positive_rate)
    assert area == pytest.approx(roc_auc_score(labels == 2, probabilities[:, 2]))


def test_by_case_averages_slides() -> None:
    cases, labels, probabilities = by_case(
        [1, 0, 1, 0], [[0.2, 0.8], [0.9, 0.1], [0.4, 0.6], [0.7, 0.3]], ["z", "a", "z", "b"]
    )
    assert cases == ("a", "b", "z") and labels.tolist() == [0, 0, 1]
    np.testing.assert_allclose(probabilities, [[0.9, 0.1], [0.7, 0.3], [0.3, 0.7]])


def test_by_case_refuses_two_labels() -> None:
    with pytest.raises(ValueError, match="several for p"):
        by_case([0, 1], [[0.2, 0.8], [0.9, 0.1]], ["p", "p"])


def test_summary_is_json() -> None:
    labels, probabilities = drawn(30, 2, seed=0)
    cases = [f"{label}-{n % 7}" for n, label in enumerate(labels)]
    summary = summarise(labels, probabilities, cases, ["normal", "tumour"])
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["auroc"] == auroc(labels, probabilities)
    assert summary["balanced_accuracy"] == balanced_accuracy(labels, probabilities)
    assert summary["auroc_ci"] == list(auroc_interval(labels, probabilities, cases) or ())
    assert (summary["n_slides"], summary["n_cases"]) == (30, len(set(cases)))


def test_summary_of_one_class_has_no_rank() -> None:
    summary = summarise([0, 0], [[0.9, 0.1], [0.5, 0.5]], ["a", "b"], ["normal", "tumour"])
    brier, nll, ece = (summary.pop(name) for name in ("brier", "nll", "ece"))  # type: ignore[misc]
    assert summary == {
        "auroc": None,
        "auroc_ci": None,
        "balanced_accuracy": None,
        "accuracy": 1,
        "recall": {"normal": 1, "tumour": None},
        "auroc_by_class": {"normal": None, "tumour": None},
        "confusion": [[2, 0], [0, 0]],
        "undefined": {
            "auroc": "there is no slide of 'tumour'",
            "balanced_accuracy": "there is no slide of 'tumour'",
            "recall": "there is no slide of 'tumour'",
            "auroc_by_class": "every slide is of 'normal'",
            "auroc_ci": "there are fewer than two cases of 'tumour'",
        },
        "n_slides": 2,
        "n_cases": 2,
        "by_case": None,
        "by_case_reason": "every case has one slide",
    }
    assert brier == pytest.approx(0.13) and nll == pytest.approx(-np.log(0.45) / 2) and ece == pytest.approx(0.3)
    nothing = summarise([], np.zeros((0, 2)), [], ["normal", "tumour"])
    assert nothing["undefined"]["nll"] == "there is no slide"
    assert [nothing[name] for name in ("brier", "nll", "ece", "by_case")] == [None] * 4


@given(st.integers(0, 1000), st.integers(2, 3))
def test_summary_by_case_is_that_of_averaged_slides(seed: int, classes: int) -> None:
    labels, probabilities = drawn(40, classes, seed)
    cases = [f"{label}-{n % 7}" for n, label in enumerate(labels)]
    summary = summarise(labels, probabilities, cases, [str(n) for n in range(classes)])
    names = sorted(set(cases))
    rows = [[n for n, case in enumerate(cases) if case == name] for name in names]
    means = [np.mean([probabilities[n] for n in own], axis=0) for own in rows]
    whole = summarise([labels[own[0]] for own in rows], means, names, [str(n) for n in range(classes)])
    found = summary["by_case"]
    assert found is not None and summary["by_case_reason"] == "" and whole["by_case"] is None
    assert found["confusion"] == whole["confusion"]
    for name in found.keys() - {"confusion", "undefined"}:
        assert found[name] == pytest.approx(whole[name])  # type: ignore[literal-required]
    assert whole["n_slides"] == summary["n_cases"]


def test_slides_of_a_case_with_two_labels_have_no_figures_by_case() -> None:
    summary = summarise([0, 1, 1], [[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]], ["a", "a", "b"], ["normal", "tumour"])
    assert summary["by_case"] is None and "different labels" in summary["by_case_reason"]
    assert summary["auroc"] == 1


@pytest.mark.parametrize(
    ("labels", "probabilities", "match"),
    [
        ([0, 1], [0.2, 0.8], "Expected labels"),
        ([0, 1, 1], [[0.2, 0.8], [0.9, 0.1]], "Expected labels"),
        ([0, 2], [[0.2, 0.8], [0.9, 0.1]], "from 0 to 1; got 0 to 2"),
        ([0, -1], [[0.2, 0.8], [0.9, 0.1]], "from 0 to 1; got -1 to 0"),
        ([0, 1], [[0.2, float("nan")], [0.9, 0.1]], "finite"),
    ],
)
def test_bad_input_is_refused(labels: list[int], probabilities: list[list[float]], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        auroc(labels, probabilities)


def test_wrong_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="case for each of 2"):
        auroc_interval([0, 1], [[0.2, 0.8], [0.9, 0.1]], ["a"])
    with pytest.raises(ValueError, match="in one shape"):
        auroc_interval([0, 1], [[0.2, 0.8], [0.9, 0.1]], ["a", "b"], minus=[[0.2, 0.7, 0.1]] * 2)
    with pytest.raises(ValueError, match="each of 3 classes"):
        summarise([0, 1], [[0.2, 0.8], [0.9, 0.1]], ["a", "b"], ["x", "y", "z"])
