"""The linear head: its loss is minimal at its weights, it repeats, and it is fitted to what it is given alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize

from lrmil.tasks.linear_head import INVERSE_PENALTY, linear_probabilities


def drawn(n: int, dim: int, seed: int) -> tuple[NDArray[np.float64], list[int], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    targets = [0, 1, *rng.integers(0, 2, n - 2).tolist()]
    return rng.normal(size=(n, dim)) + np.array(targets)[:, None], targets, rng.normal(size=(5, dim))


def plain(
    embeddings: NDArray[np.float64], targets: list[int], tested: NDArray[np.float64], inverse_penalty: float
) -> list[float]:
    """Probability of class 1 by the objective written down: standardise, half the squared weights, C times the loss."""
    mean, deviation = embeddings.mean(axis=0), embeddings.std(axis=0)
    signs = [2 * target - 1 for target in targets]

    def objective(weights: NDArray[np.float64]) -> float:
        total = 0.5 * float(np.sum(weights[1:] ** 2))
        for row, sign in zip(embeddings, signs, strict=True):
            logit = weights[0] + float(weights[1:] @ ((row - mean) / deviation))
            total += inverse_penalty * float(np.logaddexp(0, -sign * logit))
        return total

    best = minimize(objective, np.zeros(embeddings.shape[1] + 1), tol=1e-10).x
    return [1 / (1 + float(np.exp(-best[0] - best[1:] @ ((row - mean) / deviation)))) for row in tested]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([INVERSE_PENALTY, 1.0]))
def test_it_minimises_the_penalised_loss(seed: int, inverse_penalty: float) -> None:
    embeddings, targets, tested = drawn(16, 3, seed)
    found = linear_probabilities(embeddings, targets, tested, inverse_penalty=inverse_penalty)
    assert found.sum(axis=1) == pytest.approx(1)
    assert found[:, 1] == pytest.approx(plain(embeddings, targets, tested, inverse_penalty), abs=2e-3)


def test_it_repeats_and_depends_on_nothing_else() -> None:
    embeddings, targets, tested = drawn(20, 200, 1)
    whole = linear_probabilities(embeddings, targets, tested)
    np.testing.assert_array_equal(whole, linear_probabilities(embeddings, targets, tested))
    np.testing.assert_allclose(whole[:2], linear_probabilities(embeddings, targets, tested[:2]))


def test_a_channel_that_never_changes_does_no_harm() -> None:
    embeddings, targets, tested = drawn(20, 4, 2)
    embeddings[:, 0], tested[:, 0] = 3.0, 3.0
    assert linear_probabilities(embeddings, targets, tested) == pytest.approx(
        linear_probabilities(embeddings[:, 1:], targets, tested[:, 1:]), abs=1e-6
    )
