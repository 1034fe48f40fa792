"""The slide level: teacher MIL and label-only floor (no targets), and the student MIL of stage 2 (with targets)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lrmil import losses, metrics
from lrmil.configs import MILConfig, Stage2Config
from lrmil.features.store import positions_in, read_features, read_index
from lrmil.geometry import parent_of
from lrmil.models.heads.abmil import ABMIL, make_mil, predict_bag
from lrmil.steps import Step
from lrmil.targets import region_targets
from lrmil.training import Fit, fit_steps


class Evidence(NamedTuple):
    """What the teacher MIL says of one slide."""

    logits: NDArray[np.float32]
    """(c,) class logits."""
    attention_logits: NDArray[np.float32]
    """(n,) one per HR patch, in the order of the slide's HR features."""


@dataclass(frozen=True, slots=True)
class Bag:
    """One slide as the slide level sees it: the features it is read from, its class, and the teacher's targets.

    Attributes
    ----------
    slide_id
        Which slide.
    features
        lrmil.features/1 folder of the patches in the bag.
    label
        Class index.
    teacher_logits, log_mass
        Targets of stage 2, None where the MIL learns from labels alone: (c,) and (n,), the latter in the order of the
        bag's patches, -inf where no HR child is covered.
    """

    slide_id: str
    features: Path
    label: int
    teacher_logits: NDArray[np.float32] | None = None
    log_mass: NDArray[np.float32] | None = None


def train_mil(
    job: str,
    train: Sequence[Bag],
    val: Sequence[Bag],
    *,
    n_classes: int,
    config: MILConfig,
    stage2: Stage2Config | None = None,
    start: dict[str, Tensor] | None = None,
    seed: int,
    checkpoint: Path,
    key: str,
    device: torch.device,
) -> Iterator[Step[Fit]]:
    """Train a MIL on bags: teacher and floor from labels, the student also from the teacher (method.md section 7).

    Parameters
    ----------
    train, val
        Bags to learn from, and bags to select the epoch on (AUROC, ties broken by cross-entropy).
    stage2
        Weights of the distillation terms; None for labels alone.
    start
        State dict to begin from, None for a seeded random start.

    Yields
    ------
    Step
        As `fit_steps`; the last carries the trained MIL.
    """
    store = _BagStore(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mil = make_mil(store.dim(train[0]), n_classes, config)
    if start is not None:
        mil.load_state_dict(start)
    elif config.standardised:
        mil.standardise(*_moments([store.embeddings(bag) for bag in train]))
    mil.to(device)

    def epoch_losses(epoch: int, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        order = torch.randperm(len(train), generator=generator).tolist()
        for first in range(0, len(order), config.slides_per_step):
            group = [train[i] for i in order[first : first + config.slides_per_step]]
            terms = [_bag_losses(mil, bag, store, config, stage2, generator) for bag in group]
            yield {name: torch.stack([term[name] for term in terms]).mean() for name in terms[0]}

    def validate() -> dict[str, float]:
        outputs = [predict_bag(mil, store.embeddings(bag)) for bag in val]
        labels = np.array([bag.label for bag in val])
        probabilities = np.stack([output.probabilities for output in outputs])
        loss = -np.log(np.clip(probabilities[np.arange(len(val)), labels], 1e-12, None)).mean()
        auroc = metrics.auroc(labels, probabilities)
        return {"loss": float(loss), "score": float(-loss if auroc is None else auroc)}

    yield from fit_steps(
        job,
        mil,
        epoch_losses=epoch_losses,
        steps_per_epoch=-(-len(train) // config.slides_per_step),
        validate=validate,
        config=config.fit,
        seed=seed,
        checkpoint=checkpoint,
        key=key,
        device=device,
    )


def student_bag(slide_id: str, lr: Path, hr: Path, label: int, evidence: Evidence, *, children: int) -> Bag:
    """Pair a slide's LR features with the teacher's evidence, log A_r gathered on the LR patches (method.md 7)."""
    lr_index = read_index(lr)
    log_mass = gather_log_mass(lr_index, read_index(hr), evidence.attention_logits, children=children)
    return Bag(slide_id, lr, label, evidence.logits, log_mass)


def gather_log_mass(
    lr_index: NDArray[np.int32], hr_index: NDArray[np.int32], attention_logits: NDArray[np.float32], *, children: int
) -> NDArray[np.float32]:
    """log A_r on the LR patches (n,), -inf where none of the HR patches within was covered and read."""
    parents, _ = parent_of(hr_index, children)
    position = positions_in(lr_index, parents)
    inside = position >= 0
    folded = region_targets(
        torch.from_numpy(attention_logits[inside]).double(),
        torch.zeros(int(inside.sum()), 1, dtype=torch.float64),
        torch.from_numpy(position[inside]),
        len(lr_index),
    )
    return folded.log_mass.float().numpy()


def _bag_losses(
    mil: ABMIL,
    bag: Bag,
    store: "_BagStore",
    config: MILConfig,
    stage2: Stage2Config | None,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    embeddings = store.embeddings(bag)
    kept = _kept_patches(len(embeddings), config.patch_dropout, generator)
    output = mil(embeddings[kept])
    target = torch.tensor([bag.label], device=embeddings.device)
    terms = {"ce": functional.cross_entropy(output.logits[None], target)}
    if stage2 is None:
        return {"loss": terms["ce"], **terms}
    if bag.teacher_logits is None or bag.log_mass is None:
        raise ValueError(f"Expected the teacher's targets in every bag of stage 2. Got none for {bag.slide_id}.")
    teacher_logits = torch.from_numpy(bag.teacher_logits).to(embeddings.device)
    log_mass = torch.from_numpy(bag.log_mass).to(embeddings.device)[kept]
    attention = output.attention_logits
    terms["bag"] = losses.bag_loss(output.logits, teacher_logits, stage2.bag_temperature)
    terms["soft"] = losses.attention_loss(attention, log_mass, temperature=stage2.attention_temperature)
    terms["hard"] = losses.ranking_loss(attention, log_mass, fraction=stage2.fraction, k_max=stage2.k_max)
    total = (
        stage2.lambda_ce * terms["ce"]
        + stage2.lambda_bag * terms["bag"]
        + stage2.lambda_soft * terms["soft"]
        + stage2.lambda_hard * terms["hard"]
    )
    return {"loss": total, **terms}


def _kept_patches(count: int, dropped: float, generator: torch.Generator) -> Tensor:
    """Positions of the patches that stay at this training step, at least one."""
    if dropped == 0:
        return torch.arange(count)
    return torch.randperm(count, generator=generator)[: max(1, round(count * (1 - dropped)))].sort().values


def _moments(bags: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and deviation (d,) of the training patches, every slide counting alike."""
    mean = torch.stack([bag.double().mean(0) for bag in bags]).mean(0)
    variance = torch.stack([(bag.double() - mean).square().mean(0) for bag in bags]).mean(0)
    return mean.float(), variance.sqrt().float()


class _BagStore:
    """Embeddings by slide, from disk; the first slides that fit into `limit` bytes stay in memory."""

    def __init__(self, device: torch.device, limit: int = 2 << 30) -> None:
        self._device = device
        self._free = limit
        self._kept: dict[Path, Tensor] = {}

    def embeddings(self, bag: Bag) -> Tensor:
        if bag.features in self._kept:
            return self._kept[bag.features]
        values = torch.from_numpy(read_features(bag.features).embeddings).to(self._device)
        if values.nbytes <= self._free:
            self._free -= values.nbytes
            self._kept[bag.features] = values
        return values

    def dim(self, bag: Bag) -> int:
        return int(self.embeddings(bag).shape[1])
