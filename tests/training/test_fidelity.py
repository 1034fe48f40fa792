"""The figures of stage 1 are those of their definitions, and undefined where these are."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lrmil.models.encoders.loading import EncoderOutput
from lrmil.training.fidelity import effective_rank, match, mean_of, measure
from lrmil.training.fidelity_figures import Match
from support.numbered_patches import numbered_batch


def naive_match(found: np.ndarray, truth: np.ndarray, centre: np.ndarray) -> tuple[float, float]:
    """R2 and mean centred cosine, one value at a time."""
    missed = spread = cosines = 0.0
    for one, other in zip(found, truth, strict=True):
        dot = length = wanted = 0.0
        for s, mu, m in zip(one, other, centre, strict=True):
            missed += (s - mu) ** 2
            spread += (mu - m) ** 2
            dot, length, wanted = dot + (s - m) * (mu - m), length + (s - m) ** 2, wanted + (mu - m) ** 2
        cosines += dot / math.sqrt(length * wanted)
    return 1 - missed / spread, cosines / len(found)


def naive_rank(values: np.ndarray) -> float:
    """Effective rank from the eigenvalues of the scatter matrix."""
    centred = values - values.mean(0)
    eigenvalues = np.linalg.eigvalsh(centred.T @ centred)
    singular = [math.sqrt(value) for value in eigenvalues if value > 1e-12]
    return math.exp(-sum(value / sum(singular) * math.log(value / sum(singular)) for value in singular))


@pytest.mark.parametrize(("n", "d"), [(1, 3), (7, 4), (4, 9), (40, 6)])
def test_they_are_those_of_a_plain_loop(n: int, d: int) -> None:
    draw = np.random.default_rng(n)
    truth, centre = draw.normal(size=(n, d)) + 3, draw.normal(size=d)
    found = truth + 0.5 * draw.normal(size=(n, d))
    result = match(torch.from_numpy(found), torch.from_numpy(truth), torch.from_numpy(centre))
    r2, cosine = naive_match(found, truth, centre)
    assert (result.r2, result.cosine) == (pytest.approx(r2), pytest.approx(cosine))
    assert result.rank == (None if n == 1 else pytest.approx(naive_rank(found), rel=1e-6))


def test_the_ends_of_the_scales() -> None:
    truth = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    centre = torch.full((4,), 0.5)
    perfect = match(truth, truth, centre)
    assert perfect.r2 == 1 and perfect.cosine == pytest.approx(1)
    assert match(centre.expand(50, -1), truth, centre).r2 == pytest.approx(0)  # it knows the mean alone
    assert match(truth + 9, truth, centre).r2 < -1  # type: ignore[operator]
    assert match(centre - (truth - centre), truth, centre).cosine == pytest.approx(-1)


def test_what_is_not_defined() -> None:
    same = torch.tensor([[0.1, 0.2, 0.3]]).repeat(7, 1)
    assert match(same, same, same[0]) == Match(None, 0.0, None)
    assert effective_rank(torch.zeros(0, 3)) is None and effective_rank(torch.zeros(5, 3)) is None


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_the_rank_of_equal_directions_is_their_number(rank: int) -> None:
    values = torch.cat([torch.eye(8)[:rank], -torch.eye(8)[:rank]])
    assert effective_rank(3 * values + 7) == pytest.approx(rank)


def test_the_mean_counts_rows_not_parts() -> None:
    parts = [torch.full((1, 2), 4.0), torch.zeros(0, 2), torch.full((3, 2), 8.0)]
    assert mean_of(iter(parts)).tolist() == [7.0, 7.0]


class Fixed(nn.Module):
    """An encoder whose embeddings are given, a batch after the other, and that must not be in training mode."""

    def __init__(self, embeddings: list[Tensor]) -> None:
        super().__init__()
        self.embeddings, self.calls = embeddings, 0

    def forward(self, pixels: Tensor) -> EncoderOutput:
        assert not self.training and pixels.shape[1] == 3
        self.calls += 1
        return EncoderOutput(self.embeddings[self.calls - 1], (), ())


def test_student_and_start_are_measured_on_the_same_patches() -> None:
    torch.manual_seed(0)
    batches = [numbered_batch(3), numbered_batch(2)]
    truth = torch.cat([batch.targets.mean for batch in batches])
    before = truth + 2 * torch.randn(5, 5)
    student, start = Fixed([batch.targets.mean for batch in batches]), Fixed([before[:3], before[3:]])
    student.eval()
    centre = torch.randn(5)
    cpu = torch.device("cpu")
    found = measure(student, start, batches, centre, cpu, projection=nn.Identity(), start_map=nn.Identity())
    assert found.patches == 5 and found.distilled.r2 == 1 and found.start == match(before, truth, centre)
    assert found.target_rank == found.distilled.rank == effective_rank(truth)
    assert start.calls == 0 and start.training  # a copy was used


def test_each_is_measured_by_its_own_map_and_keeps_its_own_rank() -> None:
    torch.manual_seed(0)
    batch, maps = numbered_batch(4), [nn.Linear(3, 5), nn.Linear(2, 5)]
    learned, before, centre = torch.randn(4, 3), torch.randn(4, 2), torch.randn(5)
    student, start = Fixed([learned]).eval(), Fixed([before]).eval()
    found = measure(
        student,  # type: ignore[arg-type]
        start,  # type: ignore[arg-type]
        [batch],
        centre,
        torch.device("cpu"),
        projection=maps[0],
        start_map=maps[1],
    )
    for one, embeddings, linear in ((found.distilled, learned, maps[0]), (found.start, before, maps[1])):
        with torch.no_grad():
            expected = match(linear(embeddings), batch.targets.mean, centre)
        assert (one.r2, one.cosine) == (expected.r2, expected.cosine) and one.rank == effective_rank(embeddings)
