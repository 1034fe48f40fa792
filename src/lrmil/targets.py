"""Gather the teacher's output on the LR lattice: attention mass A_r and weighted mean embedding mu_r."""

from typing import NamedTuple

import torch
from torch import Tensor


class RegionTargets(NamedTuple):
    """The teacher's output for each LR patch (method.md sections 5 and 7)."""

    log_mass: Tensor
    """(r,) log A_r, the logsumexp of the HR attention logits inside; -inf where no child is covered."""
    mean: Tensor
    """(r, d) mu_r, the attention-weighted mean of the HR embeddings inside; 0 where no child is covered."""


def region_targets(attention_logits: Tensor, embeddings: Tensor, parent: Tensor, n_regions: int) -> RegionTargets:
    """Sum HR attention, and average HR embeddings, over the LR patches that contain them.

    No information about the slide is lost: with a = softmax(e), sum_k a_k t_k = sum_r softmax(log A)_r mu_r.

    Parameters
    ----------
    attention_logits
        (n,) HR attention logits e_k; zeros for uniform weights.
    embeddings
        (n, d) HR embeddings t_k.
    parent
        (n,) index of the LR patch that contains each HR patch, from 0 to n_regions - 1.
    n_regions
        r, the number of LR patches.

    Returns
    -------
    RegionTargets
        log_mass (r,) and mean (r, d).
    """
    peak = attention_logits.new_full((n_regions,), -torch.inf).scatter_reduce(0, parent, attention_logits, "amax")
    weight = (attention_logits - peak[parent]).exp()
    total = weight.new_zeros(n_regions).index_add(0, parent, weight)
    mean = embeddings.new_zeros(n_regions, embeddings.shape[1]).index_add(
        0, parent, embeddings * (weight / total[parent])[:, None].to(embeddings.dtype)
    )
    return RegionTargets(peak + total.log(), mean)
