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
    weights = torch.as_tensor(token_overlap(tokens.shape[-1], children), dtype=tokens.dtype, device=tokens.device)
    pooled = torch.einsum("kt,bdt->bkd", weights, tokens.flatten(2))
    distance = (pooled - targets).square().mean(-1)
    mask = _mask(covered, distance)
    per_patch = (distance * mask).sum(1) / mask.sum(1).clamp(min=1)
    return _mean_where(per_patch, mask.any(1))


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
    """Compute L_bag = T^2 * KL(softmax(teacher/T) || softmax(student/T)) of one slide.

    Parameters
    ----------
    student_logits, teacher_logits
        (c,) class logits.
    temperature
        T.

    Returns
    -------
    Tensor
        Scalar.
    """
    teacher = functional.log_softmax(teacher_logits / temperature, -1)
    student = functional.log_softmax(student_logits / temperature, -1)
    return temperature**2 * (teacher.exp() * (teacher - student)).sum()


def attention_loss(
    attention_logits: Tensor, log_mass: Tensor, covered: Tensor | None = None, temperature: float = 1.0
) -> Tensor:
    """Compute L_soft = T^2 * sum_r q_r (log q_r - log p_r): KL of teacher mass q and student attention p.

    It is a sum over patches, not a mean, so it does not shrink as bags grow.

    Parameters
    ----------
    attention_logits
        (r,) student attention logits.
    log_mass
        (r,) log A_r, the teacher's attention mass on each LR patch, up to a constant.
    covered
        (r,) bool: patches with at least one covered child; the others are left out of p and q. None for those where
        `log_mass` is finite.
    temperature
        T.

    Returns
    -------
    Tensor
        Scalar; 0 if no patch is covered.
    """
    covered = _covered_mass(log_mass, covered)
    if not covered.any():
        return attention_logits.sum() * 0.0
    log_q = functional.log_softmax(log_mass[covered] / temperature, -1)
    log_p = functional.log_softmax(attention_logits[covered] / temperature, -1)
    return temperature**2 * (log_q.exp() * (log_q - log_p)).sum()


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
        Scalar; 0 with fewer than two covered patches.
    """
    covered = _covered_mass(log_mass, covered)
    count = int(covered.sum())
    k = min(max(1, int(fraction * count)), k_max, count // 2)
    if k == 0:
        return attention_logits.sum() * 0.0
    logits = attention_logits[covered][torch.argsort(log_mass[covered], descending=True, stable=True)]
    return functional.softplus(logits[-k:][None, :] - logits[:k][:, None]).mean()


def _covered_mass(log_mass: Tensor, covered: Tensor | None) -> Tensor:
    return log_mass.isfinite() if covered is None else covered.bool() & log_mass.isfinite()


def _mask(covered: Tensor | None, like: Tensor) -> Tensor:
    return torch.ones_like(like, dtype=torch.bool) if covered is None else covered.bool()


def _mean_where(values: Tensor, where: Tensor) -> Tensor:
    return (values * where).sum() / where.sum().clamp(min=1)
