"""Inner folds: whole cases, every class to train on in each, and as many as the smallest class allows."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrmil.cohorts.inner_folds import count_cases, draw_inner_folds


def cohort(*sizes: int, slides: int = 2) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """Slides, their cases and their classes: so many cases of each class, with some slides each."""
    cases, strata = {}, {}
    for name, size in zip("abc", sizes, strict=False):
        for number in range(size):
            for slide in range(1 + number % slides):
                cases[f"{name}{number}-{slide}"], strata[f"{name}{number}-{slide}"] = f"{name}{number}", name
    return list(cases), cases, strata


def test_cases_are_counted_not_slides() -> None:
    slide_ids, cases, strata = cohort(3, 5)
    assert len(slide_ids) == 4 + 7 and count_cases(slide_ids, cases, strata) == {"a": 3, "b": 5}
    assert count_cases(slide_ids[:1], cases, strata) == {"a": 1}
    cases = dict.fromkeys(cases, "one patient")
    assert count_cases(slide_ids, cases, strata) == {"a": 1, "b": 1}


@given(st.integers(2, 12), st.integers(2, 12), st.integers(1, 3), st.integers(2, 6), st.integers(0, 2**33))
@settings(deadline=None, max_examples=40)
def test_each_slide_is_held_out_once_with_its_case(first: int, second: int, slides: int, folds: int, seed: int) -> None:
    slide_ids, cases, strata = cohort(first, second, slides=slides)
    inner = draw_inner_folds(slide_ids, cases, strata, folds=folds, seed=seed)
    assert len(inner.held_out) == min(folds, first, second) and bool(inner.reason) == (min(first, second) < folds)
    assert sorted(slide_id for held in inner.held_out for slide_id in held) == sorted(slide_ids)
    for held in inner.held_out:
        left = set(slide_ids) - set(held)
        assert held and not {cases[i] for i in held} & {cases[i] for i in left} and {strata[i] for i in left} == {*"ab"}
    turned = draw_inner_folds(slide_ids[::-1], cases, strata, folds=folds, seed=seed)
    assert turned == inner


def test_classes_are_spread_evenly() -> None:
    slide_ids, cases, strata = cohort(8, 16, slides=1)
    for held in draw_inner_folds(slide_ids, cases, strata, folds=4, seed=3).held_out:
        assert count_cases(held, cases, strata) == {"a": 2, "b": 4}


@pytest.mark.parametrize("sizes", [(1, 9), (9, 1), (5, 5, 1)])
def test_a_class_with_one_case_cannot_be_divided(sizes: tuple[int, ...]) -> None:
    inner = draw_inner_folds(*cohort(*sizes), folds=4, seed=0)
    assert inner.held_out == () and "1 case " in inner.reason


def test_cases_of_several_classes_take_fewer_folds_where_a_class_would_be_lost() -> None:
    """Each class is in two cases, but two of the classes share them."""
    strata = {"1a": "a", "1b": "b", "2a": "a", "2b": "b", "3c": "c", "4c": "c", "5c": "c"}
    cases = {slide_id: slide_id[0] for slide_id in strata}
    inner = draw_inner_folds(list(strata), cases, strata, folds=4, seed=0)
    assert len(inner.held_out) in (0, 2) and inner.reason
    for held in inner.held_out:
        assert {strata[i] for i in set(strata) - set(held)} == {"a", "b", "c"}


def test_no_folds_are_better_than_one_that_leaves_a_class_out() -> None:
    """Each class is in two cases, and any half of the three cases holds both of one class."""
    classes = {"2-0": "b", "1-1": "a", "0-2": "c", "0-3": "b", "2-4": "b", "2-5": "a", "1-6": "c"}
    inner = draw_inner_folds(list(classes), {i: i[0] for i in classes}, classes, folds=4, seed=0)
    assert inner.held_out == () and "2 cases" in inner.reason


def test_the_seed_draws_the_folds() -> None:
    drawn = {draw_inner_folds(*cohort(6, 6), folds=3, seed=seed).held_out for seed in range(5)}
    assert len(drawn) > 1


def test_none_are_drawn_where_none_are_asked_for() -> None:
    assert draw_inner_folds(*cohort(4, 4), folds=0, seed=0).held_out == ()
