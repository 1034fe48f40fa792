"""A network that runs out of memory."""

import torch
from torch import Tensor, nn

from lrmil.models.encoders.loading import (
    EncoderOutput,
    EncoderSpec,
)

SPEC = EncoderSpec("hand-made", 64, "pooled", (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), {})


class Hungry(nn.Module):
    """Runs out of memory above `limit` patches; otherwise the mean colour."""

    dim = 3

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.spec = SPEC
        self.limit = limit
        self.seen: list[int] = []

    def forward(self, batch: Tensor, layers: tuple[int, ...] = ()) -> EncoderOutput:
        if len(batch) > self.limit:
            raise torch.OutOfMemoryError("no room")
        self.seen.append(len(batch))
        mean = batch.float().mean((2, 3))
        return EncoderOutput(mean, tuple(mean + layer for layer in layers), ())
