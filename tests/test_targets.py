"""The teacher's outputs on the LR lattice: against loops, and the identity that makes the student's task solvable."""

import math

import pytest
import torch
from torch import Tensor

from lrmil.models.heads.abmil import ABMIL
from lrmil.targets import region_targets


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scattered(n: int, regions: int, *, seed: int = 0) -> Tensor:
    """Random parents, none of them the last region or region 2."""
    parent = torch.randint(regions - 1, (n,), generator=torch.Generator().manual_seed(seed))
    return torch.where(parent == 2, 0, parent)


def naive_targets(
    logits: Tensor, embeddings: Tensor, parent: Tensor, regions: int
) -> tuple[list[float], list[list[float]]]:
    log_mass, mean = [], []
    for r in range(regions):
        inside = [k for k in range(len(logits)) if parent[k] == r]
        mass = math.fsum(math.exp(float(logits[k])) for k in inside)
        log_mass.append(math.log(mass) if inside else -math.inf)
        weights = {k: math.exp(float(logits[k])) / mass for k in inside}
        mean.append([sum(weights[k] * float(embeddings[k, c]) for k in inside) for c in range(embeddings.shape[1])])
    return log_mass, mean


class TestAgainstALoop:
    @pytest.mark.parametrize(("n", "regions"), [(1, 1), (2, 4), (60, 9), (60, 40)])
    @pytest.mark.parametrize("spread", [0.0, 1.0, 30.0])
    def test_mass_and_mean(self, n: int, regions: int, spread: float) -> None:
        logits, embeddings = spread * normal(n), normal(n, 5, seed=1)
        parent = torch.zeros(n, dtype=torch.long) if regions == 1 else scattered(n, regions)
        folded = region_targets(logits, embeddings, parent, regions)
        log_mass, mean = naive_targets(logits, embeddings, parent, regions)
        torch.testing.assert_close(folded.log_mass, torch.tensor(log_mass, dtype=torch.float64))
        torch.testing.assert_close(folded.mean, torch.tensor(mean, dtype=torch.float64))

    def test_zeros_weigh_all_alike(self) -> None:
        embeddings = normal(6, 3)
        folded = region_targets(torch.zeros(6, dtype=torch.float64), embeddings, torch.tensor([1, 0, 1, 1, 0, 1]), 2)
        torch.testing.assert_close(
            folded.mean, torch.stack([embeddings[[1, 4]].mean(0), embeddings[[0, 2, 3, 5]].mean(0)])
        )
        torch.testing.assert_close(folded.log_mass.exp(), torch.tensor([2.0, 4.0], dtype=torch.float64))

    def test_mass_is_a_sum_and_not_a_mean(self) -> None:
        folded = region_targets(torch.zeros(17), torch.zeros(17, 1), torch.tensor([0] * 16 + [1]), 2)
        torch.testing.assert_close(folded.log_mass.softmax(0), torch.tensor([16 / 17, 1 / 17]))


class TestEdges:
    def test_regions_without_a_child(self) -> None:
        folded = region_targets(normal(4), normal(4, 3), torch.tensor([1, 1, 3, 3]), 5)
        assert folded.log_mass.isneginf().tolist() == [True, False, True, False, True]
        assert not folded.mean[[0, 2, 4]].any() and folded.mean.isfinite().all()

    def test_no_child_at_all(self) -> None:
        folded = region_targets(torch.zeros(0), torch.zeros(0, 3), torch.zeros(0, dtype=torch.long), 2)
        assert folded.log_mass.isneginf().all() and folded.mean.tolist() == [[0] * 3] * 2

    @pytest.mark.parametrize("size", [80.0, 1000.0])
    def test_large_logits_do_not_overflow(self, size: float) -> None:
        logits = torch.tensor([size, -size, -size, -size, size, size])
        embeddings = torch.arange(6.0)[:, None]
        folded = region_targets(logits, embeddings, torch.tensor([0, 0, 1, 1, 2, 2]), 3)
        torch.testing.assert_close(folded.log_mass, torch.tensor([size, -size + math.log(2), size + math.log(2)]))
        torch.testing.assert_close(folded.mean[:, 0], torch.tensor([0.0, 2.5, 4.5]))


class TestOracle:
    """sum_k a_k t_k = sum_r A_r mu_r: a student fed (mu_r, A_r) with the teacher's classifier is the teacher."""

    @pytest.mark.parametrize("gated", [True, False])
    @pytest.mark.parametrize("sharpness", [5.0, 30.0])
    def test_the_teachers_logits_come_back(self, gated: bool, sharpness: float) -> None:
        torch.manual_seed(1)
        teacher = ABMIL(12, 3, 16, gated).eval()
        embeddings = 0.5 + normal(150, 12).float() * torch.linspace(0.5, 2, 12)
        with torch.no_grad():
            teacher.attention.weight.mul_(sharpness)
            said = teacher(embeddings)
            folded = region_targets(said.attention_logits, embeddings, scattered(150, 20), 20)
            bag = folded.log_mass.softmax(0) @ folded.mean
            logits = teacher.classifier(bag)
        assert float(said.attention_logits.softmax(0).max()) > 2 / 150, "the attention must not be uniform"
        torch.testing.assert_close(logits, said.logits, rtol=0, atol=1e-5)
        torch.testing.assert_close(bag, said.embedding, rtol=0, atol=1e-5)

    def test_masses_are_the_attention_gathered(self) -> None:
        logits, parent = normal(40), scattered(40, 7)
        gathered = torch.zeros(7, dtype=torch.float64).index_add(0, parent, logits.softmax(0))
        folded = region_targets(logits, normal(40, 2), parent, 7)
        torch.testing.assert_close(folded.log_mass.softmax(0), gathered)
