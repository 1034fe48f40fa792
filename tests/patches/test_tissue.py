"""Tissue is found on real and on synthetic thumbnails; glass and pen are not."""

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lrmil.patches.tissue import Tissue, find_tissue, segment, segment_tissue, tissue_mask
from lrmil.slides.opening import open_slide
from support.slides import overwrite, segment_of, write_pyramid
from support.stained_pictures import (
    GLASS,
    PALE,
    PINK,
    PLACE,
    PURPLE,
    STAINS,
    assert_tissue_is_found,
    density_of,
    drawn,
    paint,
    scanned,
)


@pytest.mark.parametrize("colour", [PALE, PINK, PURPLE, (150, 110, 80), (160, 165, 200)])
def test_tissue_on_glass_is_found_to_the_pixel(colour: tuple[int, int, int]) -> None:
    mask = tissue_mask(paint((slice(100, 300), slice(50, 250), colour)))
    assert mask[103:297, 53:247].mean() > 0.995
    mask[97:303, 47:253] = False
    assert not mask.any()


def test_only_glass_is_empty() -> None:
    for grey in (200, 243, 255):
        assert not tissue_mask(np.full((300, 300, 3), grey, np.uint8)).any()
    assert not tissue_mask(paint(noise=5.0)).any()


def test_only_tissue_is_full_even_where_it_has_two_tones() -> None:
    everywhere = slice(None), slice(None)
    two_tones = paint((*everywhere, PINK), (slice(0, 200), slice(None), PURPLE), noise=8.0)
    assert tissue_mask(two_tones).mean() > 0.99
    assert tissue_mask(paint((*everywhere, PINK))).mean() > 0.99


def test_pale_tissue_is_kept_beside_strong_tissue() -> None:
    mask = tissue_mask(
        paint((slice(50, 350), slice(20, 180), (225, 190, 210)), (slice(50, 350), slice(220, 380), PURPLE))
    )
    assert mask[60:340, 30:170].mean() > 0.99 and mask[60:340, 230:370].mean() > 0.99


def test_specks_go_and_small_gaps_close() -> None:
    image = paint((slice(100, 300), slice(100, 300), PINK), (slice(20, 25), slice(20, 25), PINK))
    image[200:206, 200:206] = GLASS
    mask = tissue_mask(image)
    assert not mask[:90].any() and mask[200:206, 200:206].all()


def test_large_hole_stays_open() -> None:
    mask = tissue_mask(paint((slice(50, 350), slice(50, 350), PINK), (slice(150, 250), slice(150, 250), GLASS)))
    assert not mask[155:245, 155:245].any()


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("almost-white-1", 0, 0.001),
        ("no-tissue", 0, 0.001),
        ("no-tissue2", 0, 0.01),
        ("no-tissue-line", 0, 0.01),
        ("no-tissue-green-pen", 0, 0.01),
        ("high-nuclei-score-level0", 0.95, 1),
        ("tissue-level2-1784-6289-5880-10386", 0.5, 0.8),
        ("tissue-level2-4640-4649-8736-8746", 0.6, 0.85),
        ("tcga-green-pen", 0.7, 0.85),
        ("tcga-red-pen", 0.45, 0.6),
        ("diagnostic-slide-thumb-rgb", 0.35, 0.5),
        ("wsi-blue-pen", 0.25, 0.4),
    ],
)
def test_real_thumbnails(shared: Path, name: str, low: float, high: float) -> None:
    rgb = np.asarray(Image.open(shared / "data/thumbs" / f"{name}.png").convert("RGB"))
    assert low <= tissue_mask(rgb).mean() <= high


def test_real_tissue_images_are_not_cut_in_half(shared: Path) -> None:
    paths = sorted((shared / "data/glas").rglob("train_*.*"))[:30]
    assert paths
    coverage = [tissue_mask(np.asarray(Image.open(path).convert("RGB").reduce(13))).mean() for path in paths]
    assert np.median(coverage) > 0.95 and np.mean(coverage) > 0.85


