"""Patches that show where each child lies, with targets that say the same."""

import numpy as np
import torch

from lrmil.training.pair_loading import PairedBatch
from lrmil.training.pairs import RegionSamples

SIDE = 4  # children along a side
CELL = 8  # pixels of a child in the LR patch


def numbered_batch(count: int = 3) -> PairedBatch:
    """Each child's pixels and targets hold its slot number; patch b covers all slots but b."""
    slots = torch.arange(SIDE**2)
    image = slots.reshape(SIDE, SIDE).repeat_interleave(CELL, 0).repeat_interleave(CELL, 1) * 10 + 40
    pixels = image[None, :, :, None].expand(count, -1, -1, 3).to(torch.uint8)
    covered = slots[None] != torch.arange(count)[:, None]
    tokens = torch.stack([slots, -slots], 1).half()[None].expand(count, -1, -1)
    index = np.stack([np.arange(count), np.arange(count)], 1).astype(np.int32)
    return PairedBatch(
        pixels, RegionSamples(index, covered, torch.randn(count, 5), (tokens, tokens + 100), torch.randn(count, 3))
    )
