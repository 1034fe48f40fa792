"""Models that other processes can load."""

import functools
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lrmil.models.bundle import Bundle
from lrmil.models.encoders.loading import PatchEncoder
from support.runs import tiny_bundle, tiny_encoder


@functools.lru_cache(maxsize=1)
def tiny_patch_encoder(layers: tuple[int, ...] = ()) -> PatchEncoder:
    """Load a small encoder, once in each process."""
    return PatchEncoder(tiny_encoder(), torch.device("cpu"), batch_size=5, layers=layers)


class DiesOnce(PatchEncoder):
    """Ends its process at the first patch of all, and notes that in a file."""

    died: Path

    def __call__(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], tuple[NDArray[np.float32], ...]]:
        if not self.died.exists():
            self.died.touch()
            os._exit(9)
        return super().__call__(pixels)


def encoder_that_dies(died: Path) -> PatchEncoder:
    """Load an encoder that ends its process once."""
    encoder = DiesOnce(tiny_encoder(), torch.device("cpu"), batch_size=5)
    encoder.died = died
    return encoder


@functools.lru_cache(maxsize=1)
def load_model() -> Bundle:
    """Load a small model, once in each process."""
    torch.manual_seed(0)
    return replace(tiny_bundle(), sha256="ab" * 32)


def model_that_dies(died: Path) -> Bundle:
    """End the process instead of loading, once."""
    if not died.exists():
        died.touch()
        os._exit(9)
    return load_model()
