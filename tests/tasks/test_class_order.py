"""Classes that are numbers stand in the order of numbers; the positive one of two is last."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.tasks.class_order import number_of, order_before_numbers, order_classes


@pytest.mark.parametrize(
    "classes",
    [
        ("1", "2", "10"),
        ("-1", "0.5", "3"),
        ("-1", "0"),
        ("-1", "+1"),
        ("0", "1"),
        ("0.0", "1.0"),
        ("-10", "-9", "9", "10", "100"),
        ("1e2", "1e3", "2e3"),
        (".5", "1.", "2"),
        ("0,5", "1,5", "10,5"),
        ("\u22122", "\u22121", "3"),
        ("grade 1", "grade 2", "grade 10"),
        ("T1", "T1a", "T2", "T10"),
        ("9", "10", "unknown"),
        ("grade 1", "grade 02", "grade 10"),
        ("3", "grade 2", "grade 10"),
        ("a", "b", "normal"),
        ("normal", "tumour"),
        ("Normal", "ABNORMAL"),
        ("wild-type", "KRAS mutated"),
        ("Wild Type", "BRAF mutated"),
        ("non-responder", "a responder"),
        ("not seen", "Seen"),
        ("ER-", "ER+"),
        ("no", "none"),
        ("grade 0", "grade 1"),
        ("1" * 400, "2" * 400, "1" * 401),
        ("stage 1" + "0" * 5000, "stage 2" + "0" * 5000),
    ],
)
def test_the_order(classes: tuple[str, ...]) -> None:
    shuffled = list(classes)
    for seed in range(5):
        random.Random(seed).shuffle(shuffled)
        assert order_classes(shuffled) == classes


@given(st.lists(st.floats(-1e6, 1e6).map(lambda value: f"{value:.4f}") | st.integers().map(str), unique_by=float))
def test_numbers_are_ordered_as_numbers(names: list[str]) -> None:
    assert list(order_classes(names)) == sorted(names, key=float)


@given(st.lists(st.text(max_size=8), max_size=5))
def test_every_class_is_there_once_whatever_the_order(names: list[str]) -> None:
    ordered = order_classes(names)
    assert sorted(ordered) == sorted(set(names)) and order_classes(reversed(names)) == ordered


@pytest.mark.parametrize("positive", ["0", "1", "-1", "normal", "tumour", "LUAD", "LUSC"])
@pytest.mark.parametrize("classes", [("0", "1"), ("-1", "1"), ("normal", "tumour"), ("LUAD", "LUSC")])
def test_the_positive_one_of_two_is_last(classes: tuple[str, str], positive: str) -> None:
    expected = tuple(sorted(classes, key=lambda name: name == positive)) if positive in classes else classes
    assert order_classes(classes, positive) == expected


@pytest.mark.parametrize("name", ["", "a", "nan", "inf", "1_000", "0x1", "1 2", "1e999", "--1", "1.2.3", "."])
def test_what_is_no_number(name: str) -> None:
    assert number_of(name) is None


@pytest.mark.parametrize(
    "classes", [("+", "-1"), ("0", "yes"), ("absent", "benign"), ("LUAD", "LUSC"), ("HER2+", "HER2-low")]
)
def test_only_a_sign_of_absence_reverses_two_classes(classes: tuple[str, str]) -> None:
    assert order_classes(classes) == order_classes(reversed(classes)) == classes


def test_the_order_before() -> None:
    assert order_before_numbers(["1", "2", "10"]) == ("1", "10", "2")
    assert order_before_numbers(["tumour", "normal"]) == ("normal", "tumour")
    assert order_before_numbers(["yes", "absent"]) == ("absent", "yes")
    assert order_before_numbers(["normal", "benign"]) == ("benign", "normal"), "neither is the absence of the other"
