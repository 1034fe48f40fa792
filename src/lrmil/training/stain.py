"""Vary the amount of each stain in a patch, so that the student does not depend on a laboratory's staining.

A stain absorbs light in proportion to its amount (Ruifrok and Johnston, Anal Quant Cytol Histol 2001, 23(4):291): the
optical density of a pixel is a sum over the stains. Each stain's amount is scaled and shifted by its own random values
(Tellez et al., IEEE Trans Med Imaging 2018, 37(9):2126).
"""

from typing import NamedTuple

import torch
from torch import Tensor

# Optical density of red, green and blue by one unit of haematoxylin, eosin and DAB (Ruifrok and Johnston 2001).
STAINS = torch.tensor([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
UNSTAINED = 255.0
DARKEST = 1.0  # the lowest intensity whose density is taken; 0 has none


class StainChanges(NamedTuple):
    """Changes of the stains of b patches."""

    factor: Tensor
    """(b, 3) factors of the amount of haematoxylin, eosin and DAB."""
    offset: Tensor
    """(b, 3) amounts that are added after that, in units of optical density."""


def draw_stains(count: int, strength: float, generator: torch.Generator) -> StainChanges:
    """Draw changes of the stains of `count` patches.

    Parameters
    ----------
    count
        Number of patches b.
    strength
        Largest relative change of an amount, and largest amount that is added or removed.
    generator
        Source of the randomness.
    """
    factor, offset = (2 * torch.rand(count, 3, generator=generator) - 1 for _ in range(2))
    return StainChanges(1 + strength * factor, strength * offset)


def vary_stains(image: Tensor, changes: StainChanges) -> Tensor:
    """Change the amounts of the stains of patches.

    Parameters
    ----------
    image
        (b, h, w, 3) float RGB, 0 to 255.
    changes
        The changes, from `draw_stains`.

    Returns
    -------
    Tensor
        As `image`. No change of the stains gives equal pixels.
    """
    stains = STAINS.to(image)
    factor, offset = (values.to(image) for values in changes)
    # The density that a patch gains: its own amounts times (factor - 1), plus the offset, as red, green and blue.
    gained = torch.linalg.inv(stains) @ ((factor - 1)[:, :, None] * stains)
    shift = (offset @ stains)[:, None, None]
    return (image * torch.exp(-(densities(image) @ gained[:, None] + shift))).clamp(0, UNSTAINED)


def amounts(image: Tensor) -> Tensor:
    """Return the amounts (..., 3) of haematoxylin, eosin and DAB in (..., 3) RGB pixels of 0 to 255."""
    return torch.matmul(densities(image), torch.linalg.inv(STAINS.to(image)))


def densities(image: Tensor) -> Tensor:
    """Return the optical densities (..., 3) of (..., 3) RGB pixels of 0 to 255: 0 where there is no stain."""
    return -torch.log(image.clamp(min=DARKEST) / UNSTAINED)
