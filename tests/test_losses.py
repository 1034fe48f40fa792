"""Every loss against its formula in method.md written as a loop, and what each formula promises."""

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lrmil.losses import attention_loss, bag_loss, layer_loss, ranking_loss, region_loss
from lrmil.models.heads.abmil import ABMIL

quick = settings(deadline=None, max_examples=40)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def number(value: Tensor) -> float:
    return value.detach().item()


def softmax(values: list[float]) -> list[float]:
    peak = max(values)
    weights = [math.exp(value - peak) for value in values]
    return [weight / sum(weights) for weight in weights]


def gradient(loss: Tensor, of: Tensor) -> Tensor:
    return torch.autograd.grad(loss, of)[0]


def shared_length(a: int, of_a: int, b: int, of_b: int) -> float:
    """Length that piece a of `of_a` and piece b of `of_b` of the unit interval share."""
    return max(0.0, min((a + 1) / of_a, (b + 1) / of_b) - max(a / of_a, b / of_b))


def naive_layer_loss(tokens: Tensor, targets: Tensor, covered: Tensor) -> float:
    b, d, g, _ = tokens.shape
    s = math.isqrt(targets.shape[1])
    per_patch = []
    for r in range(b):
        kept = [k for k in range(s * s) if covered[r, k]]
        distances = []
        for k in kept:
            pooled = [0.0] * d
            for j, i in product(range(g), range(g)):
                weight = shared_length(k // s, s, j, g) * shared_length(k % s, s, i, g) * s * s
                pooled = [value + weight * number(tokens[r, c, j, i]) for c, value in enumerate(pooled)]
            distances.append(sum((value - number(targets[r, k, c])) ** 2 for c, value in enumerate(pooled)) / d)
        if kept:
            per_patch.append(sum(distances) / len(kept))
    return sum(per_patch) / len(per_patch) if per_patch else 0.0


class TestLayerLoss:
    @pytest.mark.parametrize(("g", "s"), [(4, 2), (3, 2), (5, 4), (2, 4), (4, 1), (1, 2)])
    def test_against_a_loop(self, g: int, s: int) -> None:
        tokens, targets = normal(4, 3, g, g), normal(4, s * s, 3, seed=1)
        covered = normal(4, s * s, seed=2) > 0
        covered[0], covered[1] = True, False
        expected = naive_layer_loss(tokens, targets, covered)
        assert number(layer_loss(tokens, targets, covered)) == pytest.approx(expected, rel=1e-5)
        everywhere = naive_layer_loss(tokens, targets, torch.ones_like(covered))
        assert number(layer_loss(tokens, targets)) == pytest.approx(everywhere, rel=1e-5)

    def test_what_is_not_covered_changes_nothing(self) -> None:
        tokens, targets = normal(3, 5, 4, 4).requires_grad_(), normal(3, 4, 5, seed=1)
        covered = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 0], [0, 0, 0, 1]], dtype=torch.bool)
        other = torch.where(covered[..., None], targets, 99.0)
        loss = layer_loss(tokens, other, covered)
        assert torch.equal(loss, layer_loss(tokens, targets, covered))
        touched = gradient(loss, tokens).abs().sum(1) > 0
        expected = covered.unflatten(1, (2, 2)).repeat_interleave(2, 1).repeat_interleave(2, 2)
        assert torch.equal(touched, expected)
        assert torch.equal(loss, layer_loss(tokens[[0, 2]], targets[[0, 2]], covered[[0, 2]]))

    def test_nothing_covered_is_zero_with_a_gradient(self) -> None:
        tokens = normal(2, 3, 4, 4).requires_grad_()
        loss = layer_loss(tokens, normal(2, 4, 3), torch.zeros(2, 4, dtype=torch.bool))
        assert number(loss) == 0 and not gradient(loss, tokens).any()

    def test_zero_where_the_student_sees_what_the_teacher_sees(self) -> None:
        children = normal(2, 16, 3)
        tokens = children.unflatten(1, (4, 4)).permute(0, 3, 1, 2).repeat_interleave(3, 2).repeat_interleave(3, 3)
        assert number(layer_loss(tokens, children)) < 1e-12
        assert number(layer_loss(tokens.transpose(2, 3), children)) > 0.1


