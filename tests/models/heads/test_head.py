"""What a head gives of one bag."""

import numpy as np
import pytest

from lrmil.errors import ModelError
from lrmil.models.heads.abmil import ABMIL
from lrmil.models.heads.head import BagOutput, MILOutput, predict_bag
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

    @pytest.mark.parametrize("broken", ["logits", "attention_logits"])
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_what_is_not_finite_is_an_error(self, monkeypatch: pytest.MonkeyPatch, broken: str, value: float) -> None:
        mil = ABMIL(6, 2)
        monkeypatch.setattr(mil, "forward", lambda bag: breaking(ABMIL.forward(mil, bag), broken, value))
        with pytest.raises(ModelError):
            predict_bag(mil, random_bag(5, 6))


def breaking(output: MILOutput, name: str, value: float) -> MILOutput:
    """The output with one wrong number."""
    changed = getattr(output, name).clone()
    changed[-1] = value
    return output._replace(**{name: changed})


def test_attention_is_a_softmax_in_double_precision_however_large_the_logits() -> None:
    logits = np.array([1000.0, 999.0, -1000.0], np.float32)
    attention = BagOutput(np.zeros(2, np.float32), logits).attention
    assert attention.dtype == np.float64 and attention.sum() == pytest.approx(1, abs=1e-15)
    np.testing.assert_allclose(attention, [1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1)), 0], atol=1e-15)
