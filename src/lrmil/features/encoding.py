"""Encode the patches of one slide, batch by batch."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import SlideError
from lrmil.features.appearance import COLOURS, patch_colours
from lrmil.geometry import Grid
from lrmil.models.encoders.loading import PatchEncoder
from lrmil.patches.loading import load_patches
from lrmil.slides.slide import Slide


class Encoded(NamedTuple):
    """Patches of a slide that were read and encoded."""

    positions: NDArray[np.int64]
    """(n,) positions in the requested list of patches."""
    embeddings: NDArray[np.float32]
    """(n, d) embeddings."""
    layers: tuple[NDArray[np.floating], ...]
    """(n, d_l) class tokens of each distilled block."""
    failed: NDArray[np.int64]
    """(f,) positions that could not be read."""
    colours: NDArray[np.float64] = np.zeros((0, COLOURS))
    """(n, 6) colours of each patch; see `lrmil.features.appearance.patch_colours`."""


def encode_patches(
    slide: Slide, level0_yx: NDArray[np.integer], grid: Grid, encoder: PatchEncoder, *, threads: int
) -> Iterator[Encoded]:
    """Read and encode patches batch by batch, in order.

    Parameters
    ----------
    slide
        The open slide.
    level0_yx
        (n, 2) top-left corners of the patches, in level-0 pixels.
    grid
        Resolution in um/px and side in pixels of the patches.
    encoder
        What encodes them, with its batch size.
    threads
        Threads that read the slide.

    Yields
    ------
    Encoded
        One per batch, also where no patch of it could be read.

    Raises
    ------
    EncoderError
        If the encoder fails.
    """
    batches = load_patches(
        slide, level0_yx, size=grid.size, mpp=grid.mpp, batch_size=encoder.batch_size, threads=threads
    )
    for batch in batches:
        if len(batch.pixels):
            embeddings, layers = encoder(batch.pixels)
        else:
            embeddings, layers = np.zeros((0, encoder.encoder.dim), np.float32), ()
        yield Encoded(batch.positions, embeddings, layers, batch.failed, patch_colours(batch.pixels))


def concatenate(parts: Sequence[Encoded]) -> Encoded:
    """Concatenate the batches of one slide.

    Raises
    ------
    SlideError
        If no patch could be read.
    """
    good = [part for part in parts if len(part.positions)]
    failed = np.concatenate([part.failed for part in parts])
    if not good:
        raise SlideError(f"None of the {len(failed)} patches can be read. Copy or scan the slide again.")
    return Encoded(
        np.concatenate([part.positions for part in good]),
        np.concatenate([part.embeddings for part in good]),
        tuple(np.concatenate(tokens) for tokens in zip(*(part.layers for part in good), strict=True)),
        failed,
        np.concatenate([part.colours for part in good]),
    )
