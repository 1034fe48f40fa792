"""Bags of different length as padded batches with masks, and the patches of them that a training step keeps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from lrmil.training.bags import Bag, BagStore

MAX_NUMBERS = 1 << 26  # of a padded batch; larger groups of bags are divided


@dataclass(frozen=True, slots=True)
class BagBatch:
    """b bags, each padded to the n patches of the longest.

    Attributes
    ----------
    bags
        The b bags.
    embeddings
        (b, n, d), or (b, n, k, d + 1) of regions with nested patches, where the network computes.
    mask
        (b, n) bool on the CPU: True for patches, False for padding, which comes last.
    log_mass
        (b, n) targets of stage 2, -inf for padding; None where the MIL learns from labels alone.
    teacher_logits
        (b, c) targets of stage 2, or None.
    """

    bags: tuple[Bag, ...]
    embeddings: Tensor
    mask: Tensor
    log_mass: Tensor | None = None
    teacher_logits: Tensor | None = None


def pad_bags(bags: Sequence[Bag], store: BagStore, *, limit: int = MAX_NUMBERS) -> list[BagBatch]:
    """Pad bags to the length of the longest, in batches of bags of similar length.

    Parameters
    ----------
    bags
        Some bags.
    store
        Reads their embeddings.
    limit
        Numbers in a batch; a single bag may have more.

    Returns
    -------
    list of BagBatch
        One batch where all bags fit into it.
    """
    groups: list[list[Bag]] = []
    for bag in sorted(bags, key=lambda bag: -len(store.embeddings(bag))):
        longest = store.embeddings(groups[-1][0]).numel() if groups else limit
        if groups and longest * (len(groups[-1]) + 1) <= limit:
            groups[-1].append(bag)
        else:
            groups.append([bag])
    return [pad_embeddings(group, [store.embeddings(bag) for bag in group]) for group in groups]


def pad_embeddings(bags: Sequence[Bag], embeddings: Sequence[Tensor]) -> BagBatch:
    """Pad bags whose embeddings are at hand to one batch.

    Parameters
    ----------
    bags
        b bags.
    embeddings
        Of each, (n, d) or (n, k, d + 1) where the network computes.
    """
    sizes = torch.tensor([len(values) for values in embeddings])
    padded = pad_sequence(list(embeddings), batch_first=True)
    mask = torch.arange(padded.shape[1]) < sizes[:, None]
    masses = [torch.from_numpy(bag.log_mass) for bag in bags if bag.log_mass is not None]
    logits = [torch.from_numpy(bag.teacher_logits) for bag in bags if bag.teacher_logits is not None]
    if len(masses) < len(bags) or len(logits) < len(bags):
        return BagBatch(tuple(bags), padded, mask)
    log_mass = pad_sequence(masses, batch_first=True, padding_value=-torch.inf)
    return BagBatch(tuple(bags), padded, mask, log_mass.to(padded.device), torch.stack(logits).to(padded.device))


def keep_some(batch: BagBatch, dropped: float, generator: torch.Generator) -> BagBatch:
    """Draw the patches of each bag that a training step keeps, in their order, at least one.

    Parameters
    ----------
    batch
        The bags.
    dropped
        Fraction of the patches of each bag to leave out, 0 to 1.
    generator
        Source of the randomness, on the CPU.
    """
    if dropped == 0:
        return batch
    counts = torch.tensor([max(1, round(size * (1 - dropped))) for size in batch.mask.sum(1).tolist()])
    drawn = torch.rand(batch.mask.shape, generator=generator).masked_fill(~batch.mask, 2.0).argsort(dim=1, stable=True)
    mask = torch.arange(int(counts.max())) < counts[:, None]
    last = batch.mask.shape[1] - 1
    places = drawn[:, : mask.shape[1]].masked_fill(~mask, last + 1).sort(1).values.clamp(max=last)
    rows, places = torch.arange(len(places))[:, None].to(batch.embeddings.device), places.to(batch.embeddings.device)
    log_mass = batch.log_mass
    if log_mass is not None:
        log_mass = log_mass[rows, places].masked_fill(~mask.to(log_mass.device), -torch.inf)
    return replace(batch, embeddings=batch.embeddings[rows, places], mask=mask, log_mass=log_mass)
