"""The linear map P with which stage 1 begins: what the frozen start says of the HR targets, by ridge regression.

From a random or an identical map, hundreds of steps would go into what a linear regression finds at once, and the
embedding would leave that of the start for it.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lrmil.configs import Stage1Config

PRIOR = 1500  # patches of mean variance that the penalty counts as; settled on GlaS images (docs/benchmarks.md)


def fit_start_map(pairs: Iterable[tuple[Tensor, Tensor]]) -> nn.Linear:
    """Fit the linear map from embeddings to targets by ridge regression (Hoerl and Kennard, Technometrics 1970, 12:55).

    Parameters
    ----------
    pairs
        (n_i, d_s) embeddings x_r of the frozen start and (n_i, d) targets mu_r of the same patches; at least one patch.

    Returns
    -------
    Linear
        d_s to d: W minimises sum ||W (x_r - x) + mu - mu_r||^2 + PRIOR v ||W||^2, where v is the mean variance of the
        channels of x_r; the bias maps the mean x of the embeddings to the mean mu of the targets.
    """
    count, sums = 0, [torch.zeros((), dtype=torch.float64)] * 4
    for embeddings, targets in pairs:
        x, mu = embeddings.double(), targets.double()
        sums = [total + part for total, part in zip(sums, (x.sum(0), mu.sum(0), x.T @ x, x.T @ mu), strict=True)]
        count += len(x)
    x_mean, mu_mean = sums[0] / count, sums[1] / count
    scatter = sums[2] - count * torch.outer(x_mean, x_mean)
    shared = sums[3] - count * torch.outer(x_mean, mu_mean)
    variance = float(scatter.diagonal().mean()) / count
    penalty = torch.eye(len(scatter), dtype=torch.float64) * max(PRIOR * variance, torch.finfo(torch.float64).tiny)
    weight = torch.linalg.solve(scatter + penalty, shared).T if variance > 0 else torch.zeros_like(shared).T
    with torch.random.fork_rng(devices=[]):  # its own start draws random numbers
        linear = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.copy_(mu_mean - weight @ x_mean)
    return linear


def start_map_input(config: Stage1Config) -> dict[str, object]:
    """Return what of the map is an input of a stage 1, by the name of the input; empty if it has no map."""
    scaled = {"start_scale": True} if config.standardised else {}
    return {"start_map": {"ridge": PRIOR, **scaled}} if config.lambda_keep else {}
