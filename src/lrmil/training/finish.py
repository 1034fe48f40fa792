"""The end-to-end finish: after stage 2, LR encoder and MIL learn together on LR patches sampled from the slides.

method.md section 9. The losses are those of stage 2, on the sampled patches alone.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lrmil.configs import Balance, FinishConfig, Stage2Config
from lrmil.errors import SlideError
from lrmil.models.devices import mixed_precision
from lrmil.models.encoders.loading import Encoder, as_input
from lrmil.models.heads.ensemble import members_of
from lrmil.models.heads.head import MILHead, predict_bag
from lrmil.steps import Job, Step
from lrmil.tasks.task import Task
from lrmil.training.augmentation import augment_pixels, draw_changes
from lrmil.training.bag_batches import pad_embeddings
from lrmil.training.loop import Budget, Fit, FitRun, fit_steps
from lrmil.training.sampled_patches import SampledBag, SampledPatches, SlideBag
from lrmil.training.slide_stage import draw_order, log_priors_of, resolve_balance, step_losses


class FinishedStudent(nn.Module):
    """The LR encoder and the MIL of the student as one network.

    Parameters
    ----------
    encoder
        The LR encoder, which stays in evaluation mode while it learns.
    mil
        The MIL of stage 2.
    """

    def __init__(self, encoder: Encoder, mil: MILHead) -> None:
        super().__init__()
        self.encoder, self.mil = encoder, mil

    def embed(self, pixels: Tensor, device: torch.device) -> Tensor:
        """Return the (n, d) embeddings of patches.

        Parameters
        ----------
        pixels
            (n, P, P, 3) RGB, 0 to 255.
        device
            Where the network is.
        """
        with mixed_precision(device):  # the encoder alone, as where features are extracted
            return self.encoder(as_input(pixels, device)).embedding.float()  # type: ignore[no-any-return]


def train_finish(
    job: Job,
    student: FinishedStudent,
    train: Sequence[SlideBag],
    val: Sequence[SlideBag],
    run: FitRun,
    *,
    task: Task,
    config: FinishConfig,
    balance: Balance = "none",
    stage2: Stage2Config | None = None,
    threads: int = 2,
) -> Iterator[Step[Fit]]:
    """Train encoder and MIL together; in each step on some patches of some slides.

    Each member of an ensemble has its own loss, so what reaches the encoder is the mean of their gradients.

    Parameters
    ----------
    student
        What is trained further; it is not changed.
    train, val
        Slides to learn from, and slides to select the epoch on, of which epoch 0 is the student of stage 2; without the
        latter, all epochs are taken.
    run
        Seed, checkpoint, key and device; see `fit_steps`.
    task
        What is predicted.
    config, balance
        Settings of the finish, and `MILConfig.balance`.
    stage2
        Settings of the distillation; None to learn from labels alone.
    threads
        Threads that decode patches.

    Yields
    ------
    Step
        As `fit_steps`; the last carries a `FinishedStudent`.

    Raises
    ------
    SlideError
        If no sampled patch can be read, or a slide changed since its features were extracted.
    """
    student = copy.deepcopy(student).to(run.device).to(memory_format=torch.channels_last)
    balance = resolve_balance(balance, [one.bag for one in train])
    log_priors = log_priors_of([one.bag for one in train], task, run.device) if balance == "logits" else None
    work = _Work(student, SampledPatches(threads), task, config, run, stage2, log_priors)
    yield from fit_steps(
        job,
        student,
        run,
        epoch_losses=lambda _, generator: _epoch_losses(work, train, generator, balanced=balance == "sampling"),
        budget=Budget(config.epochs, config.epochs * -(-len(train) // config.slides_per_step)),
        validate=_validation(work, val) if val else None,
        config=config,
        rates={"mil": config.head_learning_rate},
        validates_start=True,
    )


class _Work(NamedTuple):
    """What a finish is made with; see `train_finish`."""

    student: FinishedStudent
    patches: SampledPatches
    task: Task
    config: FinishConfig
    run: FitRun
    stage2: Stage2Config | None
    log_priors: Tensor | None


def _epoch_losses(
    work: _Work, train: Sequence[SlideBag], generator: torch.Generator, *, balanced: bool
) -> Iterator[dict[str, Tensor]]:
    """Draw what an epoch reads, then take its steps; a slide of which nothing can be read is left out of its step."""
    order = draw_order([one.bag for one in train], generator, balanced=balanced)
    samples = [work.patches.draw(train[i], work.config.patches, generator) for i in order]
    together, any_read = work.config.slides_per_step, False
    with closing(work.patches.read(samples)) as read:
        for _ in range(0, len(samples), together):
            if group := [one for one in islice(read, together) if len(one.pixels)]:
                any_read = True
                group = _augmented(group, work.config, work.run.device, generator)
                yield finish_losses(work.student, group, work.task, work.stage2, work.log_priors)
    if not any_read:
        raise SlideError("No LR patch of the training slides can be read. Check the slides, then rerun.")


def finish_losses(
    student: FinishedStudent,
    read: Sequence[SampledBag],
    task: Task,
    stage2: Stage2Config | None,
    log_priors: Tensor | None = None,
) -> dict[str, Tensor]:
    """Compute the mean losses of stage 2 over sampled patches, with gradients for encoder and MIL.

    Parameters
    ----------
    student
        The network.
    read
        Patches of some slides, where the network is, each with at least one.
    task, stage2, log_priors
        As in `lrmil.training.slide_stage.slide_losses`.

    Returns
    -------
    dict
        "loss" and its terms, () each: means over slides and members of the MIL.
    """
    pixels = torch.cat([one.pixels for one in read])
    embeddings = student.embed(pixels, pixels.device)
    parts = torch.split(embeddings, [len(one.pixels) for one in read])
    batch = pad_embeddings([one.bag for one in read], parts)
    return step_losses(student.mil, [[batch] for _ in members_of(student.mil)], task, stage2, log_priors)


def _augmented(
    read: Sequence[SampledBag], config: FinishConfig, device: torch.device, generator: torch.Generator
) -> list[SampledBag]:
    """Return the samples on a device, augmented as in stage 1: one symmetry, and the colours of each patch."""
    sizes = [len(one.pixels) for one in read]
    pixels = torch.cat([one.pixels for one in read]).to(device)
    if config.augment:
        pixels = augment_pixels(pixels, draw_changes(len(pixels), generator, stain=config.stain))
    return [one._replace(pixels=of) for one, of in zip(read, torch.split(pixels, sizes), strict=True)]


def _validation(work: _Work, val: Sequence[SlideBag]) -> Callable[[], dict[str, float]]:
    """Return the validation after an epoch, on the same patches of each slide every time."""
    student, patches, task, config = work.student, work.patches, work.task, work.config
    generator = torch.Generator().manual_seed(work.run.seed)
    samples = [patches.draw(slide, config.validation_patches, generator) for slide in val]
    together = config.patches * config.slides_per_step  # patches that fit the memory in training

    @torch.inference_mode()
    def validate() -> dict[str, float]:
        targets, values = [], []
        for one in patches.read(samples):
            if len(one.pixels):
                parts = torch.split(one.pixels, together)
                embeddings = torch.cat([student.embed(part, work.run.device) for part in parts])
                targets.append(one.bag.target)
                values.append(task.values(predict_bag(student.mil, embeddings).logits))
        if not values:
            raise SlideError("No LR patch of the validation slides can be read. Check the slides, then rerun.")
        return task.validate(targets, np.stack(values))._asdict()

    return validate
