"""Attention MIL: the formula of method.md section 6, bags of any length, and masked batches of them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from lrmil.models.heads.abmil import ABMIL
from support.bags import random_bag


class TestForward:
    @pytest.mark.parametrize("n", [1, 2, 17])
    def test_shapes(self, mil: ABMIL, n: int) -> None:
        output = mil(random_bag(n, 6))
        assert output.logits.shape == (3,) and output.attention_logits.shape == (n,)
        assert output.embedding.shape == (mil.classifier.in_features,)
        assert all(part.isfinite().all() for part in output)

    def test_the_formula_term_by_term(self, mil: ABMIL) -> None:
        weights = {name: values.double().numpy() for name, values in mil.state_dict().items()}
        x = random_bag(9, 6).double().numpy()
        if "projection.0.weight" in weights:
            x = np.maximum(x @ weights["projection.0.weight"].T + weights["projection.0.bias"], 0)
        hidden = np.tanh(x @ weights["tanh_branch.weight"].T + weights["tanh_branch.bias"])
        if "gate_branch.weight" in weights:
            hidden /= 1 + np.exp(-(x @ weights["gate_branch.weight"].T + weights["gate_branch.bias"]))
        e = hidden @ weights["attention.weight"][0]
        attention = np.exp(e) / np.exp(e).sum()
        z = sum(a * h for a, h in zip(attention, x, strict=True))
        output = mil(random_bag(9, 6))
        np.testing.assert_allclose(output.attention_logits, e, atol=1e-5)
        np.testing.assert_allclose(output.embedding, z, atol=1e-5)
        np.testing.assert_allclose(
            output.logits, weights["classifier.weight"] @ z + weights["classifier.bias"], atol=1e-5
        )

    def test_attention_logits_are_not_the_attention(self, mil: ABMIL) -> None:
        output = mil(random_bag(30, 6))
        assert float(output.attention_logits.softmax(0).sum()) == pytest.approx(1)
        assert float(output.attention_logits.sum()) != pytest.approx(1)

    def test_a_bag_of_one_is_its_patch(self, mil: ABMIL) -> None:
        bag = random_bag(1, 6)
        torch.testing.assert_close(mil(bag).embedding, mil.projection(bag[0]))

    def test_order_does_not_matter(self, mil: ABMIL) -> None:
        bag, order = random_bag(20, 6), torch.randperm(20, generator=torch.Generator().manual_seed(3))
        one, other = mil(bag), mil(bag[order])
        torch.testing.assert_close(other.logits, one.logits)
        torch.testing.assert_close(other.embedding, one.embedding)
        torch.testing.assert_close(other.attention_logits, one.attention_logits[order])

    def test_a_bag_twice_over_is_the_same_bag(self, mil: ABMIL) -> None:
        torch.testing.assert_close(mil(random_bag(8, 6).repeat(2, 1)).logits, mil(random_bag(8, 6)).logits)


class TestBatches:
    def test_a_masked_batch_is_its_bags_one_by_one(self, mil: ABMIL) -> None:
        lengths = [5, 1, 9]
        batch = 100 * random_bag(3, 9, 6)
        mask = torch.arange(9) < torch.tensor(lengths)[:, None]
        batch[mask] /= 100
        output = mil(batch, mask)
        assert output.logits.shape == (3, 3) and output.attention_logits.shape == (3, 9)
        for i, length in enumerate(lengths):
            alone = mil(batch[i, :length])
            torch.testing.assert_close(output.logits[i], alone.logits)
            torch.testing.assert_close(output.embedding[i], alone.embedding)
            torch.testing.assert_close(output.attention_logits[i, :length], alone.attention_logits)
            assert output.attention_logits[i, length:].isneginf().all()

    def test_the_mask_may_lie_anywhere(self, mil: ABMIL) -> None:
        bag, mask = random_bag(7, 6), torch.tensor([0, 1, 0, 1, 1, 0, 1], dtype=torch.bool)
        torch.testing.assert_close(mil(bag, mask).logits, mil(bag[mask]).logits)

    def test_padding_gets_no_gradient(self) -> None:
        torch.manual_seed(0)
        batch = random_bag(2, 4, 6).requires_grad_()
        mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)
        ABMIL(6, 2)(batch, mask).logits.sum().backward()
        assert batch.grad is not None and batch.grad.isfinite().all()
        assert not batch.grad[~mask].any() and batch.grad[mask].any(1).all()

    @pytest.mark.parametrize("empty", [(torch.zeros(0, 6), None), (torch.zeros(2, 0, 6), None)])
    def test_an_empty_bag_is_refused(self, mil: ABMIL, empty: tuple[Tensor, None]) -> None:
        with pytest.raises(ValueError, match="at least one patch"):
            mil(*empty)

    def test_an_empty_bag_in_a_batch_is_refused(self, mil: ABMIL) -> None:
        with pytest.raises(ValueError, match="at least one patch"):
            mil(random_bag(2, 3, 6), torch.tensor([[True, True, False], [False, False, False]]))


def test_standardise_shifts_and_scales_and_leaves_a_constant_channel_at_its_scale() -> None:
    mil = ABMIL(3, 2)
    mil.standardise(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 0.0, 0.5]))
    plain = ABMIL(3, 2)
    plain.load_state_dict({**mil.state_dict(), "shift": torch.zeros(3), "scale": torch.ones(3)})
    bag = torch.randn(5, 3)
    by_hand = (bag - torch.tensor([1.0, 2.0, 3.0])) * torch.tensor([0.5, 1.0, 2.0])
    torch.testing.assert_close(mil(bag).logits, plain(by_hand).logits)
