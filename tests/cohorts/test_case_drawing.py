"""Cases of several labels: every fold tests every class, every case is tested once, and enough is left to fit on."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrmil.cohorts.case_drawing import MIN_FIT_CASES, draw_test_part, draw_tests, draw_validation

MIXED = [(f"p{case}", label) for case, label in product(range(12), "ab")]


@pytest.mark.parametrize("seed", [0, 1])
def test_each_case_is_tested_once_and_each_fold_tests_every_class(seed: int) -> None:
    tests = draw_tests(MIXED, 3, seed)
    assert tests is not None and sorted(case for test in tests for case in test) == sorted({case for case, _ in MIXED})
    assert all({label for case, label in MIXED if case in test} == {"a", "b"} for test in tests)
    assert draw_tests(MIXED[::-1], 3, seed) == tests


def test_too_few_cases_of_a_class_are_no_folds() -> None:
    assert draw_tests([*[(f"p{n}", "a") for n in range(9)], ("q0", "b"), ("q1", "b")], 2, 0) is None


@given(
    st.dictionaries(
        st.integers(0, 30).map(str), st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True), max_size=14
    ),
    st.floats(0, 1),
)
@settings(max_examples=50)
def test_either_part_has_every_class_or_there_is_none(cases: dict[str, list[str]], share: float) -> None:
    drawn = draw_validation(cases, share, np.random.default_rng(0))
    labels = {label for its in cases.values() for label in its}
    rare = any(sum(its.count(label) for its in cases.values()) < MIN_FIT_CASES for label in labels)
    if drawn is None:
        assert labels
        return
    assert not rare and drawn <= cases.keys()
    for part in (drawn, cases.keys() - drawn):
        assert {label for case in part for label in cases[case]} == labels


def counted(cases: Mapping[str, Sequence[str]], among: Iterable[str]) -> Counter[str]:
    return Counter(label for case in among for label in cases[case])


@given(st.lists(st.integers(3, 40), min_size=2, max_size=5), st.floats(0.01, 0.99), st.integers(0, 99))
@settings(max_examples=200)
def test_a_test_part_of_pure_cases_is_as_near_to_its_share_as_whole_cases_allow(
    sizes: list[int], share: float, seed: int
) -> None:
    cases = {f"{label}{n:02}": [label] for label, size in zip("abcde", sizes, strict=False) for n in range(size)}
    drawn = draw_test_part(cases, share, seed)
    assert drawn is not None and drawn <= cases.keys()
    tested = counted(cases, drawn)
    fewest, most = len(sizes), sum(sizes) - MIN_FIT_CASES * len(sizes)
    assert len(drawn) == min(max(round(share * sum(sizes)), fewest), most)
    off = {label: tested[label] - share * size for label, size in zip("abcde", sizes, strict=False)}
    for label, size in zip("abcde", sizes, strict=False):
        assert 1 <= tested[label] <= size - MIN_FIT_CASES
        for other in off:  # no case of this class in place of one of another would be nearer
            if tested[label] < size - MIN_FIT_CASES and tested[other] > 1:
                assert off[other] - off[label] <= 1 + 1e-9


@given(
    st.dictionaries(
        st.integers(0, 60).map(str), st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True), max_size=30
    ),
    st.floats(0.01, 0.99),
    st.integers(0, 9),
)
@settings(max_examples=200)
def test_a_test_part_tests_every_class_and_leaves_cases_to_fit_on(
    cases: dict[str, list[str]], share: float, seed: int
) -> None:
    drawn = draw_test_part(cases, share, seed)
    sizes = counted(cases, cases)
    if drawn is None:
        assert any(len(labels) > 1 for labels in cases.values()) or min(sizes.values()) <= MIN_FIT_CASES
        return
    tested = counted(cases, drawn)
    assert all(1 <= tested[label] <= size - MIN_FIT_CASES for label, size in sizes.items())
    assert len(drawn) <= max(round(share * len(cases)), len(sizes))


@given(st.randoms(use_true_random=False), st.integers(0, 9))
@settings(max_examples=30)
def test_a_test_part_does_not_depend_on_any_order(random: Random, seed: int) -> None:
    cases = {f"p{n}": ["a", "b"] if n % 5 == 0 else [("a", "b")[n % 2]] for n in range(20)}
    shuffled = {case: random.sample(cases[case], len(cases[case])) for case in random.sample(sorted(cases), len(cases))}
    assert draw_test_part(shuffled, 0.3, seed) == draw_test_part(cases, 0.3, seed)


def test_seeds_draw_other_test_parts() -> None:
    cases = {f"p{n}": ["ab"[n % 2]] for n in range(40)}
    drawn = [draw_test_part(cases, 0.25, seed) for seed in range(5)]
    assert len({frozenset(one or ()) for one in drawn}) == 5 and {len(one or ()) for one in drawn} == {10}
