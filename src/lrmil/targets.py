"""The teacher's evidence folded onto the LR lattice: attention mass A_r and weighted mean embedding mu_r."""

from typing import NamedTuple

import torch
from torch import Tensor


class RegionTargets(NamedTuple):
    """What the teacher says of each LR patch (method.md sections 5 and 7)."""

    log_mass: Tensor
    """(r,) log A_r = logsumexp of the HR attention logits within; -inf where no child is covered."""
    mean: Tensor
    """(r, d) mu_r, the attention-weighted mean of the HR embeddings within; 0 where no child is covered."""


def region_targets(attention_logits: Tensor, embeddings: Tensor, parent: Tensor, n_regions: int) -> RegionTargets:
    """Gather HR attention logits and embeddings on the LR patches that contain them.

    With a = softmax(e) over the slide, sum_k a_k t_k = sum_r softmax(log A)_r mu_r exactly.

    Parameters
    ----------
    attention_logits
        (n,) e_k; zeros give uniform weights.
    embeddings
        (n, d) t_k.
    parent
        (n,) integer position of each HR patch's LR patch, 0 <= parent < n_regions.
    n_regions
        Number of LR patches.

    Returns
    -------
    RegionTargets
    """
    peak = attention_logits.new_full((n_regions,), -torch.inf).scatter_reduce(0, parent, attention_logits, "amax")
    weight = (attention_logits - peak[parent]).exp()
    total = weight.new_zeros(n_regions).index_add(0, parent, weight)
    mean = embeddings.new_zeros(n_regions, embeddings.shape[1]).index_add(
        0, parent, embeddings * (weight / total[parent])[:, None].to(embeddings.dtype)
    )
    return RegionTargets(peak + total.log(), mean)
