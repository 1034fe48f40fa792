"""How well the student's embeddings s_r match their targets mu_r on patches that it did not learn from."""

import copy
from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from lrmil.models.devices import mixed_precision
from lrmil.models.encoders.loading import Encoder, as_input
from lrmil.training.fidelity_figures import Fidelity, Match
from lrmil.training.pair_loading import PairedBatch

ROUNDING = 1e-12  # of the norm; a smaller singular value is an error of rounding


@torch.inference_mode()
def measure(
    student: Encoder,
    start: Encoder,
    batches: Iterable[PairedBatch],
    centre: Tensor,
    device: torch.device,
    *,
    projection: nn.Module,
    start_map: nn.Module,
) -> Fidelity:
    """Measure student and start on the same patches.

    Parameters
    ----------
    student
        The distilled LR encoder, on `device`.
    start
        What it started from; it is not changed.
    batches
        Held-out patches with their targets.
    centre
        (d,) mean of the training targets.
    device
        Where to compute.
    projection, start_map
        The maps of the embeddings of student and start that are to match the targets, on `device`; the identity for
        the embeddings themselves. The ranks are those of the embeddings.
    """
    encoders = (student, copy.deepcopy(start).to(device).eval())
    found: tuple[list[Tensor], ...] = ([], [])
    targets: list[Tensor] = []
    for batch in batches:
        targets.append(batch.targets.mean)
        for encoder, embeddings in zip(encoders, found, strict=True):
            with mixed_precision(device):
                embeddings.append(encoder(as_input(batch.pixels, device)).embedding.float().cpu())
    truth = torch.cat(targets)

    def mapped(parts: list[Tensor], linear: nn.Module) -> Match:
        values = torch.cat(parts)
        return replace(match(linear(values.to(device)).cpu(), truth, centre), rank=effective_rank(values))

    distilled, before = mapped(found[0], projection), mapped(found[1], start_map)
    return Fidelity(len(truth), distilled, before, effective_rank(truth))


def match(embeddings: Tensor, targets: Tensor, centre: Tensor) -> Match:
    """Compare embeddings with their targets.

    Parameters
    ----------
    embeddings
        (n, d) s_r.
    targets
        (n, d) mu_r.
    centre
        (d,) mean m of the training targets.

    Returns
    -------
    Match
        If the embeddings have another dimension than the targets, only their rank is defined.
    """
    if embeddings.shape[1] != targets.shape[1]:
        return Match(None, None, effective_rank(embeddings))
    found, truth, middle = (values.double() for values in (embeddings, targets, centre))
    spread = float((truth - middle).square().sum())
    r2 = 1 - float((found - truth).square().sum()) / spread if spread else None
    cosines = functional.cosine_similarity(found - middle, truth - middle, dim=1)
    return Match(r2, float(cosines.mean()) if len(cosines) else None, effective_rank(embeddings))


def effective_rank(values: Tensor) -> float | None:
    """Return the effective rank of n centred vectors; None if all are equal.

    It is the exponential of the entropy of the singular values, divided by their sum (Roy and Vetterli, EUSIPCO 2007).

    Parameters
    ----------
    values
        (n, d).
    """
    if not len(values):
        return None
    singular = torch.linalg.svdvals(values.double() - values.double().mean(0))
    singular = singular[singular > ROUNDING * values.double().norm()]
    share = singular / singular.sum()
    return float(torch.exp(-(share * share.log()).sum())) if len(share) else None


def mean_of(parts: Iterable[Tensor]) -> Tensor:
    """Return the mean (d,) of the rows of several (n_i, d) tensors."""
    total, count = torch.zeros(()), 0
    for part in parts:
        total, count = total + part.double().sum(0), count + len(part)
    return total / count
