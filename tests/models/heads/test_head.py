"""What every head promises: bags of any size, masks anywhere, attention that sums to 1."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from lrmil.errors import ModelError
from lrmil.models.heads.abmil import ABMIL
from lrmil.models.heads.choice import Head
from lrmil.models.heads.clam_sb import ClamSB
from lrmil.models.heads.head import BagOutput, HasAuxiliaryLoss, MILHead, MILOutput, predict_bag
from support.bags import random_bag

MASKS = st.lists(st.lists(st.booleans(), min_size=12, max_size=12).filter(any), min_size=1, max_size=4)
OFTEN = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def require_same(one: MILOutput, other: MILOutput) -> None:
    for part, expected in zip(one, other, strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-5)


class TestEveryHead:
    @pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 17, 40])
    def test_bags_of_any_size(self, head: Head, n: int) -> None:
        assert isinstance(head, MILHead)
        output = head(random_bag(n, 6))
        assert output.logits.shape == (3,) and output.attention_logits.shape == (n,) and output.embedding.ndim == 1
        assert all(part.isfinite().all() for part in output)
        assert float(output.attention_logits.double().softmax(0).sum()) == pytest.approx(1)

    @OFTEN
    @given(real=MASKS, seed=st.integers(0, 1000))
    def test_padding_anywhere_changes_nothing(self, head: Head, real: list[list[bool]], seed: int) -> None:
        mask = torch.tensor(real)
        batch = random_bag(*mask.shape, 6, seed=seed)
        batch[~mask] *= 1000
        output = head(batch, mask)
        assert output.attention_logits[~mask].isneginf().all()
        for i, kept in enumerate(mask):
            of_batch = MILOutput(output.logits[i], output.attention_logits[i, kept], output.embedding[i])
            require_same(of_batch, head(batch[i, kept]))

    def test_a_batch_without_a_mask_is_its_bags(self, head: Head) -> None:
        batch = random_bag(3, 7, 6)
        output = head(batch)
        for i, bag in enumerate(batch):
            require_same(MILOutput(*(part[i] for part in output)), head(bag))

    def test_padding_gets_no_gradient(self, head: Head) -> None:
        batch, mask = random_bag(2, 5, 6), torch.tensor([[1, 0, 1, 0, 1], [1, 1, 1, 1, 1]], dtype=torch.bool)
        batch.requires_grad_()
        with torch.enable_grad():
            output = head(batch, mask)
            (output.logits.square().sum() + output.attention_logits[mask].square().sum()).backward()
        assert batch.grad is not None and batch.grad.isfinite().all()
        assert not batch.grad[~mask].any() and batch.grad[mask].any()

    @OFTEN
    @given(n=st.integers(2, 20), seed=st.integers(0, 1000))
    def test_the_order_of_patches_is_that_of_their_attention(self, orderless: Head, n: int, seed: int) -> None:
        bag, order = random_bag(n, 6, seed=seed), torch.randperm(n, generator=torch.Generator().manual_seed(seed))
        one, other = orderless(bag), orderless(bag[order])
        require_same(other, one._replace(attention_logits=one.attention_logits[order]))

    def test_a_bag_twice_over_is_the_same_bag(self, orderless: Head) -> None:
        bag = random_bag(8, 6)
        torch.testing.assert_close(orderless(bag.repeat(2, 1)).logits, orderless(bag).logits)

    def test_standardised_inputs_are_those_by_hand(self, head: Head) -> None:
        bag, plain = random_bag(5, 6), head(random_bag(5, 6))
        mean, deviation = torch.arange(6.0), torch.tensor([2.0, 0.5, 1.0, 3.0, 4.0, 0.25])
        head.standardise(mean, deviation)
        require_same(head(bag * deviation + mean), plain)

    @pytest.mark.parametrize(
        ("bag", "mask"),
        [
            (torch.zeros(0, 6), None),
            (torch.zeros(2, 0, 6), None),
            (torch.zeros(2, 3, 6), torch.tensor([[True, True, False], [False, False, False]])),
        ],
    )
    def test_an_empty_bag_is_refused(self, head: Head, bag: Tensor, mask: Tensor | None) -> None:
        with pytest.raises(ValueError, match="at least one patch"):
            head(bag, mask)

    def test_far_values_give_finite_logits(self, head: Head) -> None:
        output = predict_bag(head, 1000 * random_bag(50, 6))
        assert output.attention.sum() == pytest.approx(1)

    def test_only_clam_learns_from_more_than_its_logits(self, head: Head) -> None:
        assert isinstance(head, HasAuxiliaryLoss) == isinstance(head, ClamSB)


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
