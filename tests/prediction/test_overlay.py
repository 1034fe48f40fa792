"""Attention over a thumbnail: which pixels are coloured, and how much."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lrmil.prediction.overlay import attention_rgba, overlay_png, overlay_rgb
from lrmil.raster import Raster


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 5), st.integers(0, 7), st.sampled_from([4.0, 7.5, 16.0]))
def test_overlay_colours_the_pixels_of_the_cell_and_no_others(row: int, col: int, level0_per_px: float) -> None:
    cell, origin = 120.0, (60.0, 30.0)
    array = np.full((6, 8), np.nan, np.float32)
    array[row, col] = 1.0
    raster = Raster.on_lattice(array, cell_level0=cell, origin_yx=origin)
    thumbnail = np.full((int(900 / level0_per_px), int(1100 / level0_per_px), 3), 200, np.uint8)
    changed = (overlay_rgb(thumbnail, raster, thumbnail_level0_per_px=level0_per_px) != thumbnail).any(2)
    for (y, x), found in np.ndenumerate(changed):
        level0_y, level0_x = (y + 0.5) * level0_per_px, (x + 0.5) * level0_per_px
        top, left = origin[0] + row * cell, origin[1] + col * cell
        assert found == (top <= level0_y < top + cell and left <= level0_x < left + cell)


def test_overlay_grows_opaque_with_the_value_and_leaves_the_thumbnail_alone() -> None:
    raster = Raster.on_lattice(np.array([[0.0, 0.3, 1.0, np.nan]]), cell_level0=1, origin_yx=(0, 0))
    thumbnail = np.full((1, 4, 3), 220, np.uint8)
    picture = overlay_rgb(thumbnail, raster, thumbnail_level0_per_px=1)
    change = np.abs(picture.astype(int) - 220).sum(2)[0]
    assert change[0] == change[3] == 0
    assert 0 < change[1] < change[2]
    assert (thumbnail == 220).all()
    yellow = np.rint(220 * 0.4 + 0.6 * 255 * np.array([0.993248, 0.906157, 0.143936]))  # the end of viridis
    np.testing.assert_allclose(picture[0, 2], yellow, atol=1)
    same = overlay_rgb(
        thumbnail, Raster(raster.array * 10 + 5, raster.to_level0), thumbnail_level0_per_px=1, limits=(5, 15)
    )
    np.testing.assert_allclose(same.astype(int), picture, atol=1)


def test_overlay_png_is_the_overlay_with_a_legend_below(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    thumbnail = rng.integers(180, 255, (50, 90, 1), np.uint8).repeat(3, 2)
    raster = Raster.on_lattice(rng.random((5, 9)).astype(np.float32), cell_level0=10, origin_yx=(0, 0))
    title = "a title that is longer than a thumbnail of ninety pixels is wide, and then some"
    overlay_png(tmp_path / "a.png", thumbnail, raster, thumbnail_level0_per_px=1, title=title)
    with Image.open(tmp_path / "a.png") as image:
        page = np.asarray(image.convert("RGB"))
    overlay = overlay_rgb(thumbnail, raster, thumbnail_level0_per_px=1)
    assert np.abs(page[:50, :90].astype(int) - overlay).mean() < 8  # it has 256 colours
    below = page[50:]
    assert (below.min((0, 2)) < 128).sum() > 100  # something is written
    assert (below[:, -4:] > 250).all()  # and the text ends before the page does
    assert ((below[..., 1].astype(int) - below[..., 2]) > 60).any()  # the yellow end of the colour bar


@pytest.mark.parametrize("limits", [(0.0, 1.0), (-1.0, 3.0)])
@pytest.mark.parametrize("origin", [(0.0, 0.0), (-35.0, 20.0)])
def test_overlay_blends_in_integers_as_exactly_as_in_floats(
    origin: tuple[float, float], limits: tuple[float, float]
) -> None:
    rng = np.random.default_rng(1)
    thumbnail = np.concatenate([rng.integers(0, 256, (37, 53, 3), np.uint8), np.full((8, 53, 3), 255, np.uint8)])
    array = rng.random((6, 7)).astype(np.float32)
    array[rng.random((6, 7)) < 0.3] = np.nan
    raster = Raster.on_lattice(array, cell_level0=30.0, origin_yx=origin)
    rows, cols = ((np.arange(count) + 0.5) * 4 for count in thumbnail.shape[:2])
    padded = np.pad(array, 1, constant_values=np.nan)
    at = np.ix_(
        np.clip((rows - origin[0]) // 30 + 1, 0, 7).astype(int), np.clip((cols - origin[1]) // 30 + 1, 0, 8).astype(int)
    )
    values = (padded[at] - limits[0]) / (limits[1] - limits[0])
    rgba = attention_rgba(np.nan_to_num(values))
    alpha = np.where(np.isnan(values), 0.0, rgba[..., 3])[..., None] * 0.6
    expected = np.rint(thumbnail * (1 - alpha) + 255 * rgba[..., :3] * alpha)
    picture = overlay_rgb(thumbnail, raster, thumbnail_level0_per_px=4.0, limits=limits)
    np.testing.assert_array_equal(picture, expected)


def test_attention_rgba_grows_opaque_and_clips() -> None:
    values = np.array([[-1.0, 0.0, 0.25], [0.625, 1.0, 7.0]])
    rgba = attention_rgba(values)
    assert rgba.shape == (2, 3, 4)
    np.testing.assert_allclose(rgba[..., 3], [[0, 0, 0.4], [1, 1, 1]])
    np.testing.assert_array_equal(rgba[0, 0], rgba[0, 1])
    np.testing.assert_array_equal(rgba[1, 1], rgba[1, 2])
    np.testing.assert_allclose(
        rgba[[0, 1], [1, 1], :3], [[0.267004, 0.004874, 0.329415], [0.993248, 0.906157, 0.143936]]
    )
