"""Stage 1: an LR patch encoder learns the embeddings that the frozen HR encoder has for the patches inside its own.

method.md section 5; arXiv 2606.06864.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional

from lrmil import losses
from lrmil.configs import Stage1Config
from lrmil.features.store import read_features
from lrmil.models.devices import mixed_precision
from lrmil.models.encoders.loading import Encoder, as_input
from lrmil.steps import Job, Step, relay
from lrmil.training.augmentation import augment, draw_changes
from lrmil.training.fidelity import measure
from lrmil.training.fidelity_figures import FIDELITY, Fidelity
from lrmil.training.loop import Budget, Fit, FitRun, fit_steps
from lrmil.training.pair_loading import PairedBatch
from lrmil.training.paired_patches import PairedPatches
from lrmil.training.pairs import PairedSlide, RegionSamples, block_order
from lrmil.training.start_map import fit_start_map

SMOOTHING = 0.5  # share of the validations before in the smoothed validation loss


class Student(nn.Module):
    """The LR encoder, with what only training needs.

    Parameters
    ----------
    encoder
        The LR encoder.
    student_dims, teacher_dims
        Channels of each distilled block, in the student and in the teacher.
    projected_dim
        Dimension of mu_r if a linear map of the embedding is to match it; 0 if the embedding itself is.
    """

    embedding_scale: Tensor
    start_scale: Tensor

    def __init__(
        self, encoder: Encoder, student_dims: Sequence[int], teacher_dims: Sequence[int], *, projected_dim: int = 0
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.block_maps = nn.ModuleList(
            nn.Identity() if inner == outer else nn.Conv2d(inner, outer, 1)
            for inner, outer in zip(student_dims, teacher_dims, strict=True)
        )
        self.projection = nn.Linear(encoder.dim, projected_dim) if projected_dim else nn.Identity()
        self.register_buffer("embedding_scale", torch.ones(projected_dim or encoder.dim))
        self.register_buffer("start_scale", torch.ones(encoder.dim), persistent=False)
        for i, dim in enumerate(teacher_dims):
            self.register_buffer(f"block_scale_{i}", torch.ones(dim))

    def scales(self) -> list[Tensor]:
        """Return the (d_l,) inverse standard deviations of the targets of each block."""
        return [self.get_buffer(f"block_scale_{i}") for i in range(len(self.block_maps))]

    def set_scales(self, embedding: Tensor, blocks: Sequence[Tensor], start: Tensor | None = None) -> None:
        """Set the inverse standard deviations of the targets.

        Parameters
        ----------
        embedding
            (d,) of the HR embeddings.
        blocks
            (d_l,) of each distilled block.
        start
            (d_s,) of the frozen start's embeddings; None leaves them as they are.
        """
        self.embedding_scale.copy_(embedding)
        if start is not None:
            self.start_scale.copy_(start)
        for buffer, scale in zip(self.scales(), blocks, strict=True):
            buffer.copy_(scale)


def train_student(
    job: Job,
    encoder: Encoder,
    train: Sequence[PairedSlide],
    val: Sequence[PairedSlide],
    run: FitRun,
    *,
    config: Stage1Config,
    threads: int = 2,
) -> Iterator[Step[Fit]]:
    """Distil the HR embeddings into a copy of `encoder` that reads LR patches.

    Parameters
    ----------
    encoder
        What the student starts from; it is not changed. Without ``lambda_keep``, its output dimension must equal that
        of the HR features; a projector can provide it.
    train, val
        Slides to learn from, and slides on which the step to stop at is selected (lowest smoothed loss).
    run
        Seed, checkpoint, key and device; see `fit_steps`.
    config
        Settings of stage 1.
    threads
        Threads that decode patches.

    Yields
    ------
    Step
        As `fit_steps`; the last carries a `Student` whose `encoder` is the LR encoder, and its `Fidelity`.

    Raises
    ------
    SlideError
        If no training slide, or no validation slide, has an LR patch with a covered HR child.
    """
    config = replace(config, layers=tuple(sorted(config.layers, key=block_order)))
    data = PairedPatches(train, val, config, run.seed, threads)
    student = _start_student(encoder, data, run, config)
    fit, start_map = config.fit, copy.deepcopy(student.projection)

    def interval_losses(interval: int, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        with closing(data.training(generator)) as batches:
            for batch in islice(batches, min(fit.interval, fit.steps - interval * fit.interval)):
                yield stage1_losses(student, _augmented(batch, config, run.device, generator), config, run.device)

    found = yield from relay(
        fit_steps(
            job,
            student,
            run,
            epoch_losses=interval_losses,
            budget=Budget(-(-fit.steps // fit.interval), fit.steps),
            validate=lambda: _validation_scores(student, data.held_out(), config, run.device),
            config=fit,
            smoothing=SMOOTHING,
        )
    )
    documents: dict[str, object] = {FIDELITY: asdict(_fidelity(student, encoder, start_map, data, run.device))}
    yield Step(job, fit.steps, fit.steps, "steps", result=found._replace(documents=documents))


def _fidelity(
    student: Student, start: Encoder, start_map: nn.Module, data: PairedPatches, device: torch.device
) -> Fidelity:
    held_out, centre, projection = data.held_out(), data.mean_target(), student.projection
    return measure(student.encoder, start, held_out, centre, device, projection=projection, start_map=start_map)


def _augmented(
    batch: PairedBatch, config: Stage1Config, device: torch.device, generator: torch.Generator
) -> PairedBatch:
    if not config.augment:
        return batch
    changes = draw_changes(len(batch.pixels), generator, stain=config.stain)
    return augment(batch._replace(pixels=batch.pixels.to(device)), changes)


def _start_student(encoder: Encoder, data: PairedPatches, run: FitRun, config: Stage1Config) -> Student:
    """Make the student on its device: maps of the blocks, the map of the embedding, and the scales of the targets."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        student = _make_student(encoder, data.example, config)
    if config.lambda_keep:
        student.projection = fit_start_map(data.start_and_targets())
    if config.standardised:
        _set_scales(student, data.first_samples(), kept=bool(config.lambda_keep))
    student.to(run.device)
    student.to(memory_format=torch.channels_last)
    return student