class TestRegionLoss:
    def test_against_a_loop(self) -> None:
        embedding, mean = normal(5, 7), normal(5, 7, seed=1)
        expected = sum(sum((number(embedding[r, c]) - number(mean[r, c])) ** 2 for c in range(7)) / 7 for r in range(5))
        assert number(region_loss(embedding, mean)) == pytest.approx(expected / 5)

    def test_cosine_against_a_loop(self) -> None:
        embedding, mean = normal(5, 7), normal(5, 7, seed=1)
        total = 0.0
        for a, b in zip(embedding.tolist(), mean.tolist(), strict=True):
            dot = sum(x * y for x, y in zip(a, b, strict=True))
            total += 1 - dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
        assert number(region_loss(embedding, mean, cosine=True)) == pytest.approx(total / 5)

    @quick
    @given(st.integers(0, 10**6))
    def test_it_is_the_weighted_distance_to_the_children_but_for_a_constant(self, seed: int) -> None:
        children, weights = normal(16, 6), normal(16, seed=1).softmax(0)
        mean = (weights[:, None] * children).sum(0)

        def to_each_child(student: Tensor) -> Tensor:
            return (weights * (children - student).square().sum(1)).sum() / 6

        student = (3 * normal(6, seed=seed)).requires_grad_()
        of_all, of_mean = to_each_child(student), region_loss(student[None], mean[None])
        constant = to_each_child(mean)  # the weighted variance of the children, whatever the student
        torch.testing.assert_close(of_all - of_mean, constant, rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(gradient(of_all, student), gradient(of_mean, student), rtol=1e-9, atol=1e-10)


class TestBagLoss:
    @pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
    def test_against_a_loop(self, temperature: float) -> None:
        student, teacher = normal(4), normal(4, seed=1)
        p = softmax([value / temperature for value in student.tolist()])
        q = softmax([value / temperature for value in teacher.tolist()])
        expected = temperature**2 * sum(b * (math.log(b) - math.log(a)) for a, b in zip(p, q, strict=True))
        assert number(bag_loss(student, teacher, temperature)) == pytest.approx(expected)

    def test_zero_where_probabilities_are_equal(self) -> None:
        assert number(bag_loss(normal(3) + 5, normal(3))) == pytest.approx(0, abs=1e-12)
        assert number(bag_loss(normal(3), normal(3, seed=1))) > 0.01

    def test_it_teaches_the_student_and_large_logits_do_not_overflow(self) -> None:
        student = torch.tensor([80.0, -80.0], requires_grad=True)
        loss = bag_loss(student, torch.tensor([-80.0, 80.0]))
        assert number(loss) == pytest.approx(160)
        assert gradient(loss, student).tolist() == pytest.approx([1, -1])


def naive_attention_loss(logits: Tensor, log_mass: Tensor, covered: Tensor, temperature: float) -> float:
    kept = [r for r in range(len(logits)) if covered[r]]
    q = softmax([number(log_mass[r]) / temperature for r in kept])
    p = softmax([number(logits[r]) / temperature for r in kept])
    return temperature**2 * sum(b * (math.log(b) - math.log(a)) for a, b in zip(p, q, strict=True))


class TestAttentionLoss:
    @pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
    def test_against_a_loop(self, temperature: float) -> None:
        logits, log_mass = normal(30), normal(30, seed=1)
        covered = normal(30, seed=2) > -0.5
        expected = naive_attention_loss(logits, log_mass, covered, temperature)
        assert number(attention_loss(logits, log_mass, covered, temperature)) == pytest.approx(expected)
        every = naive_attention_loss(logits, log_mass, torch.ones(30), temperature)
        assert number(attention_loss(logits, log_mass, temperature=temperature)) == pytest.approx(every)

    @pytest.mark.parametrize("times", [2, 7])
    def test_the_size_of_the_bag_does_not_matter(self, times: int) -> None:
        logits, log_mass = normal(20), normal(20, seed=1)
        once = attention_loss(logits, log_mass)
        assert number(once) > 0.1
        torch.testing.assert_close(attention_loss(logits.repeat(times), log_mass.repeat(times)), once)

    @quick
    @given(st.integers(1, 20), st.floats(-50, 50), st.integers(0, 99))
    def test_zero_where_attention_is_equal_and_only_there(self, n: int, shift: float, seed: int) -> None:
        log_mass = normal(n, seed=seed)
        assert number(attention_loss(log_mass + shift, log_mass)) == pytest.approx(0, abs=1e-9)
        other = log_mass + normal(n, seed=seed + 1)
        assert number(attention_loss(other, log_mass)) > 1e-6 or n == 1

    def test_uncovered_patches_change_nothing(self) -> None:
        logits, log_mass = normal(12), normal(12, seed=1)
        covered = torch.arange(12) % 3 > 0
        alone = attention_loss(logits[covered], log_mass[covered])
        student = torch.where(covered, logits, 50.0).requires_grad_()
        for mass, mask in (
            (torch.where(covered, log_mass, -torch.inf), None),
            (torch.where(covered, log_mass, -torch.inf), covered),
            (torch.where(covered, log_mass, 9.0), covered),
            (torch.where(covered, log_mass, -torch.inf), torch.ones(12, dtype=torch.bool)),
        ):
            loss = attention_loss(student, mass, mask)
            torch.testing.assert_close(loss, alone)
            grad = gradient(loss, student)
            assert not grad[~covered].any() and grad[covered].all()

    def test_the_gradient_is_the_difference_of_the_attentions(self) -> None:
        logits, log_mass = normal(9).requires_grad_(), normal(9, seed=1)
        torch.testing.assert_close(
            gradient(attention_loss(logits, log_mass), logits), (logits.softmax(0) - log_mass.softmax(0)).detach()
        )


def naive_ranking_loss(logits: Tensor, log_mass: Tensor, covered: Tensor, k: int) -> float:
    order = sorted((r for r in range(len(logits)) if covered[r]), key=lambda r: -number(log_mass[r]))
    pairs = [(number(logits[i]), number(logits[j])) for i in order[:k] for j in order[-k:]]
    return sum(math.log1p(math.exp(-(top - bottom))) for top, bottom in pairs) / len(pairs)


class TestRankingLoss:
    @pytest.mark.parametrize(
        ("n", "fraction", "k_max", "k"),
        [
            (40, 0.1, 8, 4),
            (5, 0.1, 8, 1),
            (300, 0.1, 8, 8),
            (300, 0.1, 50, 30),
            (10, 0.5, 8, 5),
            (3, 0.5, 8, 1),
            (2, 0.5, 8, 1),
        ],
    )
    def test_against_a_loop_and_the_rule_of_k(self, n: int, fraction: float, k_max: int, k: int) -> None:
        logits, log_mass = normal(n).requires_grad_(), normal(n, seed=1)
        loss = ranking_loss(logits, log_mass, fraction=fraction, k_max=k_max)
        assert number(loss) == pytest.approx(naive_ranking_loss(logits, log_mass, torch.ones(n), k))
        grad = gradient(loss, logits)
        assert set(grad.nonzero().flatten().tolist()) == set(log_mass.topk(k).indices.tolist()) | set(
            (-log_mass).topk(k).indices.tolist()
        )
        assert (grad[log_mass.topk(k).indices] < 0).all() and (grad[(-log_mass).topk(k).indices] > 0).all()

    def test_uncovered_patches_are_neither_top_nor_bottom(self) -> None:
        logits, log_mass = normal(30).requires_grad_(), normal(30, seed=1)
        covered = torch.arange(30) % 3 > 0
        expected = naive_ranking_loss(logits, log_mass, covered, 2)
        for mass, mask in (
            (torch.where(covered, log_mass, -torch.inf), None),
            (torch.where(covered, log_mass, 99.0), covered),
            (torch.where(covered, log_mass, -99.0), covered),
        ):
            loss = ranking_loss(logits, mass, mask)
            assert number(loss) == pytest.approx(expected)
            assert not gradient(loss, logits)[~covered].any()

    def test_pairs_in_order_cost_little_and_swapped_ones_much(self) -> None:
        log_mass = normal(20)
        assert number(ranking_loss(20 * log_mass, log_mass)) < 1e-3
        assert number(ranking_loss(-20 * log_mass, log_mass)) > 10

    def test_it_reaches_what_inference_uses(self) -> None:
        torch.manual_seed(0)
        mil = ABMIL(6, 2, 8, projection_dim=5)
        output = mil(normal(20, 6).float())
        output.attention_logits.retain_grad()
        ranking_loss(output.attention_logits, normal(20, seed=1)).backward()
        grad = output.attention_logits.grad
        assert grad is not None and int((grad != 0).sum()) == 4
        for name in ("attention", "tanh_branch", "gate_branch", "projection.0"):
            weight_grad = mil.get_submodule(name).weight.grad
            assert weight_grad is not None and weight_grad.abs().sum() > 0, name
        assert mil.classifier.weight.grad is None


class TestSmallAndEmptyBags:
    @pytest.mark.parametrize("loss", [attention_loss, ranking_loss])
    def test_one_patch_has_nothing_to_learn(self, loss: Callable[..., Tensor]) -> None:
        logits = torch.tensor([3.0], requires_grad=True)
        value = loss(logits, torch.tensor([-2.0]))
        assert number(value) == 0 and gradient(value, logits).tolist() == [0]

    def test_two_patches(self) -> None:
        logits, log_mass = torch.tensor([0.3, -0.4], dtype=torch.float64), torch.tensor([-1.0, 2.0])
        assert number(ranking_loss(logits, log_mass)) == pytest.approx(math.log1p(math.exp(0.7)))
        expected = naive_attention_loss(logits, log_mass, torch.ones(2), 1.0)
        assert number(attention_loss(logits, log_mass)) == pytest.approx(expected)

    @pytest.mark.parametrize("loss", [attention_loss, ranking_loss])
    @pytest.mark.parametrize("finite", [0, 1, 2, 5])
    @pytest.mark.parametrize("given", [False, True])
    def test_finite_though_the_mass_is_not(self, loss: Callable[..., Tensor], finite: int, given: bool) -> None:
        log_mass = torch.where(torch.arange(5) < finite, normal(5), -torch.inf)
        logits = normal(5, seed=1).requires_grad_()
        value = loss(logits, log_mass, log_mass.isfinite() if given else None)
        assert value.isfinite() and gradient(value, logits).isfinite().all()
        assert (number(value) > 0) == (finite > 1)


class TestBatches:
    """Of several slides at once, each has the loss that it has alone, and what pads it changes nothing."""

    SIZES = (1, 2, 5, 30, 12)

    @pytest.mark.parametrize("loss", [attention_loss, ranking_loss])
    @pytest.mark.parametrize("given", [False, True])
    def test_each_slide_of_a_padded_batch(self, loss: Callable[..., Tensor], given: bool) -> None:
        logits = [normal(n, seed=n).requires_grad_() for n in self.SIZES]
        masses = [normal(n, seed=100 + n).masked_fill(torch.arange(n) % 4 == 3, -torch.inf) for n in self.SIZES]
        masses[2] = torch.full_like(masses[2], -torch.inf)  # of a slide that nothing covers
        padded = torch.nn.utils.rnn.pad_sequence(logits, batch_first=True, padding_value=-torch.inf)
        mass = torch.nn.utils.rnn.pad_sequence(masses, batch_first=True, padding_value=-torch.inf)
        together = loss(padded, mass, mass.isfinite() if given else None)
        alone = torch.stack([loss(one, of_one) for one, of_one in zip(logits, masses, strict=True)])
        torch.testing.assert_close(together, alone)
        assert (together > 0).tolist() == [False, True, False, True, True]
        for found, expected in zip(
            torch.autograd.grad(together.sum(), logits, retain_graph=True),
            torch.autograd.grad(alone.sum(), logits),
            strict=True,
        ):
            torch.testing.assert_close(found, expected)

    def test_each_pair_of_logits(self) -> None:
        student, teacher = normal(5, 3), normal(5, 3, seed=1)
        alone = [number(bag_loss(one, other, 2.0)) for one, other in zip(student, teacher, strict=True)]
        assert bag_loss(student, teacher, 2.0).tolist() == pytest.approx(alone)
