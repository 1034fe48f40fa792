"""The patches of one slide through an encoder, batch by batch."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import SlideError
from lrmil.geometry import Grid
from lrmil.models.encoders.loading import PatchEncoder
from lrmil.patches.loading import load_patches
from lrmil.slides.slide import Slide


class Encoded(NamedTuple):
    """Patches of a slide that were read and encoded."""

    positions: NDArray[np.int64]
    """(n,) positions in the list of patches that was asked for."""
    embeddings: NDArray[np.float32]
    """(n, d)"""
    layers: tuple[NDArray[np.floating], ...]
    """(n, d_l) each"""
    failed: NDArray[np.int64]
    """(f,) positions that could not be read."""


def encode_patches(
    slide: Slide, level0_yx: NDArray[np.integer], grid: Grid, encoder: PatchEncoder, *, threads: int
) -> Iterator[Encoded]:
    """Read and encode patches batch by batch, in order."""
    batches = load_patches(
        slide, level0_yx, size=grid.size, mpp=grid.mpp, batch_size=encoder.batch_size, threads=threads
    )
    for batch in batches:
        if len(batch.pixels):
            embeddings, layers = encoder(batch.pixels)
        else:
            embeddings, layers = np.zeros((0, encoder.encoder.dim), np.float32), ()
        yield Encoded(batch.positions, embeddings, layers, batch.failed)


def concatenate(parts: Sequence[Encoded]) -> Encoded:
    """Put the batches of one slide together.

    Raises
    ------
    SlideError
        If no patch could be read.
    """
    good = [part for part in parts if len(part.positions)]
    failed = np.concatenate([part.failed for part in parts])
    if not good:
        raise SlideError(
            f"Expected readable patches. Got {len(failed)} unreadable ones and no other; copy or scan the slide again."
        )
    return Encoded(
        np.concatenate([part.positions for part in good]),
        np.concatenate([part.embeddings for part in good]),
        tuple(np.concatenate(tokens) for tokens in zip(*(part.layers for part in good), strict=True)),
        failed,
    )
