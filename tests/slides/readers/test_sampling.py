"""A region of a level, padded with white and shrunk without aliasing, against plain loops."""

from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lrmil.slides.readers.protocol import Reader
from lrmil.slides.readers.sampling import read_padded, sample

PIXELS = np.random.default_rng(0).integers(0, 255, (24, 30, 3), np.uint8)


class Level:
    shape = PIXELS.shape[:2]


class OneLevel:
    """A reader of `PIXELS` that refuses what lies outside."""

    levels = (Level(),)

    def read(self, level: int, y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
        assert level == 0 and h > 0 and w > 0 and 0 <= y <= y + h <= 24 and 0 <= x <= x + w <= 30
        return PIXELS[y : y + h, x : x + w].copy()


READER = cast("Reader", OneLevel())


@given(st.integers(-40, 40), st.integers(-40, 40), st.integers(1, 40), st.integers(1, 40))
def test_outside_is_white_and_inside_is_the_level(y: int, x: int, h: int, w: int) -> None:
    found = read_padded(READER, 0, y, x, h, w)
    assert found.shape == (h, w, 3)
    for row in range(h):
        for column in range(w):
            inside = 0 <= y + row < 24 and 0 <= x + column < 30
            expected = PIXELS[y + row, x + column] if inside else (255, 255, 255)
            assert tuple(found[row, column]) == tuple(expected)


@pytest.mark.parametrize("ratio", [1, 2, 3])
def test_a_whole_ratio_is_the_mean_of_its_pixels(ratio: int) -> None:
    """Pillow rounds once along each axis."""
    found = sample(READER, 0, (3, 6), (5, 6), ratio=ratio)
    for row in range(5):
        for column in range(6):
            top, left = 3 + row * ratio, 6 + column * ratio
            mean = PIXELS[top : top + ratio, left : left + ratio].reshape(-1, 3).astype(float).mean(0)
            np.testing.assert_allclose(found[row, column], mean, atol=1.0)


def test_rounding_errors_read_no_other_pixels() -> None:
    np.testing.assert_array_equal(sample(READER, 0, (2 - 1e-7, 4 + 1e-7), (6, 6), ratio=1 + 1e-7), PIXELS[2:8, 4:10])


def test_other_ratios_keep_size_and_mean() -> None:
    found = sample(READER, 0, (0.5, 0.5), (8, 8), ratio=2.6)
    assert found.shape == (8, 8, 3) and abs(float(found.mean()) - float(PIXELS.mean())) < 6
