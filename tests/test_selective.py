"""Risk against coverage: one slide after the other, in any order, and where it is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.selective import selective_risk

Answers = st.lists(st.tuples(st.booleans(), st.sampled_from([0.5, 0.6, 0.7, 0.71, 0.9, 1.0])), min_size=1, max_size=30)


def risk_above(answers: list[tuple[bool, float]], level: float) -> tuple[float, float]:
    """Coverage and risk of those who are at least so sure."""
    kept = [right for right, confidence in answers if confidence >= level]
    return len(kept) / len(answers), kept.count(False) / len(kept)


@given(Answers)
def test_against_a_loop(answers: list[tuple[bool, float]]) -> None:
    found = selective_risk(np.array([right for right, _ in answers]), np.array([sure for _, sure in answers]))
    levels = sorted({sure for _, sure in answers}, reverse=True)
    expected = [risk_above(answers, level) for level in levels]
    assert found.confidence.tolist() == levels
    assert found.coverage == pytest.approx([coverage for coverage, _ in expected])
    assert found.risk == pytest.approx([risk for _, risk in expected])
    assert found.area == pytest.approx(sum(risk_above(answers, sure)[1] for _, sure in answers) / len(answers))


@given(Answers, st.integers(0, 1000))
def test_the_order_of_slides_does_not_matter(answers: list[tuple[bool, float]], seed: int) -> None:
    right, sure = np.array([one for one, _ in answers]), np.array([one for _, one in answers])
    order = np.random.default_rng(seed).permutation(len(answers))
    found, other = selective_risk(right, sure), selective_risk(right[order], sure[order])
    assert found.risk.tolist() == other.risk.tolist() and found.area == pytest.approx(other.area)
    assert found.coverage[-1] == 1 and found.risk[-1] == pytest.approx(1 - right.mean())


def test_where_it_is_known() -> None:
    right = np.array([True, True, True, False])
    assert selective_risk(right, np.array([0.9, 0.8, 0.7, 0.6])).area == pytest.approx(0.25 / 4), "errors come last"
    assert selective_risk(right, np.array([0.6, 0.7, 0.8, 0.9])).area == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert selective_risk(right, np.full(4, 0.5)).area == 0.25, "a confidence that tells nothing"
