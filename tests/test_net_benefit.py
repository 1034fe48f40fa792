"""Net benefit against a loop over slides, and where it is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.net_benefit import THRESHOLDS, net_benefit


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=40),
    st.lists(st.floats(0.001, 0.999), min_size=1, max_size=8),
)
def test_against_a_loop(slides: list[tuple[bool, float]], thresholds: list[float]) -> None:
    found = net_benefit(np.array([one for one, _ in slides]), np.array([p for _, p in slides]), np.array(thresholds))
    for threshold, benefit in zip(thresholds, found, strict=True):
        total = 0.0
        for positive, probability in slides:
            if probability >= threshold:
                total += 1 if positive else -threshold / (1 - threshold)
        assert benefit == pytest.approx(total / len(slides), abs=1e-9)


def test_where_it_is_known() -> None:
    positive = np.array([True] * 3 + [False] * 7)
    everyone, no_one, perfect = np.ones(10), np.zeros(10), positive.astype(float)
    assert net_benefit(positive, everyone, np.array([0.3])) == pytest.approx(0, abs=1e-12), "at the prevalence"
    assert net_benefit(positive, everyone, np.array([0.5])) == pytest.approx(-0.4)
    assert (net_benefit(positive, no_one, THRESHOLDS) == 0).all()
    assert net_benefit(positive, perfect, THRESHOLDS) == pytest.approx(0.3), "whatever the price of a false alarm"
    at = np.full(10, 0.5)
    assert net_benefit(positive, at, np.array([0.5, 0.51])) == pytest.approx([-0.4, 0]), "acts at the threshold itself"


def test_thresholds_are_percents() -> None:
    assert [f"{one:.2f}" for one in THRESHOLDS] == [f"0.{number:02d}" for number in range(1, 100)]
