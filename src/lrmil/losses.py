"""Every distillation term as a pure function (method.md sections 5 and 7; arXiv 2606.06864).

Optional parameters are positional too, because the public signatures were published so.
"""

import torch
from torch import Tensor
from torch.nn import functional

from lrmil.geometry import token_overlap


def layer_loss(tokens: Tensor, targets: Tensor, covered: Tensor | None = None) -> Tensor:
    """Compute the distance of the student's tokens, pooled per HR child, to the HR encoder's output for that child.

    (1/K_r) * sum over covered k of ||W_k tokens - c_k||^2 / D, averaged over the patches with K_r > 0 covered children.

    Parameters
    ----------
    tokens
        (b, d, g, g) student tokens of one block.
    targets
        (b, s*s, d) class tokens c_k of the HR encoder, from the same block.
    covered
        (b, s*s) bool: children that count; None for all.

    Returns
    -------
    Tensor
        Scalar; 0 if no child is covered.
    """
    children = round(targets.shape[1] ** 0.5)
    distance = (_pooled(tokens, children) - targets).square().mean(-1)
    mask = _mask(covered, distance)
    per_patch = (distance * mask).sum(1) / mask.sum(1).clamp(min=1)
    return _mean_where(per_patch, mask.any(1))


def _pooled(tokens: Tensor, children: int) -> Tensor:
    """Return the (b, s*s, d) means of tokens (b, d, g, g) over each HR child, tokens on an edge by their share."""
    side = tokens.shape[-1]
    if side % children == 0:
        return functional.avg_pool2d(tokens, side // children).flatten(2).transpose(1, 2)
    weights = torch.as_tensor(token_overlap(side, children), dtype=tokens.dtype, device=tokens.device)
    return torch.einsum("kt,bdt->bkd", weights, tokens.flatten(2))


def region_loss(embedding: Tensor, mean: Tensor, *, cosine: bool = False) -> Tensor:
    """Compute L_attn: ||s_r - mu_r||^2 / D, or 1 - cosine similarity, averaged over patches.

    Parameters
    ----------
    embedding
        (b, d) student embeddings s_r.
    mean
        (b, d) weighted HR means mu_r.
    cosine
        Use 1 - cosine similarity in place of the squared distance.

    Returns
    -------
    Tensor
        Scalar.
    """
    if cosine:
        return (1 - functional.cosine_similarity(embedding, mean, dim=-1)).mean()
    return (embedding - mean).square().mean()


def bag_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Compute L_bag = T^2 * KL(softmax(teacher/T) || softmax(student/T)) of one slide, or of each of several.

    Parameters
    ----------
    student_logits, teacher_logits
        (c,) or (b, c) class logits.
    temperature
        T.

    Returns
    -------
    Tensor
        () or (b,).
    """
    teacher = functional.log_softmax(teacher_logits / temperature, -1)
    student = functional.log_softmax(student_logits / temperature, -1)
    return temperature**2 * (teacher.exp() * (teacher - student)).sum(-1)


def attention_loss(
    attention_logits: Tensor, log_mass: Tensor, covered: Tensor | None = None, temperature: float = 1.0
) -> Tensor:
    """Compute L_soft = T^2 * sum_r q_r (log q_r - log p_r): KL of teacher mass q and student attention p.

    It is a sum over patches, not a mean, so it does not shrink as bags grow.

    Parameters
    ----------
    attention_logits
        (r,) or (b, r) student attention logits.
    log_mass
        Of the same shape: log A_r, the teacher's attention mass on each LR patch, up to a constant for each slide.
    covered
        Of the same shape, bool: patches with at least one covered child; the others are left out of p and q, and so is
        padding. None for those where `log_mass` is finite.
    temperature
        T.

    Returns
    -------
    Tensor
        () or (b,); 0 for a slide without a covered patch.
    """
    covered = _covered_mass(log_mass, covered)
    left_out = ~covered & covered.any(-1, keepdim=True)  # of a slide without a covered patch, none: its terms are 0
    log_q = _log_shares(log_mass.masked_fill(~covered, 0.0), left_out, temperature)
    log_p = _log_shares(attention_logits.masked_fill(~covered, 0.0), left_out, temperature)
    return temperature**2 * (log_q.exp() * (log_q - log_p).masked_fill(~covered, 0.0)).sum(-1)


def ranking_loss(
    attention_logits: Tensor,
    log_mass: Tensor,
    covered: Tensor | None = None,
    fraction: float = 0.1,
    k_max: int = 8,
) -> Tensor:
    """Compute L_hard, which pulls the attention logits of the teacher's top-k patches above those of its bottom-k.

    Mean over (i in top, j in bottom) of softplus(-(e_i - e_j)), with k = clip(fraction * n, 1, k_max), and at most
    n // 2, so that no patch is in both.

    Parameters
    ----------
    attention_logits, log_mass, covered
        As in `attention_loss`.
    fraction
        rho, the share of the patches in the top, and in the bottom; 0 to 1.
    k_max
        Largest k.

    Returns
    -------
    Tensor
        () or (b,); 0 for a slide with fewer than two covered patches.
    """
    covered = _covered_mass(log_mass, covered)
    count = covered.sum(-1, keepdim=True)
    k = (fraction * count.double()).long().clamp(min=1, max=k_max).minimum(count // 2)
    order = log_mass.masked_fill(~covered, -torch.inf).argsort(dim=-1, descending=True, stable=True)
    place = torch.arange(min(k_max, log_mass.shape[-1] // 2), device=log_mass.device).expand(*k.shape[:-1], -1)
    logits = attention_logits.masked_fill(~covered, 0.0)
    top = logits.gather(-1, order.gather(-1, place))
    bottom = logits.gather(-1, order.gather(-1, (count - 1 - place).clamp(min=0)))
    counted = place < k
    pairs = functional.softplus(bottom[..., None, :] - top[..., :, None])
    pairs = pairs * (counted[..., None, :] & counted[..., :, None])
    return pairs.sum((-2, -1)) / k.squeeze(-1).clamp(min=1) ** 2


def _log_shares(values: Tensor, left_out: Tensor, temperature: float) -> Tensor:
    return functional.log_softmax((values / temperature).masked_fill(left_out, -torch.inf), -1)


def _covered_mass(log_mass: Tensor, covered: Tensor | None) -> Tensor:
    return log_mass.isfinite() if covered is None else covered.bool() & log_mass.isfinite()


def _mask(covered: Tensor | None, like: Tensor) -> Tensor:
    return torch.ones_like(like, dtype=torch.bool) if covered is None else covered.bool()


def _mean_where(values: Tensor, where: Tensor) -> Tensor:
    return (values * where).sum() / where.sum().clamp(min=1)
