"""The slide level: teacher MIL and label-only baseline (no targets), and the student MIL of stage 2 (with targets)."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from lrmil import losses
from lrmil.configs import IMBALANCE, Balance, MILConfig, Stage2Config
from lrmil.errors import ConfigError
from lrmil.models.heads.choice import Head, make_mil
from lrmil.models.heads.ensemble import members_of
from lrmil.models.heads.head import HasAuxiliaryLoss, MILHead, MILOutput, predict_bag
from lrmil.steps import Job, Step
from lrmil.tasks.task import Task
from lrmil.training.bag_batches import BagBatch, keep_some, pad_bags
from lrmil.training.bags import Bag, BagStore
from lrmil.training.loop import Budget, Fit, FitRun, fit_steps

LABEL_TERM = "ce"  # the loss against the label in history.json, whatever the task
HEAD_TERM = "head"  # the loss that the head adds of itself, if it does


def train_mil(
    job: Job,
    train: Sequence[Bag],
    val: Sequence[Bag],
    run: FitRun,
    *,
    task: Task,
    config: MILConfig,
    stage2: Stage2Config | None = None,
    start: dict[str, Tensor] | None = None,
) -> Iterator[Step[Fit]]:
    """Train a MIL on bags: teacher and baseline from labels, the student also from the teacher (method.md section 7).

    Parameters
    ----------
    train, val
        Bags to learn from, and bags to select the epoch on (`Task.validate`); without the latter, all epochs are taken.
        If the bags have nested patches, the MIL learns attention within regions (`RegionAttention`).
    run
        Seed, checkpoint, key and device; see `fit_steps`.
    task
        What is predicted: outputs of the network, losses and the validation.
    config
        Settings of the MIL.
    stage2
        Settings of the distillation; None to learn from labels alone.
    start
        Weights to start from; None for a seeded random start.

    Yields
    ------
    Step
        As `fit_steps`; the last carries the trained MIL: with `config.seeds` above 1 an ensemble, each member of which
        learned from the same bags by its own loss.
    """
    store, balance = BagStore(run.device), resolve_balance(config.balance, train)
    mil = _start_mil(train, store, run, task=task, config=config, start=start)
    log_priors = log_priors_of(train, task, run.device) if balance == "logits" else None

    def epoch_losses(_epoch: int, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        order = draw_order(train, generator, balanced=balance == "sampling")
        for first in range(0, len(order), config.slides_per_step):
            batches = pad_bags([train[i] for i in order[first : first + config.slides_per_step]], store)
            kept = [[keep_some(batch, config.patch_dropout, generator) for batch in batches] for _ in members_of(mil)]
            yield step_losses(mil, kept, task, stage2, log_priors)

    def validate() -> dict[str, float]:
        outputs = [predict_bag(mil, store.embeddings(bag)) for bag in val]
        values = np.stack([task.values(output.logits) for output in outputs])
        return task.validate([bag.target for bag in val], values)._asdict()

    yield from fit_steps(
        job,
        mil,
        run,
        epoch_losses=epoch_losses,
        budget=budget_of(config, len(train)),
        validate=validate if val else None,
        config=config.fit,
    )


def budget_of(config: MILConfig, bags: int) -> Budget:
    """Return how long `train_mil` trains at most on a number of bags."""
    epochs = config.fit.epochs
    return Budget(epochs, epochs * -(-bags // config.slides_per_step))


def _start_mil(
    train: Sequence[Bag],
    store: BagStore,
    run: FitRun,
    *,
    task: Task,
    config: MILConfig,
    start: dict[str, Tensor] | None,
) -> Head:
    """Make the network, with given weights or with seeded ones and the scale of the training patches."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        within = train[0].nested is not None
        mil = make_mil(store.dim(train[0]), task.outputs, config, seeds=config.seeds, within_regions=within)
    if start is not None:
        mil.load_state_dict(start)
    elif config.standardised:
        mil.standardise(*_moments([store.patches(bag) for bag in train]))
    mil.to(run.device)
    return mil


