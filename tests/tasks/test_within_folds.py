"""The AUROC within folds against a plain loop over pairs, and what pooling over scales does to it."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.metrics import auroc, auroc_interval
from lrmil.tasks.within_folds import within_folds


def pairs_within(labels: Sequence[int], scores: Sequence[float], folds: Sequence[str], positive: int) -> float | None:
    wins, pairs = 0.0, 0
    for one, score, fold in zip(labels, scores, folds, strict=True):
        for other, lower, same in zip(labels, scores, folds, strict=True):
            if one == positive and other != positive and fold == same:
                wins += 1.0 if score > lower else 0.5 if score == lower else 0.0
                pairs += 1
    return wins / pairs if pairs else None


@given(st.integers(2, 4), st.integers(1, 20), st.integers(1, 3), st.integers(0, 2**16))
def test_it_is_the_share_of_pairs_of_one_fold(classes: int, slides: int, folds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, groups = rng.integers(0, classes, slides), [f"fold-{one}" for one in rng.integers(0, folds, slides)]
    values = np.round(rng.dirichlet(np.ones(classes), slides), 1)  # with ties
    found = within_folds(labels, values, [str(row) for row in range(slides)], groups, resamples=5)
    naive = [pairs_within(labels, values[:, c], groups, c) for c in (range(classes) if classes > 2 else [1])]
    if None in naive:
        assert found["auroc"] is None and found["auroc_ci"] is None and found["reason"]
    else:
        assert found["auroc"] == pytest.approx(np.mean(naive)) and not found["reason"]


def test_folds_of_different_scales_do_not_lower_it() -> None:
    labels = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    positive = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])
    values, folds = np.stack([1 - positive, positive], axis=1), ["a"] * 4 + ["b"] * 4
    found = within_folds(labels, values, [*"pqrstuvw"], folds)
    assert found["auroc"] == 1 and found["auroc_ci"] == [1, 1]
    pooled = auroc(labels, values)
    assert pooled is not None and pooled < 1


def test_one_fold_has_the_pooled_figure_and_its_interval() -> None:
    rng = np.random.default_rng(1)
    labels, positive = rng.integers(0, 2, 40), rng.random(40)
    values, cases = np.stack([1 - positive, positive], axis=1), [f"p{row // 2}" for row in range(40)]
    found = within_folds(labels, values, cases, ["fold-0"] * 40)
    assert found["auroc"] == auroc(labels, values)
    assert found["auroc_ci"] == list(auroc_interval(labels, values, cases) or ())


def test_cases_are_drawn_within_their_fold() -> None:
    """A fold of certain order and a fold of reversed order: each draw has both, so the area moves in neither."""
    labels = [0, 0, 1, 1] * 2
    positive = np.array([0.1, 0.1, 0.9, 0.9, 0.9, 0.9, 0.1, 0.1])
    folds, cases = ["a"] * 4 + ["b"] * 4, ["p", "p", "q", "q", "r", "r", "s", "s"]
    found = within_folds(labels, np.stack([1 - positive, positive], axis=1), cases, folds)
    assert found["auroc"] == 0.5 and found["auroc_ci"] == [0, 1]


def test_without_both_classes_in_a_fold_it_is_not_defined() -> None:
    values = [[0.9, 0.1], [0.2, 0.8]]
    found = within_folds([0, 1], values, ["p", "q"], ["a", "b"])
    assert found["auroc"] is None and found["reason"] == "no fold has test slides of both classes"
    one_case_each = within_folds([0, 1], values, ["p", "q"], ["a", "a"])
    assert one_case_each["auroc"] == 1 and one_case_each["auroc_ci"] is None
