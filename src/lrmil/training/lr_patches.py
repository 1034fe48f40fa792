"""Read LR patches of a slide where its features say that they lie."""

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import SlideChangedError, SlideError
from lrmil.features.store import read_card
from lrmil.geometry import Grid
from lrmil.slides.identity import unchanged
from lrmil.slides.opening import open_source
from lrmil.slides.slide import Slide
from lrmil.slides.source import SlideSource

log = logging.getLogger(__name__)


class LRSlide(Protocol):
    """A slide whose LR patches are read in training."""

    @property
    def source(self) -> SlideSource:
        """The slide."""
        ...

    @property
    def lr(self) -> Path:
        """lrmil.features/1 of its LR patches, whose index lists those that could be read."""
        ...


class PatchReader(NamedTuple):
    """An open slide and the lattice of its LR patches."""

    slide: Slide
    grid: Grid


def open_reader(item: LRSlide, opened: ExitStack) -> PatchReader:
    """Open a slide to read its LR patches.

    Parameters
    ----------
    item
        The slide.
    opened
        Closes it, and then requires that it is still the same.

    Raises
    ------
    SlideChangedError
        If it changed since its features were extracted.
    """
    slide = opened.enter_context(open_source(item.source))
    card = read_card(item.lr)
    if slide.fingerprint != card.slide_fingerprint:
        raise SlideChangedError(
            f"{slide.path} changed after its features were extracted. Rerun the same command to extract them again."
        )
    opened.enter_context(unchanged(slide))
    return PatchReader(slide, card.grid)


def read_patch(reader: PatchReader, index: NDArray[np.int32]) -> NDArray[np.uint8] | None:
    """Read one LR patch; safe in threads.

    Parameters
    ----------
    reader
        The open slide.
    index
        (2,) row and column on its lattice.

    Returns
    -------
    ndarray or None
        (P, P, 3) uint8 RGB; None, with a warning, if it cannot be read.
    """
    slide, grid = reader
    y, x = grid.level0_yx(index).tolist()
    try:
        return slide.read_region((y, x), (grid.size, grid.size), grid.mpp)
    except SlideError as error:
        log.warning("%s: patch %s is left out: %s", slide.slide_id, index.tolist(), error)
        return None
