"""Regions that a person drew on a slide: only the tissue inside of them counts, and none that is left out."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass

from lrmil.errors import ConfigError
from lrmil.patches.geojson_masks import MAX_COORDINATE, Area, draw_areas
from lrmil.raster import Raster

Count = Annotated[int, Field(strict=True, ge=0, le=1 << 24)]
Sha256 = Annotated[str, Field(strict=True, pattern="^[0-9a-f]{64}$")]


@checked_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RegionsUsed:
    """What an answer keeps of the regions that it was made in; JSON-ready by `to_dict`.

    Attributes
    ----------
    inside, without
        Number of regions that count, 0 for the whole slide, and of those that are left out.
    sha256
        `Regions.sha256`.
    """

    inside: Count
    without: Count
    sha256: Sha256

    def to_dict(self) -> dict[str, object]:
        """Return it JSON-ready."""
        return asdict(self)

    @property
    def words(self) -> str:
        """Where the slide was classified: "inside 2 regions", "inside 2 regions, without 1" or "outside 1 region"."""
        if not self.inside:
            return f"outside {_regions(self.without)}"
        return f"inside {_regions(self.inside)}" + (f", without {self.without}" if self.without else "")

    @property
    def sentence(self) -> str:
        """The same as a note of the answer."""
        return f"Only tissue {self.words} counts."


@dataclass(frozen=True, eq=False)
class Regions:
    """Regions of one slide.

    Attributes
    ----------
    areas
        Their polygons, in level-0 pixels; the parts of one region share `Area.annotation`. If all are left out, the
        rest of the slide counts.
    """

    areas: tuple[Area, ...]

    def __post_init__(self) -> None:
        if not self.areas:
            raise ConfigError("Expected at least one region. Got none.")

    @classmethod
    def of(cls, inside: Sequence[ArrayLike] = (), *, without: Sequence[ArrayLike] = ()) -> "Regions":
        """Make regions from outlines.

        Parameters
        ----------
        inside
            Outlines of regions that count, each (n, 2) y, x in level-0 pixels; none for the whole slide.
        without
            Outlines of regions to leave out, also where they overlap those that count.

        Raises
        ------
        ConfigError
            If there is no outline, or one is no (n, 2) array with at least 3 corners.
        """
        rings = [(ring, False) for ring in inside] + [(ring, True) for ring in without]
        return cls(tuple(Area((_ring(ring),), left_out, number) for number, (ring, left_out) in enumerate(rings)))

    @cached_property
    def used(self) -> RegionsUsed:
        """Their numbers and hash, as an answer keeps them."""
        without = len({area.annotation for area in self.areas if area.left_out})
        inside = len({area.annotation for area in self.areas if not area.left_out})
        return RegionsUsed(inside=inside, without=without, sha256=self.sha256)

    @cached_property
    def sha256(self) -> str:
        """SHA-256, in hex, of the outlines and of what counts."""
        digest = hashlib.sha256()
        for area in self.areas:
            digest.update(f"{area.left_out} {area.annotation} {[len(ring) for ring in area.rings]}".encode())
            for ring in area.rings:
                digest.update(np.ascontiguousarray(ring, float).tobytes())
        return digest.hexdigest()

    def moved(self, by_yx: tuple[float, float]) -> "Regions":
        """Return the same regions elsewhere.

        Parameters
        ----------
        by_yx
            How far, in level-0 pixels.
        """
        return Regions(tuple(area._replace(rings=tuple(ring + by_yx for ring in area.rings)) for area in self.areas))

    def inside(self, raster: Raster) -> Raster:
        """Return a boolean raster where cells of which the centre is not inside the regions are False.

        Parameters
        ----------
        raster
            (rows, cols) bool, in the frame of the slide.
        """
        areas = self.areas
        if not self.used.inside:
            areas = (Area((_outline(raster),), left_out=False), *areas)
        drawn = draw_areas(areas, raster.array.shape, lambda ring: (ring - raster.origin_yx) / raster.cell_yx)
        return Raster(raster.array.astype(bool) & drawn, raster.to_level0)


def _ring(corners: ArrayLike) -> NDArray[np.float64]:
    ring = np.asarray(corners, float)
    if ring.ndim != 2 or ring.shape[1] != 2 or len(ring) < 3 or not (np.abs(ring) < MAX_COORDINATE).all():
        raise ConfigError(f"Expected an outline of at least 3 corners (y, x). Got an array of shape {ring.shape}.")
    return ring


def _outline(raster: Raster) -> NDArray[np.float64]:
    corners = np.array([[0, 0], [0, 1], [1, 1], [1, 0]]) * raster.array.shape
    return corners * raster.cell_yx + raster.origin_yx


def _regions(number: int) -> str:
    return f"{number} region{'' if number == 1 else 's'}"
