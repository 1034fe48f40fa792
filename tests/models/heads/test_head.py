"""What a head gives of one bag."""

import numpy as np
import pytest

from lrmil.models.heads.abmil import ABMIL
from lrmil.models.heads.head import predict_bag
from support.bags import random_bag


class TestPredictBag:
    @pytest.mark.parametrize("n", [1, 12])
    def test_logits(self, mil: ABMIL, n: int) -> None:
        output = predict_bag(mil, random_bag(n, 6))
        np.testing.assert_allclose(output.logits, mil(random_bag(n, 6)).logits, atol=1e-6)
        np.testing.assert_allclose(output.attention_logits, mil(random_bag(n, 6)).attention_logits, atol=1e-6)
        assert output.logits.dtype == output.attention_logits.dtype == np.float32

    def test_dropout_is_off(self) -> None:
        mil = ABMIL(6, 2, dropout=0.9).train()
        first, second = predict_bag(mil, random_bag(5, 6)), predict_bag(mil, random_bag(5, 6))
        assert np.array_equal(first.logits, second.logits)
