"""An open slide: regions at any resolution, and thumbnails."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from lrmil.errors import ResolutionError, SlideError
from lrmil.patches.layout import make_patches
from lrmil.patches.tissue import segment_tissue
from lrmil.raster import Raster
from lrmil.slides.opening import open_slide
from lrmil.slides.readers.protocol import Level, Reader
from lrmil.slides.resolution import Resolution
from lrmil.slides.slide import Slide
from support.recording import open_recorded
from support.slides import coordinate_pixels, overwrite, segment_of, shrink, write_ome_zarr_slide, write_pyramid
from support.vendor_slides import write_scn

HEIGHT, WIDTH = 800, 960  # below 1024: every coordinate has its own grey value
PIXELS = coordinate_pixels(HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slide]:
    path = write_pyramid(tmp_path_factory.mktemp("slides") / "a.ome.tif", PIXELS, 0.5, factors=(2, 4, 8), tile=64)
    with open_slide(path) as opened:
        yield opened


def naive_region(origin_yx: tuple[float, float], size_yx: tuple[int, int], step: float) -> NDArray[np.float64]:
    """Average level 0 over each output pixel, sampled at 8 x 8 points; white outside."""
    ticks = (np.arange(8) + 0.5) / 8
    y = np.floor(origin_yx[0] + (np.arange(size_yx[0])[:, None] + ticks).ravel() * step).astype(int)
    x = np.floor(origin_yx[1] + (np.arange(size_yx[1])[:, None] + ticks).ravel() * step).astype(int)
    inside = ((y >= 0) & (y < HEIGHT))[:, None] & ((x >= 0) & (x < WIDTH))[None]
    values = np.where(inside[..., None], PIXELS[np.clip(y, 0, HEIGHT - 1)][:, np.clip(x, 0, WIDTH - 1)], 255)
    return np.asarray(values.reshape(size_yx[0], 8, size_yx[1], 8, 3).mean(axis=(1, 3)))


@settings(deadline=None, max_examples=60)
@given(
    st.floats(0.48, 12.0),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_region_shows_its_own_coordinates(
    slide: Slide, mpp: float, place: tuple[float, float], size: tuple[int, int]
) -> None:
    step = mpp / 0.5
    origin = place[0] * max(0, HEIGHT - size[0] * step), place[1] * max(0, WIDTH - size[1] * step)
    expected = naive_region(origin, size, step)
    got = slide.read_region(origin, size, mpp)
    assert got.shape == (*size, 3) and got.dtype == np.uint8
    inside = (expected[..., 2] == 128) & (got[..., 2] == 128)
    assert inside.mean() > 0.8 or size[0] * step > HEIGHT - 8 or size[1] * step > WIDTH - 8
    # one grey value is 4 level-0 px; half a pixel of the level read, or of the output, is the sampling error allowed
    tolerance = 1.5 + max(step, 1) / 4
    assert np.abs(got.astype(float) - expected)[inside].max(initial=0) <= tolerance


@pytest.mark.parametrize("ratio", [1, 2, 4, 8])
def test_region_on_a_level_is_an_exact_copy(slide: Slide, ratio: int) -> None:
    expected = (PIXELS if ratio == 1 else shrink(PIXELS, ratio))[10:60, 20:90]
    got = slide.read_region((10 * ratio, 20 * ratio), (50, 70), 0.5 * ratio)
    np.testing.assert_array_equal(got, expected)


def test_whole_ratio_is_the_exact_mean(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (320, 320, 3), np.uint8)
    with open_slide(write_pyramid(tmp_path / "a.ome.tif", noise, 0.5, factors=())) as noisy:
        got = noisy.read_region((12, 16), (60, 50), 2.5).astype(int)
    assert np.abs(got - shrink(noise[12:312, 16:266], 5)[:60, :50]).max() <= 1  # rounding of halves


def test_other_ratios_are_anti_aliased(tmp_path: Path) -> None:
    stripes = np.zeros((600, 600, 3), np.uint8)
    stripes[:, ::2] = 200
    with open_slide(write_pyramid(tmp_path / "a.ome.tif", stripes, 0.5, factors=())) as striped:
        got = striped.read_region((0, 0), (100, 100), 0.5 * 5.37)
    assert np.abs(got[5:-5, 5:-5].astype(int) - 100).max() <= 12


def test_outside_is_white(slide: Slide) -> None:
    got = slide.read_region((-10, WIDTH - 20), (30, 50), 0.5)
    assert (got[:10] == 255).all() and (got[:, 20:] == 255).all()
    np.testing.assert_array_equal(got[10:, :20], PIXELS[:20, -20:])
    assert (slide.read_region((5000, -5000), (8, 9), 1.0) == 255).all()


@pytest.mark.parametrize(("mpp", "level"), [(0.5, 0), (0.46, 0), (0.98, 0), (0.995, 1), (1.0, 1), (2.1, 2), (64.0, 3)])
def test_level_for(slide: Slide, mpp: float, level: int) -> None:
    assert slide.level_for(mpp) == level


def test_never_upsampled(slide: Slide) -> None:
    with pytest.raises(ResolutionError, match=r"0\.25 um/px.*0\.5 um/px"):
        slide.read_region((0, 0), (8, 8), 0.25)
    with pytest.raises(ValueError, match="above 0"):
        slide.level_for(0)


@given(own=st.floats(0.05, 20), mpp=st.floats(0.05, 20))
def test_one_rule_says_what_is_too_coarse(own: float, mpp: float) -> None:
    reader = cast(Reader, SimpleNamespace(levels=(Level((300, 400), 1.0, (256, 256)),), origin_yx=(0, 0)))
    slide = Slide(Path("slide.svs"), reader, Resolution(own, "test"))
    tissue = Raster.on_lattice(np.ones((3, 4), bool), cell_level0=100.0, origin_yx=(0.0, 0.0))
    asked = [
        slide.require_mpp,
        slide.level_for,
        lambda mpp: slide.read_region((0, 0), (1, 1), mpp),
        lambda mpp: make_patches(slide, tissue, mpp=mpp, size=16),
    ]
    if own <= 1.1 * mpp:
        assert slide.require_mpp(mpp) is None and slide.level_for(mpp) == 0
        return
    said = set()
    for ask in asked:
        with pytest.raises(ResolutionError) as refused:
            ask(mpp)
        said.add(str(refused.value))
    assert len(said) == 1


def test_a_slide_of_unknown_resolution_is_fine_enough_for_nothing() -> None:
    reader = cast(Reader, SimpleNamespace(levels=(Level((300, 400), 1.0, (256, 256)),), origin_yx=(0, 0)))
    slide = Slide(Path("slide.svs"), reader, ResolutionError("no um/px"))
    with pytest.raises(ResolutionError, match="no um/px"):
        slide.require_mpp(1000.0)


def test_no_finer_level_is_touched(slide: Slide) -> None:
    recorded, reads = open_recorded(slide.path)
    with recorded:
        recorded.read_region((64, 64), (32, 32), 2.0)
        recorded.read_region((64, 64), (32, 32), 8.0)
    assert [(read.level, read.h, read.w) for read in reads] == [(2, 32, 32), (3, 64, 64)]


def test_facts(slide: Slide) -> None:
    assert slide.dimensions == (WIDTH, HEIGHT)
    assert (slide.mpp, slide.mpp_source, slide.has_mpp) == (0.5, "OME PhysicalSize", True)
    assert [level.shape for level in slide.levels] == [(800, 960), (400, 480), (200, 240), (100, 120)]
    assert [level.downsample for level in slide.levels] == [1, 2, 4, 8]
    assert (slide.slide_id, slide.reader_name, slide.origin_yx) == ("a", "tifffile", (0, 0))
    assert len(slide.fingerprint) == 64
    assert "0.5 um/px from OME PhysicalSize" in repr(slide)


def test_bytes_read_counts_only_what_is_decoded(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.ome.tif", PIXELS, 0.5, tile=64, factors=(4,))
    with open_slide(path) as slide:
        before = slide.bytes_read or 0
        slide.read_region((64, 64), (64, 64), 0.5)
        assert (slide.bytes_read or 0) - before == segment_of(path, 0, 1 * (WIDTH // 64) + 1)[1]
        slide.read_region((64, 64), (64, 64), 0.5)  # from the cache
        assert (slide.bytes_read or 0) - before == segment_of(path, 0, 1 * (WIDTH // 64) + 1)[1]


def test_downsample_is_the_factor_that_was_meant(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.ome.tif", coordinate_pixels(1003, 1031), 0.25, factors=(4, 16))
    with open_slide(path) as slide:
        assert [level.downsample for level in slide.levels] == [1.0, 4.0, 16.0]


def test_thumbnail_is_exact_and_read_in_small_blocks(slide: Slide, monkeypatch: pytest.MonkeyPatch) -> None:
    array, cell, failed = slide.thumbnail(9.0)
    assert cell == 16.0 and array.shape == (50, 60, 3) and not failed.any()  # 16 is the largest multiple of 8 below 18
    assert np.abs(array.astype(int) - shrink(PIXELS, 16)).max() <= 1
    assert slide.thumbnail(0.1).cell_level0 == 1.0
    monkeypatch.setattr("lrmil.slides.thumbnail.MAX_SOURCE_BLOCK", 64)
    recorded, reads = open_recorded(slide.path)
    with recorded:
        np.testing.assert_array_equal(recorded.thumbnail(8.0).array, array)
    assert max(max(read.h, read.w) for read in reads) == 64


def test_thumbnail_marks_what_cannot_be_read(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.ome.tif", np.full((512, 512, 3), 90, np.uint8), 1.0, factors=(), tile=128)
    offset, count = segment_of(path, 0, 5)
    overwrite(path, offset, bytes(count))
    with open_slide(path) as slide:
        array, cell, failed = slide.thumbnail(4.0)
    expected = np.zeros((128, 128), bool)
    expected[32:64, 32:64] = True
    np.testing.assert_array_equal(failed, expected)
    assert cell == 4.0 and (array[~failed] == 90).all() and (array[failed] == 255).all()


def test_threads_read_the_same_as_one(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (700, 700, 3), np.uint8)
    path = write_pyramid(tmp_path / "a.ome.tif", noise, 0.5, tile=64, factors=())
    with open_slide(path) as slide, ThreadPoolExecutor(8) as pool:
        corners = [(int(y), int(x)) for y, x in np.random.default_rng(2).integers(0, 600, (300, 2))]
        barrier = threading.Barrier(8)

        def read(corner: tuple[int, int]) -> NDArray[np.uint8]:
            return slide.read_region(corner, (100, 100), 0.5)

        list(pool.map(lambda _: barrier.wait(), range(8)))
        for (y, x), got in zip(corners, pool.map(read, corners), strict=True):
            np.testing.assert_array_equal(got, noise[y : y + 100, x : x + 100])


@pytest.mark.parametrize("name", ["a.ome.tif", "a.ome.zarr", "a.png", "a.scn"])
def test_a_closed_slide_says_so_and_blames_no_file(tmp_path: Path, name: str) -> None:
    pixels, path = PIXELS[:256, :256], tmp_path / name
    if name.endswith("zarr"):
        write_ome_zarr_slide(path, pixels)
    elif name.endswith("png"):
        Image.fromarray(pixels).save(path)
    elif name.endswith("scn"):
        write_scn(path, pixels)
    else:
        write_pyramid(path, pixels, 0.5, factors=(2, 4), tile=64)
    with open_slide(path, mpp=0.5) as slide:
        lazy = slide.pyramid()[0]
    reads: list[Callable[[], object]] = [
        lambda: slide.read_region((0, 0), (8, 8), 0.5),
        lambda: slide.thumbnail(2.0),
        lambda: slide.overview(32),
        lambda: segment_tissue(slide),
    ]
    for read in reads:
        with pytest.raises(SlideError, match="is closed"):
            read()
    lazy[:8, :8].compute()  # hatched, as whatever cannot be read
    assert min(slide.dimensions) >= 256 and not slide.damaged


def test_pixels_equal_the_reference(shared: Path) -> None:
    name = "reference/CMU-1-Small-Region.regression_x700_y400_w500_y400.png"
    bgr = np.asarray(Image.open(shared / "data/slides" / name).convert("RGB"))
    reference = bgr[..., ::-1]  # written by a program that took RGB for BGR, every fifth pixel of the region
    with open_slide(shared / "data/slides/CMU-1-Small-Region.svs") as slide:
        region = slide.read_region((400, 700), (400, 500), slide.mpp)
        means = slide.read_region((400, 700), (80, 100), slide.mpp * 5)
    np.testing.assert_array_equal(region[2::5, 2::5], reference)
    assert np.abs(means.mean(axis=(0, 1)) - reference.mean(axis=(0, 1))).max() < 0.5


def test_notes_are_those_of_the_reader(slide: Slide) -> None:
    assert slide.notes == ()
    noted, _ = open_recorded(slide.path, notes=("The slide holds two scenes.",))
    with noted:
        assert noted.notes == ("The slide holds two scenes.",)
