"""CLAM: attention as in ABMIL, and the loss of the patches at both ends of it."""

import pytest
import torch
from torch.nn import functional

from lrmil.models.heads.clam_sb import ClamSB
from lrmil.models.heads.head import MILOutput
from support.bags import random_bag


def clam(outputs: int = 3) -> ClamSB:
    torch.manual_seed(0)
    return ClamSB(6, outputs, 8, projection_dim=5).eval()


@torch.no_grad()
@pytest.mark.parametrize(("n", "ends"), [(2, 1), (3, 1), (9, 4), (16, 8), (40, 8)])
@pytest.mark.parametrize(("outputs", "target"), [(3, 0), (3, 2), (2, 1), (1, 0)])
def test_the_loss_of_instances_patch_by_patch(n: int, ends: int, outputs: int, target: int) -> None:
    mil, bag = clam(outputs), 3 * random_bag(n, 6)
    output = mil(bag)
    ranked = sorted(range(n), key=lambda i: -float(output.attention_logits[i]))

    def loss(patches: list[int], of: int, inside: int) -> float:
        """Mean cross-entropy of the classifier of one class."""
        found = []
        for patch in patches:
            scores = mil.instances(mil.bags.projection(bag[patch]))[2 * of : 2 * of + 2]
            found.append(float(functional.cross_entropy(scores[None], torch.tensor([inside]))))
        return sum(found) / len(found)

    expected = (loss(ranked[:ends], target, 1) + loss(ranked[-ends:], target, 0)) / 2
    expected += sum(loss(ranked[:ends], c, 0) for c in range(outputs) if c != target)
    assert float(mil.auxiliary_loss(bag, output, target)) == pytest.approx(3 / 7 * expected / outputs, rel=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("n", "target"), [(1, 0), (9, 3), (9, -1), (9, 0.5), (9, True), (9, (1.0, 0.0))])
def test_no_loss_where_there_are_no_two_ends_or_no_class(n: int, target: object) -> None:
    mil, bag = clam(), random_bag(n, 6)
    assert float(mil.auxiliary_loss(bag, mil(bag), target)) == 0


def test_the_loss_reaches_the_projection_that_prediction_uses() -> None:
    mil, bag = clam(), random_bag(9, 6)
    mil.auxiliary_loss(bag, mil(bag), 1).backward()
    reached = {name for name, value in mil.named_parameters() if value.grad is not None and value.grad.any()}
    assert reached == {"instances.weight", "instances.bias", "bags.projection.0.weight", "bags.projection.0.bias"}


def test_prediction_is_that_of_gated_attention() -> None:
    mil, bag = clam(), random_bag(9, 6)
    output: MILOutput = mil(bag)
    assert mil.bags.gate_branch is not None
    for one, other in zip(output, mil.bags(bag), strict=True):
        assert torch.equal(one, other)