def test_segment_tissue_lies_on_the_slide(tmp_path: Path) -> None:
    pixels = np.full((2048, 3072, 3), GLASS, np.uint8)
    pixels[512:1536, 1024:2560] = PINK
    with open_slide(write_pyramid(tmp_path / "a.ome.tif", pixels, 0.499, factors=(4,))) as slide:
        raster = segment_tissue(slide)
    assert raster.array.dtype == bool and raster.cell_yx == (16.0, 16.0) and raster.origin_yx == (0.0, 0.0)
    squares = np.array([[512, 1024], [1280, 2304], [0, 0], [512, 2624]])
    np.testing.assert_allclose(raster.mean_over(squares, 256.0), [1, 1, 0, 0], atol=0.02)


def test_unreadable_parts_are_not_tissue(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.ome.tif", np.full((2048, 2048, 3), PINK, np.uint8), 1.0, factors=(), tile=512)
    offset, count = segment_of(path, 0, 5)
    overwrite(path, offset, bytes(count))
    with open_slide(path) as slide:
        array = segment_tissue(slide).array
        found = find_tissue(slide)
    assert not array[64:128, 64:128].any() and array[130:].mean() > 0.99
    np.testing.assert_array_equal(found.mask.array, array)
    assert found.unread is not None and found.unread.array[64:128, 64:128].all()
    assert np.count_nonzero(found.unread.array) == 64 * 64
    np.testing.assert_array_equal(found.unread.to_level0, found.mask.to_level0)


def test_real_slide(shared: Path) -> None:
    with open_slide(shared / "data/slides/CMU-1-Small-Region.svs") as slide:
        raster = segment_tissue(slide)
    assert 0.25 < raster.array.mean() < 0.5 and raster.cell_yx == (16.0, 16.0)


class TestStains:
    @pytest.mark.parametrize("strength", [0.6, 1.0, 2.0])
    @pytest.mark.parametrize("stain", STAINS)
    def test_none_is_pen(self, stain: str, strength: float) -> None:
        found = segment(scanned(density_of(STAINS[stain], strength=strength)))
        assert_tissue_is_found(found.tissue)
        assert not found.pen.any()

    @pytest.mark.parametrize("stain", ["Alcian blue", "DAB", "light green"])
    def test_on_tinted_glass(self, stain: str) -> None:
        assert_tissue_is_found(tissue_mask(scanned(density_of(STAINS[stain]), (240, 225, 205))))


def whole_slide(folder: Path, pixels: NDArray[np.uint8]) -> Tissue:
    with open_slide(write_pyramid(folder / "a.ome.tif", pixels, 5.0, factors=())) as slide:
        return find_tissue(slide)


class TestNotes:
    def test_what_was_left_out_is_said(self, tmp_path: Path) -> None:
        pixels = drawn(density_of(), (40, 150, 110), slice(200, 222))
        pixels[:12] = 0
        found = whole_slide(tmp_path, pixels)
        (note,) = found.notes
        shares = re.search(r"glass (\S*) %, pen (\S*) %, black (\S*) %", note)
        assert shares
        glass, pen, black = map(float, shares.groups())
        assert pen == pytest.approx(11, abs=3) and black == pytest.approx(5, abs=0.5)
        assert glass + pen + black + 100 * found.mask.array.mean() == pytest.approx(100, abs=0.2)

    def test_a_plain_slide_needs_none(self, tmp_path: Path) -> None:
        assert whole_slide(tmp_path, scanned(density_of())).notes == ()

    def test_all_and_nothing_are_warned_of(self, tmp_path: Path) -> None:
        (all_of_it,) = whole_slide(tmp_path, scanned(density_of()[PLACE])).notes
        assert "no glass" in all_of_it
        (nothing,) = whole_slide(tmp_path, scanned(np.zeros((240, 280, 3)))).notes
        assert "glass 100.0 %, pen 0.0 %, black 0.0 %" in nothing
