"""One answer of a case does not depend on the order of its slides, and each rule is what it says."""

import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from lrmil.configs import AUTO, CaseRuleSetting
from lrmil.tasks.case_rule import RULE_WORDS, CaseRule, cases_in_order, pool_probabilities, rules_of
from lrmil.tasks.classification import Classification

LOGITS = st.floats(-60, 60)


@st.composite
def slides(draw: st.DrawFn, classes: int | None = None) -> NDArray[np.float64]:
    columns = classes or draw(st.integers(2, 5))
    logits = draw(st.lists(st.lists(LOGITS, min_size=columns, max_size=columns), min_size=1, max_size=7))
    names = tuple(map(str, range(columns)))
    return Classification(names).values(np.array(logits, np.float32))


@given(slides(), st.randoms(use_true_random=False))
def test_the_order_of_slides_changes_no_bit(values: NDArray[np.float64], random: object) -> None:
    order = list(range(len(values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    for rule in rules_of(values.shape[1]):
        assert_array_equal(pool_probabilities(values[order], rule), pool_probabilities(values, rule))


@given(slides())
def test_answers_are_probabilities_that_sum_to_one(values: NDArray[np.float64]) -> None:
    for rule in rules_of(values.shape[1]):
        found = pool_probabilities(values, rule)
        assert found.min() >= 0 and math.fsum(found) == pytest.approx(1, abs=1e-9)
        answer = Classification(tuple(map(str, range(values.shape[1])))).answer(found)
        assert not Classification.answer_problem(answer.label, answer.values)


@given(slides())
def test_one_slide_has_its_own_answer(values: NDArray[np.float64]) -> None:
    for rule in rules_of(values.shape[1]):
        assert_array_equal(pool_probabilities(values[:1], rule), values[0])


@given(slides(classes=2), st.data())
def test_a_more_positive_slide_makes_no_case_less_positive(values: NDArray[np.float64], data: st.DataObject) -> None:
    row = data.draw(st.integers(0, len(values) - 1))
    share = data.draw(st.floats(0, 1))
    raised = values.copy()
    raised[row] = [values[row, 0] * share, 1 - values[row, 0] * share]
    for rule in rules_of(2):
        before, after = pool_probabilities(values, rule)[1], pool_probabilities(raised, rule)[1]
        assert after >= before - 1e-12


@given(slides(), st.integers(0, 4))
def test_a_class_that_leads_on_every_slide_leads_in_the_case(values: NDArray[np.float64], place: int) -> None:
    leader = place % values.shape[1]
    values = np.sort(values, axis=1)
    values[:, [leader, -1]] = values[:, [-1, leader]]
    for rule in rules_of(values.shape[1]):
        if rule != "noisy-or":  # where many slides that are a little negative make a positive case
            found = pool_probabilities(values, rule)
            assert found[leader] >= found.max() - 1e-12


@given(slides())
def test_the_mean_is_that_of_the_log_odds(values: NDArray[np.float64]) -> None:
    clipped = np.clip(values, np.finfo(float).tiny, None)
    products = [math.exp(sum(math.log(one) for one in column) / len(column)) for column in clipped.T]
    assert_allclose(pool_probabilities(values, "mean"), np.array(products) / sum(products), atol=1e-9)


def test_the_mean_of_logits_by_hand() -> None:
    logits = np.array([[0.0, 3.0], [0.0, -1.0], [0.0, 1.0]], np.float32)
    values = Classification(("no", "yes")).values(logits)
    assert pool_probabilities(values, "mean")[1] == pytest.approx(1 / (1 + math.exp(-1)))


@given(slides(classes=2))
def test_max_and_noisy_or_against_plain_loops(values: NDArray[np.float64]) -> None:
    highest, negative = 0.0, 1.0
    for no, yes in values:
        highest, negative = max(highest, yes), negative * no
    assert pool_probabilities(values, "max")[1] == highest
    assert pool_probabilities(values, "noisy-or")[0] == pytest.approx(negative, abs=1e-12)


def test_certain_slides_have_finite_answers() -> None:
    values = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert_allclose(pool_probabilities(values, "mean"), [0.5, 0.5])
    assert_allclose(pool_probabilities(values, "noisy-or"), [0, 1], atol=1e-300)
    assert_allclose(pool_probabilities(values, "max"), [0, 1])


@pytest.mark.parametrize(("shape", "rule"), [((0, 2), "mean"), ((2, 3), "max"), ((2, 3), "noisy-or"), ((2, 2), "min")])
def test_no_slides_or_an_unfit_rule_are_refused(shape: tuple[int, int], rule: CaseRule) -> None:
    with pytest.raises(ValueError, match="rule among"):
        pool_probabilities(np.full(shape, 1 / shape[1]), rule)


def test_every_rule_can_be_set_and_has_words() -> None:
    assert set(get_args(CaseRuleSetting)) == {AUTO, *get_args(CaseRule)} == {AUTO, *rules_of(2)}
    assert RULE_WORDS.keys() == set(get_args(CaseRule)) and rules_of(3) == ("mean",)


def test_rows_of_cases() -> None:
    assert cases_in_order(["b", "a", "b"]) == {"a": [1], "b": [0, 2]}
