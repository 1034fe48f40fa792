"""DSMIL: both streams, term by term."""

import numpy as np
import pytest

from lrmil.models.heads.dsmil import DSMIL
from support.bags import random_bag


@pytest.mark.parametrize("n", [1, 7])
def test_the_formula_term_by_term(n: int) -> None:
    mil = DSMIL(6, 3, 4, dropout=0.5).eval()
    w = {name: value.double().numpy() for name, value in mil.state_dict().items()}
    h = random_bag(n, 6).double().numpy()
    scores = h @ w["instances.weight"].T + w["instances.bias"]
    q, v = (h @ w[f"{name}.weight"].T + w[f"{name}.bias"] for name in ("queries", "values"))
    attention, bags = np.zeros((n, 3)), []
    for c in range(3):
        likeness = np.exp(q @ q[scores[:, c].argmax()] / 2.0)
        attention[:, c] = likeness / likeness.sum()
        bags.append(sum(a * one for a, one in zip(attention[:, c], v, strict=True)))
    second = w["classifier.weight"] @ np.concatenate(bags) + w["classifier.bias"]
    output = mil(random_bag(n, 6))
    np.testing.assert_allclose(output.logits.detach(), (scores.max(0) + second) / 2, atol=1e-5)
    np.testing.assert_allclose(output.attention_logits.detach().exp(), attention.mean(1), atol=1e-5)
    np.testing.assert_allclose(output.embedding.detach(), np.mean(bags, 0), atol=1e-5)
