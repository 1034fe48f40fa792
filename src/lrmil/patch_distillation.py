"""Stage 1: an LR patch encoder learns the frozen HR encoder's embeddings of the patches nested in its own (method.md 5)."""

import copy
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lrmil import losses
from lrmil.configs import Stage1Config
from lrmil.devices import mixed_precision
from lrmil.encoders import Encoder, as_input
from lrmil.errors import SlideError
from lrmil.extraction import SlideSource
from lrmil.features import positions_in, read_card, read_features
from lrmil.geometry import Grid, parent_of
from lrmil.slide import Slide, open_slide
from lrmil.steps import Step
from lrmil.targets import region_targets
from lrmil.training import Fit, fit_steps

SLIDES_TOGETHER = 16  # slides whose targets are in memory, and whose patches are mixed, at one time


@dataclass(frozen=True, slots=True)
class PairedSlide:
    """One slide of stage 1.

    Attributes
    ----------
    source
        The slide, whose LR patches are read.
    lr
        lrmil.features/1 of its LR patches; only the index is used: which patches can be read.
    hr
        lrmil.features/1 of its HR patches with the class tokens of the distilled blocks.
    attention_logits
        (n,) of the teacher MIL per HR patch; None weighs all alike.
    """

    source: SlideSource
    lr: Path
    hr: Path
    attention_logits: NDArray[np.float32] | None = None


class RegionSamples(NamedTuple):
    """Targets of the LR patches of one slide that have a covered child."""

    index: NDArray[np.int32]
    """(r, 2) on the LR lattice."""
    covered: Tensor
    """(r, s*s) bool."""
    mean: Tensor
    """(r, d) mu_r."""
    class_tokens: tuple[Tensor, ...]
    """(r, s*s, d_l) float16 per distilled block; 0 where not covered."""