def _make_student(encoder: Encoder, example: PairedSlide, config: Stage1Config) -> Student:
    hr = read_features(example.hr, layers=True)
    dim = hr.embeddings.shape[1]
    if encoder.dim != dim and not config.lambda_keep:
        raise ValueError(f"Expected an encoder of output dimension {dim}. Got {encoder.dim}.")
    copied = copy.deepcopy(encoder).cpu()
    with torch.inference_mode():
        size = encoder.spec.size
        blocks = copied(torch.zeros(1, 3, size, size, dtype=torch.uint8), config.layers).patch_tokens
    teacher_dims = [hr.layers[layer].shape[1] for layer in config.layers]
    student_dims = [tokens.shape[1] for tokens in blocks]
    return Student(copied, student_dims, teacher_dims, projected_dim=dim if config.lambda_keep else 0)


def _set_scales(student: Student, samples: Sequence[RegionSamples], *, kept: bool) -> None:
    """Set the deviation of each target channel from some training slides, at least a tenth of the mean deviation."""
    means = torch.cat([sample.mean for sample in samples])
    blocks = [
        torch.cat([sample.class_tokens[i][sample.covered].float() for sample in samples])
        for i in range(len(student.block_maps))
    ]
    start = _inverse_deviation(torch.cat([sample.start for sample in samples])) if kept else None
    student.set_scales(_inverse_deviation(means), [_inverse_deviation(tokens) for tokens in blocks], start)


def _inverse_deviation(values: Tensor) -> Tensor:
    deviation = values.std(0)
    return 1.0 / deviation.clamp(min=0.1 * float(deviation.mean()) + 1e-8)


def stage1_losses(
    student: Student, batch: PairedBatch, config: Stage1Config, device: torch.device
) -> dict[str, Tensor]:
    """Compute the loss L_1 of one batch (method.md section 5), and the loss that keeps what the start knew.

    With ``lambda_keep``, a linear map P of the embedding matches mu_r, so that the embedding itself can stay near that
    of the frozen start, x_r: ||P s_r - mu_r||^2 / D + lambda_keep ||s_r - x_r||^2 / D_s. P begins as `fit_start_map`.
    With ``standardised``, each channel of both distances is divided by its deviation over training patches.

    Parameters
    ----------
    student
        The student, on `device`.
    batch
        Patches (b, P, P, 3) and their targets.
    config
        Settings of stage 1.
    device
        Where to compute.

    Returns
    -------
    dict
        "loss", its parts "layer", "region" and, if something of the start is kept, "keep", and "cosine", the mean
        cosine of mu_r and what matches it.
    """
    targets = batch.targets
    with mixed_precision(device):  # the network alone; distances are computed in full precision
        output = student.encoder(as_input(batch.pixels, device), config.layers)
        maps = [block_map(tokens) for block_map, tokens in zip(student.block_maps, output.patch_tokens, strict=True)]
    covered, mean = targets.covered.to(device), targets.mean.to(device)
    blocks = [
        losses.layer_loss(tokens.float() * scale[:, None, None], values.to(device).float() * scale, covered)
        for tokens, values, scale in zip(maps, targets.class_tokens, student.scales(), strict=True)
    ]
    layer = torch.stack(blocks).mean() if blocks else mean.new_zeros(())
    embedding = output.embedding.float()
    matched, scale = student.projection(embedding), student.embedding_scale
    region = losses.region_loss(matched * scale, mean * scale, cosine=config.cosine)
    terms = {"layer": layer, "region": region}
    loss = config.lambda_layer * layer + config.lambda_attn * region
    if config.lambda_keep:
        kept = student.start_scale
        terms["keep"] = losses.region_loss(embedding * kept, targets.start.to(device) * kept)
        loss = loss + config.lambda_keep * terms["keep"]
    return {"loss": loss, **terms, "cosine": functional.cosine_similarity(matched.detach(), mean, dim=-1).mean()}


@torch.inference_mode()
def _validation_scores(
    student: Student, batches: Iterable[PairedBatch], config: Stage1Config, device: torch.device
) -> dict[str, float]:
    """Return the mean of each loss over all LR patches of the batches, and the score: the loss with a minus."""
    sums: dict[str, float] = {}
    count = 0
    for batch in batches:
        for name, value in stage1_losses(student, batch, config, device).items():
            sums[name] = sums.get(name, 0.0) + float(value) * len(batch.targets)
        count += len(batch.targets)
    means = {name: value / count for name, value in sums.items()}
    return {**means, "score": -means["loss"]}
