"""Rings are filled as the even-odd rule says, cell by cell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.patches import polygons
from lrmil.patches.polygons import fill_ring

SHAPE = (13, 17)
CORNERS = st.lists(st.tuples(st.integers(-20, 60), st.integers(-20, 80)), min_size=3, max_size=9)


def is_inside(y: float, x: float, ring: np.ndarray) -> bool:
    """Count the edges to the left of a point, one by one."""
    inside = False
    for (y0, x0), (y1, x1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if (y0 > y) != (y1 > y) and x0 + (y - y0) / (y1 - y0) * (x1 - x0) <= x:
            inside = not inside
    return inside


def filled(ring: np.ndarray) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    window, inside = fill_ring(SHAPE, ring)
    mask[window] = inside
    return mask


@given(CORNERS)
def test_every_cell_is_as_counted_one_by_one(corners: list[tuple[int, int]]) -> None:
    ring = np.array(corners, float) / 4 + 0.0625  # no corner lies level with the centre of a cell
    rows, cols = SHAPE
    expected = [[is_inside(row + 0.5, col + 0.5, ring) for col in range(cols)] for row in range(rows)]
    np.testing.assert_array_equal(filled(ring), np.array(expected))


def test_a_rectangle_covers_its_cells_in_either_direction() -> None:
    ring = np.array([[2, 3], [2, 9], [7, 9], [7, 3]], float)
    expected = np.zeros(SHAPE, bool)
    expected[2:7, 3:9] = True
    for one in (ring, ring[::-1], np.vstack([ring, ring[:1]])):  # closed by a repeated corner or by itself
        np.testing.assert_array_equal(filled(one), expected)


def test_what_is_outside_is_cut_off() -> None:
    assert filled(np.array([[-5, -5], [-5, 40], [40, 40], [40, -5]], float)).all()
    assert not filled(np.array([[50, 50], [60, 50], [60, 60]], float)).any()
    assert not filled(np.array([[-50, 5], [-60, 5], [-60, 9]], float)).any()


def test_an_absurd_outline_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polygons, "MAX_CROSSINGS", 100)
    ring = np.array([[0, x] if x % 2 else [13, x] for x in range(17)], float)
    with pytest.raises(ValueError, match="crosses"):
        fill_ring(SHAPE, ring)