def _moments(bags: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation (d,) of the training patches; all slides have the same weight."""
    mean = torch.stack([bag.double().mean(0) for bag in bags]).mean(0)
    variance = torch.stack([(bag.double() - mean).square().mean(0) for bag in bags]).mean(0)
    return mean.float(), variance.sqrt().float()


def resolve_balance(balance: Balance, bags: Sequence[Bag]) -> Balance:
    """Return what "auto" is for some training bags: "sampling" if a stratum is rare among them, else "none".

    Parameters
    ----------
    balance
        The setting; others than "auto" are returned as they are.
    bags
        The bags, with their strata.
    """
    if balance != "auto":
        return balance
    sizes = Counter(bag.stratum for bag in bags).values()
    return "sampling" if max(sizes) >= IMBALANCE * min(sizes) else "none"


def draw_order(bags: Sequence[Bag], generator: torch.Generator, *, balanced: bool) -> list[int]:
    """Draw the order of the bags of an epoch.

    Parameters
    ----------
    bags
        n bags.
    generator
        Source of the randomness.
    balanced
        Draw n with replacement, each stratum equally often on average, in place of each bag once.
    """
    sizes = Counter(bag.stratum for bag in bags)
    if not balanced or len(sizes) == 1:
        return torch.randperm(len(bags), generator=generator).tolist()
    weights = torch.tensor([1 / sizes[bag.stratum] for bag in bags], dtype=torch.float64)
    return torch.multinomial(weights, len(bags), replacement=True, generator=generator).tolist()


def log_priors_of(bags: Sequence[Bag], task: Task, device: torch.device) -> Tensor:
    """Return the (c,) log frequencies of the labels of some bags on a device.

    Parameters
    ----------
    bags, task, device
        As in `train_mil`.

    Raises
    ------
    ConfigError
        If the task has none.
    """
    found = task.log_priors([bag.target for bag in bags])
    if found is None:
        raise ConfigError(f'Expected mil.balance = "none" or "sampling" for a {task.name}. Got "logits".')
    return torch.tensor(found, device=device)


def step_losses(
    mil: MILHead,
    batches: Sequence[Sequence[BagBatch]],
    task: Task,
    stage2: Stage2Config | None,
    log_priors: Tensor | None,
) -> dict[str, Tensor]:
    """Return the mean losses () of some bags; each bag and each member counts alike.

    Parameters
    ----------
    mil
        The network, which may be an ensemble.
    batches
        For each member of the network, the bags that it learns from.
    task, stage2, log_priors
        As in `slide_losses`.
    """
    terms = [
        slide_losses(member, batch, task, stage2, log_priors)
        for member, of_member in zip(members_of(mil), batches, strict=True)
        for batch in of_member
    ]
    return {name: torch.cat([of_batch[name] for of_batch in terms]).mean() for name in terms[0]}


def slide_losses(
    mil: MILHead, batch: BagBatch, task: Task, stage2: Stage2Config | None, log_priors: Tensor | None = None
) -> dict[str, Tensor]:
    """Compute the terms of L_2 for each slide of a batch (method.md section 7).

    Parameters
    ----------
    mil
        The network.
    batch
        b bags.
    task
        What is predicted.
    stage2
        Settings of the distillation; None for the loss against the labels alone.
    log_priors
        (c,) log frequencies that are added to the logits in the loss against the labels, so that what is rare counts
        as much (Menon et al. 2021, arXiv 2007.07314); None adds nothing.

    Returns
    -------
    dict
        "loss", their weighted sum, and its terms "ce", "bag", "soft" and "hard": (b,) each; "head" of a head that adds
        a loss of its own.

    Raises
    ------
    ValueError
        If the bags lack the teacher's targets of stage 2.
    """
    output = mil(batch.embeddings, batch.mask.to(batch.embeddings.device))
    adjusted = output.logits if log_priors is None else output.logits + log_priors
    terms = {LABEL_TERM: task.loss(adjusted, [bag.target for bag in batch.bags])}
    if isinstance(mil, HasAuxiliaryLoss):
        terms[HEAD_TERM] = _auxiliary_losses(mil, batch, output)
    if stage2 is None:
        return {"loss": torch.stack(list(terms.values())).sum(0), **terms}
    if batch.teacher_logits is None or batch.log_mass is None:
        names = ", ".join(bag.slide_id for bag in batch.bags)
        raise ValueError(f"Expected the teacher's targets in every bag of stage 2. Got none among {names}.")
    attention, log_mass = output.attention_logits, batch.log_mass
    terms["bag"] = task.distillation(output.logits, batch.teacher_logits, stage2.bag_temperature)
    terms["soft"] = losses.attention_loss(attention, log_mass, temperature=stage2.attention_temperature)
    terms["hard"] = losses.ranking_loss(attention, log_mass, fraction=stage2.fraction, k_max=stage2.k_max)
    total = (
        stage2.lambda_ce * terms[LABEL_TERM]
        + stage2.lambda_bag * terms["bag"]
        + stage2.lambda_soft * terms["soft"]
        + stage2.lambda_hard * terms["hard"]
    )
    if HEAD_TERM in terms:
        total = total + terms[HEAD_TERM]
    return {"loss": total, **terms}


def _auxiliary_losses(mil: HasAuxiliaryLoss, batch: BagBatch, output: MILOutput) -> Tensor:
    """Return what a head adds to the loss of each bag, without its padding."""
    found = []
    for bag, embeddings, mask, *of_bag in zip(batch.bags, batch.embeddings, batch.mask, *output, strict=True):
        logits, attention_logits, embedding = of_bag
        size = int(mask.sum())
        alone = MILOutput(logits, attention_logits[:size], embedding)
        found.append(mil.auxiliary_loss(embeddings[:size], alone, bag.target))
    return torch.stack(found)
