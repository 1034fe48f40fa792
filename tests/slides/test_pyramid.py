"""A slide as lazy arrays, level by level."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import tifffile

from lrmil.slides.fallback import LevelFallback
from lrmil.slides.opening import open_slide
from lrmil.slides.pyramid import LazyLevel
from lrmil.slides.readers.choice import open_reader
from lrmil.slides.slide import Slide
from support.recording import open_recorded
from support.slides import coordinate_pixels, overwrite, segment_of, shrink, write_pyramid

HEIGHT, WIDTH = 800, 960  # below 1024: every coordinate has its own grey value

PIXELS = coordinate_pixels(HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slide]:
    path = write_pyramid(tmp_path_factory.mktemp("slides") / "a.ome.tif", PIXELS, 0.5, factors=(2, 4, 8), tile=64)
    with open_slide(path) as opened:
        yield opened


def test_pyramid_is_lazy_and_right(slide: Slide) -> None:
    recorded, reads = open_recorded(slide.path)
    with recorded:
        levels = recorded.pyramid()
        assert reads == []
        assert [level.shape for level in levels] == [(800, 960, 3), (400, 480, 3), (200, 240, 3), (100, 120, 3)]
        np.testing.assert_array_equal(levels[0][100:300:7, 50, ::-1].compute(), PIXELS[100:300:7, 50, ::-1])
        np.testing.assert_array_equal(levels[1][-1, -30:].compute(), shrink(PIXELS, 2)[-1, -30:])
        assert {read.level for read in reads} == {0, 1}
        assert [level.name for level in levels] == [level.name for level in recorded.pyramid()]
    assert len({level.name for level in levels}) == 4


def test_lazy_level_takes_any_basic_index(slide: Slide) -> None:
    with closing(open_reader(slide.path)) as reader:
        lazy = LazyLevel(LevelFallback(reader, slide.path.name), 0)
        for index in (
            np.s_[::-1, ::-3, :],
            np.s_[10:200:7, -1],
            np.s_[5],
            np.s_[3:3, :, 0],
            np.s_[-20:, 100:90:-2, ::-1],
        ):
            np.testing.assert_array_equal(lazy[index if isinstance(index, tuple) else (index,)], PIXELS[index])


def test_what_the_pyramid_cannot_read_is_hatched_and_the_rest_is_right(tmp_path: Path) -> None:
    tissue = np.random.default_rng(0).integers(160, 250, (512, 512, 3), np.uint8)
    path = write_pyramid(tmp_path / "a.ome.tif", tissue, factors=(4,), tile=128)
    spoiled = [(0, 5), (0, 6), (1, 0)]  # level 1 is one tile, which level 0 stands in for where it can
    for level, index in spoiled:
        offset, count = segment_of(path, level, index)
        overwrite(path, offset, b"x" * count)
    with open_slide(path) as slide:
        full, coarse = (np.asarray(level) for level in slide.pyramid())
    lost = np.zeros((512, 512), bool)
    lost[128:256, 128:384] = True
    np.testing.assert_array_equal(full[~lost], tissue[~lost])
    assert set(full[lost].ravel().tolist()) == {150, 205}
    assert (full[lost][:, 0] == full[lost][:, 1]).all() and 0.4 < (full[lost] == 150).mean() < 0.6
    assert set(coarse.ravel().tolist()) == {150, 205}, "a storage block is shown whole or not at all"


def test_pyramid_chunks_group_tiles(tmp_path: Path) -> None:
    big = np.zeros((2600, 2100, 3), np.uint8)
    with open_slide(write_pyramid(tmp_path / "a.ome.tif", big, tile=240, factors=())) as slide:
        assert slide.pyramid()[0].chunksize == (960, 960, 3)
    strips = tmp_path / "strips.tif"
    tifffile.imwrite(strips, big, rowsperstrip=8, compression="deflate", photometric="rgb")
    with open_slide(strips) as slide:
        assert slide.pyramid()[0].chunksize == (1024, 2100, 3)
