"""Augment LR patches in training, so that the student does not depend on orientation and stain."""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from lrmil.training.pair_loading import PairedBatch
from lrmil.training.stain import StainChanges, draw_stains, vary_stains


class Changes(NamedTuple):
    """An augmentation of a batch."""

    turns: int
    """Quarter turns, 0 to 3."""
    flip: bool
    """Whether the columns are mirrored after that."""
    gain: Tensor
    """(b, 1, 1, 3) factors for the distance to white, by patch and channel."""
    shift: Tensor
    """(b, 1, 1, 3) grey values that are added after that."""
    stains: StainChanges | None = None
    """Changes of the stains, before those of the colours."""


def draw_changes(count: int, generator: torch.Generator, *, stain: float = 0.0) -> Changes:
    """Draw an augmentation for `count` patches: one symmetry for all of them, and the colours of each.

    Parameters
    ----------
    count
        Number of patches b.
    generator
        Source of the randomness.
    stain
        Strength of the changes of the stains; see `draw_stains`. 0 leaves them as they are.
    """
    turns, flip = (int(torch.randint(high, (1,), generator=generator)) for high in (4, 2))
    gain, shift = (2 * torch.rand(count, 1, 1, 3, generator=generator) - 1 for _ in range(2))
    stains = draw_stains(count, stain, generator) if stain else None
    return Changes(turns, bool(flip), 1 + 0.1 * gain, 12.0 * shift, stains)


def augment(batch: PairedBatch, changes: Changes) -> PairedBatch:
    """Augment a batch: apply the symmetry to images and targets, stains and colours to the images alone.

    Parameters
    ----------
    batch
        Patches with their targets.
    changes
        The augmentation, from `draw_changes`.

    Returns
    -------
    PairedBatch
        Pixels are float, 0 to 255.
    """
    targets = batch.targets
    side = round(targets.covered.shape[1] ** 0.5)

    def moved(values: Tensor) -> Tensor:
        grid = values.reshape(len(values), side, side, *values.shape[2:])
        return _transform(grid, changes.turns, flip=changes.flip).reshape(values.shape)

    tokens = tuple(map(moved, targets.class_tokens))
    return PairedBatch(
        augment_pixels(batch.pixels, changes), replace(targets, covered=moved(targets.covered), class_tokens=tokens)
    )


def augment_pixels(pixels: Tensor, changes: Changes) -> Tensor:
    """Augment patches that have no targets.

    Parameters
    ----------
    pixels
        (b, P, P, 3) RGB, 0 to 255.
    changes
        The augmentation, from `draw_changes`.

    Returns
    -------
    Tensor
        (b, P, P, 3) float, 0 to 255.
    """
    image = _transform(pixels, changes.turns, flip=changes.flip).float()
    if changes.stains is not None:
        image = vary_stains(image, changes.stains)
    gain, shift = changes.gain.to(image), changes.shift.to(image)
    return (255 - (255 - image) * gain + shift).clamp(0, 255)


def _transform(values: Tensor, turns: int, *, flip: bool) -> Tensor:
    """Apply quarter turns and a mirror to values of shape (b, rows, cols, ...)."""
    turned = torch.rot90(values, turns, (1, 2))
    return turned.flip(2) if flip else turned
