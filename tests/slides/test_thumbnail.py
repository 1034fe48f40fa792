"""A damaged slide costs a bounded number of tries, and what is marked as lost never shrinks for it."""

from pathlib import Path

import numpy as np
import pytest

from lrmil.errors import SlideError
from lrmil.patches.layout import make_patches
from lrmil.raster import Raster
from lrmil.slides.fallback import LevelFallback
from lrmil.slides.opening import open_slide
from lrmil.slides.thumbnail import Thumbnail, shrunk
from support.recording import open_recorded
from support.slides import overwrite, segment_of, write_pyramid

PIXELS = np.random.default_rng(0).integers(100, 220, (2048, 2048, 3), np.uint8)


@pytest.fixture
def torn(tmp_path: Path) -> Path:
    """A slide without coarse levels that lost every other tile of its left half, but not the first."""
    path = write_pyramid(tmp_path / "a.tif", PIXELS, 0.5, factors=(), tile=128)
    for index in (16 * row + column for row in range(16) for column in range(1, 8, 2)):
        offset, count = segment_of(path, 0, index)
        overwrite(path, offset, b"x" * count)
    return path


def watch(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the heights of what is tried from now on."""
    tried: list[int] = []
    real = LevelFallback.sample

    def spied(
        self: LevelFallback, level: int, origin: tuple[float, float], size: tuple[int, int], **options: float
    ) -> object:
        tried.append(size[0])
        return real(self, level, origin, size, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(LevelFallback, "sample", spied)
    return tried


def test_the_lost_tiles_are_marked_to_the_pixel(torn: Path) -> None:
    with open_slide(torn) as slide:
        failed = slide.thumbnail(4.0).failed
    expected = np.zeros((256, 256), bool)
    for column in range(1, 8, 2):
        expected[:, 16 * column : 16 * column + 16] = True
    np.testing.assert_array_equal(failed, expected)


def test_the_tries_are_bounded_and_more_is_marked_then(torn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = watch(monkeypatch)
    monkeypatch.setattr("lrmil.slides.thumbnail.MAX_BLOCK", 64)
    with open_slide(torn) as slide:
        whole = slide.thumbnail(4.0).failed
        assert len(tried) == 16 + 4 * 8 + 4 * 32 and min(tried) == 16
        monkeypatch.setattr("lrmil.slides.thumbnail.MAX_LOST", 16)
        tried.clear()
        coarser = slide.thumbnail(4.0).failed
    assert len(tried) == 16 + 4 * 8 and min(tried) == 32
    assert (coarser | ~whole).all() and coarser[:, :128].all() and not coarser[:, 128:].any()


def test_a_size_that_no_glass_has_is_refused_before_memory_is_taken(torn: Path) -> None:
    with open_slide(torn) as real:
        huge = real.levels[0]._replace(shape=(40_000, 300_000_000))
    slide, reads = open_recorded(torn, levels=[huge])
    with slide:
        with pytest.raises(SlideError, match="300000000 x 40000 px"):
            slide.thumbnail(8.0)
        everywhere = Raster.on_lattice(np.ones((1, 1), bool), cell_level0=(4e4, 3e8), origin_yx=(0.0, 0.0))
        with pytest.raises(SlideError, match="300000000 x 40000 px"):
            make_patches(slide, everywhere, mpp=2.0, size=32)
    assert reads == []


@pytest.mark.parametrize("side", [64, 33, 17])
def test_a_shrunk_thumbnail_fits_and_keeps_its_place(side: int) -> None:
    rng = np.random.default_rng(0)
    pixels = np.full((50, 64, 3), 200, np.uint8)
    pixels[40:, 60:] = 0
    failed = rng.random((50, 64)) < 0.01
    array, cell, lost = shrunk(Thumbnail(pixels, 4.0, failed), side)
    factor = round(cell / 4)
    assert array.shape[:2] == lost.shape and max(lost.shape) <= side < 2 * max(lost.shape)
    for (y, x), found in np.ndenumerate(lost):
        block = np.s_[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
        assert found == failed[block].any()
        np.testing.assert_allclose(array[y, x], pixels[block].mean((0, 1)), atol=1)


@pytest.mark.parametrize(
    ("factors", "limit", "reads", "side"),
    [((), 1 << 16, False, 128), ((), 1 << 24, True, 1024), ((4,), 1 << 18, True, 512)],
    ids=["one large level", "one small level", "a small level below"],
)
def test_the_picture_of_a_slide_reads_again_only_where_it_is_cheap(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    factors: tuple[int, ...],
    limit: int,
    reads: bool,
    side: int,
) -> None:
    monkeypatch.setattr("lrmil.slides.slide.WORTH_READING", limit)
    monkeypatch.setattr("lrmil.slides.slide.PICTURE_PX", 1024 if not factors else 512)
    path = write_pyramid(tmp_path / "a.tif", PIXELS, 0.5, factors=factors, tile=128)
    with open_slide(path) as slide:
        slide.thumbnail(8.0)
        tried = watch(monkeypatch)
        picture = slide.picture()
        assert bool(tried) == reads
        assert picture.array.shape == (side, side, 3) and picture.cell_level0 == 2048 / side
        slide.thumbnail(1.0)  # as large as the picture may be
        tried.clear()
        assert max(slide.picture().array.shape) == (1024 if not factors else 512)
        assert not tried
    with open_slide(path) as slide:
        assert max(slide.picture().array.shape) == (1024 if not factors else 512)  # without a thumbnail
