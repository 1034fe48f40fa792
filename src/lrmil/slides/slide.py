"""An open slide of any format: read any region of it at any resolution."""

import math
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import ResolutionError
from lrmil.slides.checksums import NOT_COMPARED
from lrmil.slides.fallback import LevelFallback
from lrmil.slides.identity import Identity, identity_of
from lrmil.slides.level_choice import FINER, coarsest_level, far_notes
from lrmil.slides.pyramid import make_pyramid
from lrmil.slides.readers.protocol import Level, Reader
from lrmil.slides.resolution import Resolution, reasons
from lrmil.slides.scanner import Scanner
from lrmil.slides.source import slide_id_of
from lrmil.slides.thumbnail import Thumbnail, make_thumbnail, shrunk

if TYPE_CHECKING:
    import dask.array as da

PICTURE_PX = 1600  # longest side of the picture of a slide
WORTH_READING = 1 << 24  # pixels of a level that are read for a picture that is not half as large
MAX_COARSER = 1.10  # method.md section 2: a slide may be at most 10 % coarser than the requested mpp


class Slide:
    """An open slide, made by `lrmil.slides.opening.open_slide`. Several threads may call every method at the same time.

    Parameters
    ----------
    path
        The slide file or folder.
    reader
        Reads the pixels; the slide closes it.
    resolution
        um/px of level 0 and its source, or the error that reading `mpp` raises.
    identity
        The state of its files before it was opened; None to compute it when needed.

    Attributes
    ----------
    checksum
        The checksums it was compared with (`lrmil.slides.checksums.comparison`), or "not compared".
    """

    def __init__(
        self,
        path: Path,
        reader: Reader,
        resolution: Resolution | ResolutionError,
        *,
        identity: Identity | None = None,
    ) -> None:
        self.path = path
        self._identity = identity
        self._reader = reader
        self._resolution = resolution
        self.checksum = NOT_COMPARED
        self._pixels = LevelFallback(reader, path.name)
        self._asked: set[float] = set()
        self._picture: Thumbnail | None = None  # of the last thumbnail

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        resolution = f"{self.mpp:.4g} um/px from {self.mpp_source}" if self.has_mpp else "um/px unknown"
        return f"Slide({str(self.path)!r}, {self.dimensions[0]} x {self.dimensions[1]}, {resolution})"

    @property
    def slide_id(self) -> str:
        """File name without its extension."""
        return slide_id_of(self.path)

    @property
    def has_mpp(self) -> bool:
        """Whether the resolution is known."""
        return isinstance(self._resolution, Resolution)

    @property
    def mpp(self) -> float:
        """Resolution of level 0 in um/px.

        Raises
        ------
        ResolutionError
            If it is missing or implausible; the message explains how to give it.
        """
        if isinstance(self._resolution, Resolution):
            return self._resolution.mpp
        raise ResolutionError(f"{self.path.name}: {self._resolution}")

    @property
    def mpp_source(self) -> str | None:
        """Source of the resolution, such as "override" or "aperio MPP"; None if it is unknown."""
        return self._resolution.source if isinstance(self._resolution, Resolution) else None

    @property
    def dimensions(self) -> tuple[int, int]:
        """(width, height) of level 0 in pixels."""
        height, width = self.levels[0].shape
        return width, height

    @property
    def levels(self) -> tuple[Level, ...]:
        """The pyramid's levels, full resolution first."""
        return self._reader.levels

    @property
    def origin_yx(self) -> tuple[int, int]:
        """Offset of the scanned area in level-0 pixels; (0, 0) if the format has none."""
        return self._reader.origin_yx

    @property
    def reader_name(self) -> str:
        """Library that reads the pixels: "tifffile", "openslide", "zarr" or "pillow"."""
        return self._reader.name

    @property
    def scanner(self) -> Scanner | None:
        """Make and model of its scanner, where the file states them."""
        return self._reader.scanner

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that a user must know about how this slide is read, such as which of several scenes it is.

        Reading adds sentences about requested resolutions without a near level, and about damaged levels.
        """
        far = far_notes(self.levels, self.mpp, [*self._asked]) if self._asked else ()
        return (*self._reader.notes, *self._disregarded, *far, *self._pixels.notes)

    @property
    def _disregarded(self) -> tuple[str, ...]:
        """Sentences about pixel sizes in the metadata that were not used, if another one was."""
        if not self.has_mpp or self.mpp_source == "override":
            return ()
        return tuple(f"Not used: {why}." for why in reasons(self._reader.mpp_candidates))

    @property
    def bytes_read(self) -> int | None:
        """Compressed bytes read so far; None if unknown."""
        return self._reader.bytes_read

    @property
    def damaged(self) -> bool:
        """Whether a finer level was read in place of a damaged one so far."""
        return bool(self._pixels.notes)

    @cached_property
    def identity(self) -> Identity:
        """Sizes, times and sampled content of its files before it was opened."""
        return self._identity or identity_of(self.path)

    @property
    def fingerprint(self) -> str:
        """Hash of sampled content, over all files of the slide."""
        return self.identity.fingerprint

    def require_mpp(self, mpp: float) -> None:
        """Require that the slide can be read at a resolution without upsampling.

        Parameters
        ----------
        mpp
            Requested resolution in um/px.

        Raises
        ------
        ResolutionError
            If the slide is more than 10 % coarser than `mpp`, or has no um/px.
        """
        if self.mpp > mpp * MAX_COARSER:
            raise ResolutionError(
                f"Expected {self.path.name} to be at least as fine as {mpp:.4g} um/px. Got {self.mpp:.4g} um/px "
                f"({self.mpp_source}). Pixels are never upsampled: use a slide scanned at a higher resolution, or work "
                "at a coarser one."
            )

    def level_for(self, mpp: float) -> int:
        """Return the index of the level to read for `mpp` um/px: the coarsest that is at most 1 % coarser.

        Raises
        ------
        ResolutionError
            As `require_mpp`.
        ValueError
            If `mpp` is not above 0.
        """
        if not mpp > 0:
            raise ValueError(f"Expected a resolution above 0 um/px. Got {mpp}.")
        self.require_mpp(mpp)
        return coarsest_level(self.levels, self.mpp, mpp)

    def read_region(self, origin_yx: tuple[float, float], size_yx: tuple[int, int], mpp: float) -> NDArray[np.uint8]:
        """Read a region at any resolution; outside the slide it is white (255).

        Parameters
        ----------
        origin_yx
            Top-left corner in level-0 pixels; it may be fractional, or outside the slide.
        size_yx
            (height, width) in output pixels.
        mpp
            Resolution of the output in um/px.

        Returns
        -------
        NDArray
            (height, width, 3) pixels, averaged from the coarsest level that is fine enough. If that is damaged, the
            next finer intact level is used, and `notes` says so.

        Raises
        ------
        ResolutionError
            If the slide is more than 10 % coarser than `mpp`, or has no um/px.
        SlideError
            If the pixels cannot be read.
        ValueError
            If `mpp` is not above 0.
        """
        index = self.level_for(mpp)
        self._asked.add(mpp)
        return self._pixels.sample(index, origin_yx, size_yx, step=mpp / self.mpp)

    def thumbnail(self, mpp: float) -> Thumbnail:
        """Read the whole slide at about `mpp` (never coarser), or at level 0 if the slide is coarser.

        Blocks that cannot be read are marked, not fatal.

        Parameters
        ----------
        mpp
            Resolution in um/px.

        Raises
        ------
        ResolutionError
            If the slide has no um/px.
        SlideError
            If nothing could be read.
        """
        target = max(mpp, self.mpp)
        index = self.level_for(target)
        ratio = target * FINER / (self.mpp * self.levels[index].downsample)
        whole = make_thumbnail(self._pixels, index, max(1, math.floor(ratio)))
        self._picture = shrunk(whole, PICTURE_PX)
        return whole

    def overview(self, side: int) -> Thumbnail:
        """Read the whole slide into at most `side` x `side` pixels; its um/px need not be known.

        Raises
        ------
        SlideError
            If nothing could be read.
        """
        index = self._level_above(side)
        return make_thumbnail(self._pixels, index, math.ceil(max(self.levels[index].shape) / side))

    def picture(self) -> Thumbnail:
        """Return the whole slide in at most `PICTURE_PX` x `PICTURE_PX` pixels, to look at.

        It is made from the last thumbnail, unless that is not half as large and a small level has more.

        Raises
        ------
        SlideError
            If nothing could be read.
        """
        at_hand = self._picture
        if at_hand is not None:
            small = 2 * max(at_hand.failed.shape) < PICTURE_PX
            if not small or math.prod(self.levels[self._level_above(PICTURE_PX)].shape) > WORTH_READING:
                return at_hand
        return self.overview(PICTURE_PX)

    def pyramid(self) -> "list[da.Array]":
        """Return the levels as lazy (y, x, 3) uint8 dask arrays, full resolution first; keep the slide open."""
        return make_pyramid(self._pixels, f"{self.path}-{self.path.stat().st_mtime_ns}-{self.reader_name}")

    def _level_above(self, side: int) -> int:
        """Return the index of the coarsest level whose longer side has `side` pixels or more; 0 if none has."""
        return max((i for i, level in enumerate(self.levels) if max(level.shape) >= side), default=0)

    def close(self) -> None:
        """Close the file; its facts can still be asked for, but not its pixels."""
        self._pixels.close()
