"""Tissue counts where it is inside a region and in none that is left out, cell by cell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.errors import ConfigError
from lrmil.patches.drawn_regions import Regions, RegionsUsed
from lrmil.patches.geojson_masks import Area
from lrmil.raster import Raster

SHAPE, CELL, ORIGIN = (9, 11), (8.0, 4.0), (-3.0, 5.0)
CORNERS = st.lists(st.tuples(st.integers(-20, 90), st.integers(-20, 60)), min_size=3, max_size=7)
AREAS = st.lists(st.tuples(st.lists(CORNERS, min_size=1, max_size=3), st.booleans()), min_size=1, max_size=4)
BOX = [(0, 0), (0, 20), (20, 20), (20, 0)]


def whole() -> Raster:
    return Raster.on_lattice(np.ones(SHAPE, bool), cell_level0=CELL, origin_yx=ORIGIN)


def is_in_ring(y: float, x: float, ring: np.ndarray) -> bool:
    inside = False
    for (y0, x0), (y1, x1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if (y0 > y) != (y1 > y) and x0 + (y - y0) / (y1 - y0) * (x1 - x0) <= x:
            inside = not inside
    return inside


def is_in_area(y: float, x: float, area: Area) -> bool:
    outline, *holes = area.rings
    return is_in_ring(y, x, outline) and not any(is_in_ring(y, x, hole) for hole in holes)


@given(AREAS, st.integers(0, 2**32 - 1))
def test_every_cell_is_as_found_one_by_one(drawn: list[tuple[list[list[tuple[int, int]]], bool]], seed: int) -> None:
    """Corners lie off the centres of cells, so that no rounding decides."""
    areas = tuple(
        Area(tuple(np.array(ring, float) + 0.3 for ring in rings), left_out, number)
        for number, (rings, left_out) in enumerate(drawn)
    )
    tissue = np.random.default_rng(seed).random(SHAPE) < 0.7
    found = Regions(areas).inside(Raster.on_lattice(tissue, cell_level0=CELL, origin_yx=ORIGIN)).array
    kept = [area for area in areas if not area.left_out]
    for row, col in np.ndindex(SHAPE):
        y, x = (row + 0.5) * CELL[0] + ORIGIN[0], (col + 0.5) * CELL[1] + ORIGIN[1]
        inside = not kept or any(is_in_area(y, x, area) for area in kept)
        left_out = any(is_in_area(y, x, area) for area in areas if area.left_out)
        assert found[row, col] == (tissue[row, col] and inside and not left_out)


@pytest.mark.parametrize(
    ("inside", "without", "words"),
    [
        (1, 0, "inside 1 region"),
        (2, 0, "inside 2 regions"),
        (2, 1, "inside 2 regions, without 1"),
        (0, 1, "outside 1 region"),
        (0, 3, "outside 3 regions"),
    ],
)
def test_the_words_count_regions(inside: int, without: int, words: str) -> None:
    used = Regions.of([BOX] * inside, without=[BOX] * without).used
    assert (used.inside, used.without, used.words) == (inside, without, words)
    assert RegionsUsed(**used.to_dict()) == used  # type: ignore[arg-type]


def test_the_parts_of_one_annotation_are_one_region() -> None:
    ring = np.array(BOX, float)
    assert Regions((Area((ring,), False, 0), Area((ring + 30,), False, 0), Area((ring,), False, 1))).used.inside == 2


def test_the_hash_is_that_of_what_counts() -> None:
    other = [(0, 0), (0, 20), (20, 21), (20, 0)]
    made = [Regions.of([BOX]), Regions.of(without=[BOX]), Regions.of([other]), Regions.of([BOX, BOX])]
    assert len({regions.sha256 for regions in made}) == 4
    assert Regions.of([np.array(BOX, np.int16)]).sha256 == made[0].sha256
    assert made[0].moved((4.0, 2.0)).sha256 == Regions.of([[(y + 4, x + 2) for y, x in BOX]]).sha256


@pytest.mark.parametrize("ring", [[(0, 0), (1, 1)], [0, 1, 2], np.zeros((4, 3)), [(0, 0), (0, 1), (np.nan, 1)]])
def test_what_is_no_outline_is_refused(ring: object) -> None:
    with pytest.raises(ConfigError):
        Regions.of([ring])  # type: ignore[list-item]


def test_no_region_at_all_is_refused() -> None:
    with pytest.raises(ConfigError):
        Regions.of()
