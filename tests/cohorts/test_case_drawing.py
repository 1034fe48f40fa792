"""Cases of several labels: every fold tests every class, every case is tested once, and enough is left to fit on."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrmil.cohorts.case_drawing import MIN_FIT_CASES, draw_tests, draw_validation

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