class Student(nn.Module):
    """The LR encoder with what only training needs: linear maps to the teacher's block dimensions, target deviations."""

    embedding_scale: Tensor

    def __init__(self, encoder: Encoder, student_dims: Sequence[int], teacher_dims: Sequence[int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.block_maps = nn.ModuleList(
            nn.Identity() if inner == outer else nn.Conv2d(inner, outer, 1)
            for inner, outer in zip(student_dims, teacher_dims, strict=True)
        )
        self.register_buffer("embedding_scale", torch.ones(encoder.dim))
        for i, dim in enumerate(teacher_dims):
            self.register_buffer(f"block_scale_{i}", torch.ones(dim))

    def scales(self) -> list[Tensor]:
        """(d_l,) inverse deviations of the targets of each block."""
        return [self.get_buffer(f"block_scale_{i}") for i in range(len(self.block_maps))]

    def set_scales(self, embedding: Tensor, blocks: Sequence[Tensor]) -> None:
        """Fix the inverse deviations of the targets."""
        self.embedding_scale.copy_(embedding)
        for buffer, scale in zip(self.scales(), blocks, strict=True):
            buffer.copy_(scale)


def train_student(
    job: str,
    encoder: Encoder,
    train: Sequence[PairedSlide],
    val: Sequence[PairedSlide],
    *,
    children: int,
    config: Stage1Config,
    seed: int,
    checkpoint: Path,
    key: str,
    device: torch.device,
    threads: int = 2,
) -> Iterator[Step[Fit]]:
    """Distil the HR embeddings into a copy of `encoder` that reads LR patches.

    Parameters
    ----------
    encoder
        Where the student starts; it is not changed. Its output dimension must be the HR features' (give it a
        projector when the backbone's differs).
    train, val
        Slides to learn from and slides to select the epoch on (lowest loss).
    children
        s.

    Yields
    ------
    Step
        As `fit_steps`; the last carries a `Student` whose `encoder` is the LR encoder.

    Raises
    ------
    SlideError
        If no training slide has an LR patch with a covered HR child.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        student = _make_student(encoder, train[0], config)
    if config.standardised:
        _set_scales(student, train[:SLIDES_TOGETHER], children)
    student.to(device, memory_format=torch.channels_last)
    held = _sample(val, config.validation_patches, torch.Generator().manual_seed(seed))
    drawn = sum(len(rows) for _, rows in _sample(train, config.patches_per_epoch, torch.Generator().manual_seed(seed)))
    if not drawn or not sum(len(rows) for _, rows in held):
        raise SlideError(
            "Expected LR patches with covered HR patches in both training and validation slides. Got none; "
            "lower min_tissue_hr, or check that the slides reach the HR resolution."
        )

    def epoch_losses(epoch: int, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        chosen = _sample(train, config.patches_per_epoch, generator)
        for pixels, samples in _batches(chosen, children, config, threads=threads, generator=generator):
            if config.augment:
                pixels, samples = _augment(pixels, samples, children, generator)
            with mixed_precision(device):
                yield stage1_losses(student, pixels, samples, config, device)

    def validate() -> dict[str, float]:
        sums: dict[str, float] = {}
        count = 0
        with torch.inference_mode():
            for pixels, samples in _batches(held, children, config, threads=threads, generator=None):
                with mixed_precision(device):
                    terms = stage1_losses(student, pixels, samples, config, device)
                for name, value in terms.items():
                    sums[name] = sums.get(name, 0.0) + float(value) * len(pixels)
                count += len(pixels)
        scores = {name: value / count for name, value in sums.items()}
        return {**scores, "score": -scores["loss"]}

    yield from fit_steps(
        job,
        student,
        epoch_losses=epoch_losses,
        steps_per_epoch=-(-drawn // config.batch_size),
        validate=validate,
        config=config.fit,
        seed=seed,
        checkpoint=checkpoint,
        key=key,
        device=device,
    )


def stage1_losses(
    student: Student, pixels: NDArray[np.uint8] | Tensor, samples: RegionSamples, config: Stage1Config, device: torch.device
) -> dict[str, Tensor]:
    """L_1 of one batch and its parts, with the mean cosine of s_r to mu_r (method.md section 5)."""
    inputs = as_input(torch.as_tensor(pixels), device)
    output = student.encoder(inputs, config.layers)
    covered, mean = samples.covered.to(device), samples.mean.to(device)
    block_losses = [
        losses.layer_loss(
            block_map(tokens).float() * scale[:, None, None], targets.to(device).float() * scale, covered
        )
        for block_map, tokens, targets, scale in zip(
            student.block_maps, output.patch_tokens, samples.class_tokens, student.scales(), strict=True
        )
    ]
    layer = torch.stack(block_losses).mean() if block_losses else mean.new_zeros(())
    scale = student.embedding_scale
    region = losses.region_loss(output.embedding.float() * scale, mean * scale, cosine=config.cosine)
    cosine = functional.cosine_similarity(output.embedding.float(), mean, dim=-1).mean()
    total = config.lambda_layer * layer + config.lambda_attn * region
    return {"loss": total, "layer": layer, "region": region, "cosine": cosine.detach()}


def region_samples(slide: PairedSlide, children: int) -> RegionSamples:
    """Fold a slide's HR features onto its LR patches: covered children, mu_r and c_{k,l} in slot order."""
    hr = read_features(slide.hr, layers=True)
    lr_index = read_features(slide.lr).index
    parents, slots = parent_of(hr.index, children)
    position = positions_in(lr_index, parents)
    inside = position >= 0
    position, slots = position[inside], slots[inside]
    logits = np.zeros(len(hr.index), np.float32) if slide.attention_logits is None else slide.attention_logits
    folded = region_targets(
        torch.from_numpy(logits[inside]), torch.from_numpy(hr.embeddings[inside]), torch.from_numpy(position), len(lr_index)
    )
    covered = torch.zeros(len(lr_index), children**2, dtype=torch.bool)
    covered[position, slots] = True
    tokens = []
    for _, values in sorted(hr.layers.items(), key=lambda item: _order(item[0])):
        placed = torch.zeros(len(lr_index), children**2, values.shape[1], dtype=torch.float16)
        placed[position, slots] = torch.from_numpy(values[inside])
        tokens.append(placed)
    kept = covered.any(1)
    return RegionSamples(lr_index[kept.numpy()], covered[kept], folded.mean[kept], tuple(value[kept] for value in tokens))


def _order(layer: int) -> tuple[bool, int]:
    """Blocks in the order of the network: the final map (-1) comes last."""
    return layer < 0, layer


def _make_student(encoder: Encoder, example: PairedSlide, config: Stage1Config) -> Student:
    hr = read_features(example.hr, layers=True)
    if encoder.dim != hr.embeddings.shape[1]:
        raise ValueError(f"Expected an encoder of output dimension {hr.embeddings.shape[1]}. Got {encoder.dim}.")
    copied = copy.deepcopy(encoder).cpu()
    with torch.inference_mode():
        size = encoder.spec.size
        blocks = copied(torch.zeros(1, 3, size, size, dtype=torch.uint8), config.layers).patch_tokens
    teacher_dims = [hr.layers[layer].shape[1] for layer in config.layers]
    return Student(copied, [tokens.shape[1] for tokens in blocks], teacher_dims)


def _set_scales(student: Student, slides: Sequence[PairedSlide], children: int) -> None:
    """Deviation of each target channel over some training slides; a channel that never varies keeps the mean one."""
    samples = [region_samples(slide, children) for slide in slides]
    means = torch.cat([sample.mean for sample in samples])
    blocks = [
        torch.cat([sample.class_tokens[i][sample.covered].float() for sample in samples])
        for i in range(len(student.block_maps))
    ]
    student.set_scales(_inverse_deviation(means), [_inverse_deviation(tokens) for tokens in blocks])


def _inverse_deviation(values: Tensor) -> Tensor:
    deviation = values.std(0)
    return 1.0 / deviation.clamp(min=0.1 * float(deviation.mean()) + 1e-8)


class _Chosen(NamedTuple):
    slide: PairedSlide
    rows: Tensor
    """Rows of the slide's RegionSamples."""


def _sample(slides: Sequence[PairedSlide], limit: int, generator: torch.Generator) -> list[_Chosen]:
    """Slides in random order with, in all, about `limit` of their LR patches: an equal share of every slide."""
    share = -(-limit // max(1, len(slides)))
    chosen = []
    for i in torch.randperm(len(slides), generator=generator).tolist():
        count = _count_regions(slides[i])
        chosen.append(_Chosen(slides[i], torch.randperm(count, generator=generator)[:share]))
    return chosen


def _count_regions(slide: PairedSlide) -> int:
    """Number of rows of `region_samples`, from the indices alone."""
    hr, lr = read_features(slide.hr), read_features(slide.lr)
    children = round(read_card(slide.lr).mpp / hr.card.mpp)
    position = positions_in(lr.index, parent_of(hr.index, children)[0])
    return len(np.unique(position[position >= 0]))


def _batches(
    chosen: Sequence[_Chosen], children: int, config: Stage1Config, *, threads: int, generator: torch.Generator | None
) -> Iterator[tuple[NDArray[np.uint8], RegionSamples]]:
    """LR pixels and targets, mixed within groups of slides (in order without a generator)."""
    with ThreadPoolExecutor(threads) as pool:
        for first in range(0, len(chosen), SLIDES_TOGETHER):
            with ExitStack() as opened:
                yield from _group_batches(
                    chosen[first : first + SLIDES_TOGETHER], children, config, pool, opened, generator
                )


def _group_batches(
    group: Sequence[_Chosen],
    children: int,
    config: Stage1Config,
    pool: ThreadPoolExecutor,
    opened: ExitStack,
    generator: torch.Generator | None,
) -> Iterator[tuple[NDArray[np.uint8], RegionSamples]]:
    slides = [opened.enter_context(open_slide(item.slide.source.path, mpp=item.slide.source.mpp)) for item in group]
    grids = [read_card(item.slide.lr).grid for item in group]
    samples = [_take(region_samples(item.slide, children), item.rows) for item in group]
    pairs = [(i, row) for i, sample in enumerate(samples) for row in range(len(sample.index))]
    if generator is not None:
        pairs = [pairs[i] for i in torch.randperm(len(pairs), generator=generator).tolist()]
    waiting: deque[Future[NDArray[np.uint8]]] = deque()
    submitted = 0
    for start in range(0, len(pairs), config.batch_size):
        while submitted < min(len(pairs), start + 3 * config.batch_size):
            i, row = pairs[submitted]
            waiting.append(pool.submit(_read, slides[i], grids[i], samples[i].index[row]))
            submitted += 1
        batch = pairs[start : start + config.batch_size]
        pixels = np.stack([waiting.popleft().result() for _ in batch])
        yield pixels, _join([_take(samples[i], torch.tensor([row])) for i, row in batch])


def _read(slide: Slide, grid: Grid, index: NDArray[np.int32]) -> NDArray[np.uint8]:
    y, x = grid.level0_yx(index).tolist()
    return slide.read_region((y, x), (grid.size, grid.size), grid.mpp)


def _take(samples: RegionSamples, rows: Tensor) -> RegionSamples:
    return RegionSamples(
        samples.index[rows.numpy()],
        samples.covered[rows],
        samples.mean[rows],
        tuple(tokens[rows] for tokens in samples.class_tokens),
    )


def _join(parts: Sequence[RegionSamples]) -> RegionSamples:
    return RegionSamples(
        np.concatenate([part.index for part in parts]),
        torch.cat([part.covered for part in parts]),
        torch.cat([part.mean for part in parts]),
        tuple(torch.cat(tokens) for tokens in zip(*(part.class_tokens for part in parts), strict=True)),
    )


def _augment(
    pixels: NDArray[np.uint8], samples: RegionSamples, children: int, generator: torch.Generator
) -> tuple[Tensor, RegionSamples]:
    """One of the eight symmetries of the square for image and targets alike, and colour jitter of the image alone."""
    turns, flip = (int(torch.randint(high, (1,), generator=generator)) for high in (4, 2))
    image = _transform(torch.from_numpy(pixels), turns, flip)
    covered = _transform(samples.covered.unflatten(1, (children, children)), turns, flip).flatten(1, 2)
    tokens = tuple(
        _transform(values.unflatten(1, (children, children)), turns, flip).flatten(1, 2)
        for values in samples.class_tokens
    )
    gain = 1 + 0.1 * (2 * torch.rand(len(image), 1, 1, 3, generator=generator) - 1)
    shift = 12.0 * (2 * torch.rand(len(image), 1, 1, 3, generator=generator) - 1)
    jittered = 255 - (255 - image.float()) * gain + shift
    return jittered.clamp(0, 255), RegionSamples(samples.index, covered, samples.mean, tokens)


def _transform(values: Tensor, turns: int, flip: int) -> Tensor:
    """Quarter turns and a mirror of (b, rows, cols, ...)."""
    turned = torch.rot90(values, turns, (1, 2))
    return turned.flip(2) if flip else turned
