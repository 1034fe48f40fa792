"""Models that other processes can load."""

import functools
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lrmil.io import atomic
from lrmil.models.bundle import Bundle
from lrmil.models.encoders.loading import PatchEncoder
from lrmil.prediction import files
from support.runs import tiny_bundle, tiny_encoder


@functools.lru_cache(maxsize=1)
def tiny_patch_encoder(layers: tuple[int, ...] = ()) -> PatchEncoder:
    """Load a small encoder, once in each process."""
    return PatchEncoder(tiny_encoder(), torch.device("cpu"), batch_size=5, layers=layers)


@functools.lru_cache(maxsize=1)
def load_model() -> Bundle:
    """Load a small model, once in each process."""
    torch.manual_seed(0)
    return replace(tiny_bundle(), sha256="ab" * 32)


def model_that_waits(begun: Path, slide_id: str) -> Bundle:
    """Load a small model, with which one slide waits for ever, once, while its answer is written.

    Parameters
    ----------
    begun
        File that then tells the process.
    slide_id
        The slide.
    """
    real = files.write_tiles

    def wait(path: Path, written: str, *arguments: Any, **named: Any) -> None:
        if written == slide_id and not begun.exists():
            atomic.write_text(begun, str(os.getpid()))
            time.sleep(600)
        real(path, written, *arguments, **named)

    if not begun.exists():
        files.write_tiles = wait  # this process is going to be killed
    return load_model()
