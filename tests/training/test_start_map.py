"""The map with which stage 1 begins."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lrmil.configs import Stage1Config
from lrmil.training.start_map import PRIOR, fit_start_map, start_map_input


def draw(seed: int, count: int, inner: int, outer: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings with a mean, and targets that are linear in them but for some noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(2.0, 3.0, (count, inner))
    y = x @ rng.normal(size=(inner, outer)) + 5.0 + 0.1 * rng.normal(size=(count, outer))
    return torch.from_numpy(x).float(), torch.from_numpy(y).float()


@given(seed=st.integers(0, 1000), count=st.integers(2, 40), inner=st.integers(1, 6), outer=st.integers(1, 6))
def test_it_is_the_ridge_regression_of_scikit_learn(seed: int, count: int, inner: int, outer: int) -> None:
    from sklearn.linear_model import Ridge

    x, y = draw(seed, count, inner, outer)
    reference = Ridge(alpha=PRIOR * x.double().var(0, correction=0).mean().item(), solver="svd").fit(x, y)
    found = fit_start_map([(x[:1], y[:1]), (x[1:], y[1:])])
    with torch.no_grad():
        np.testing.assert_allclose(found(x), reference.predict(x).reshape(count, outer), rtol=1e-3, atol=1e-3)


def test_many_patches_outweigh_the_penalty() -> None:
    """Of a linear relation, a large cohort leaves little unexplained, and the penalty shrinks what a small one says."""
    explained = []
    for count in (30, 100_000):
        x, y = draw(0, count, 4, 3)
        with torch.no_grad():
            rest = (fit_start_map([(x, y)])(x) - y).square().sum() / (y - y.mean(0)).square().sum()
        explained.append(1 - float(rest))
    assert explained[0] < 0.1 and explained[1] > 0.99


@pytest.mark.parametrize("count", [1, 5])
def test_embeddings_that_say_nothing_give_the_mean_target(count: int) -> None:
    y = torch.arange(3.0 * count).reshape(count, 3)
    with torch.no_grad():
        found = fit_start_map([(torch.full((count, 4), 7.0), y)])(torch.randn(2, 4))
    torch.testing.assert_close(found, y.mean(0).expand(2, 3))


def test_it_draws_no_random_number() -> None:
    before = torch.get_rng_state()
    fit_start_map([draw(0, 9, 4, 3)])
    assert torch.equal(torch.get_rng_state(), before)


def test_its_penalty_is_an_input_of_a_stage_1_that_has_a_map() -> None:
    assert start_map_input(Stage1Config()) == {"start_map": {"ridge": PRIOR}}
    assert start_map_input(Stage1Config(lambda_keep=0.0)) == {}
    assert start_map_input(Stage1Config(standardised=True)) == {"start_map": {"ridge": PRIOR, "start_scale": True}}
