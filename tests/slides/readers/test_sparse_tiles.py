"""Tiles that a writer did not store are background and told; those that a torn copy lost are damage."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from lrmil.errors import SlideError
from lrmil.slides.opening import open_slide
from lrmil.slides.readers.tiff import TiffReader
from support.slides import coordinate_pixels, shrink, write_pyramid

PIXELS = coordinate_pixels(512, 768)  # 4 rows of 6 tiles of 128 px
PIXELS[:, 384:] = 255
OFFSETS, COUNTS = ("TileOffsets", "StripOffsets"), ("TileByteCounts", "StripByteCounts")


def clear(path: Path, lost: Callable[[int], bool], *, page: int = 0, tags: tuple[str, ...] = OFFSETS + COUNTS) -> Path:
    """Put a zero in the place of the offsets and counts of some segments, or of one of both."""
    with tifffile.TiffFile(path, mode="r+") as tif:
        for name in tags:
            if tag := tif.pages[page].tags.get(name):
                tag.overwrite([0 if lost(index) else value for index, value in enumerate(tag.value)])
    return path


def slide(path: Path, compression: str | None = "deflate", **options: object) -> Path:
    return write_pyramid(path, PIXELS, style="plain", tile=128, factors=(2,), compression=compression, **options)


def of_column_3_on(index: int) -> bool:
    return index % 6 >= 3


@pytest.mark.parametrize("compression", [None, "deflate", "jpeg", "jpeg2000", "webp", "lzw"])
def test_they_are_white_and_their_neighbours_read(tmp_path: Path, compression: str | None) -> None:
    intact = TiffReader(slide(tmp_path / "b.tif", compression)).read(0, 0, 0, 512, 768)
    with open_slide(clear(slide(tmp_path / "a.tif", compression), of_column_3_on), 0.5) as opened:
        got = opened.read_region((0, 0), (512, 768), 0.5)
        np.testing.assert_array_equal(got[:, :384], intact[:, :384])
        assert (got[:, 384:] == 255).all() and not opened.damaged
        assert opened.notes == (
            "Tiles that the file does not store are read as white background: 12 of 24 of level 0.",
        )


def test_every_level_has_its_count(tmp_path: Path) -> None:
    path = clear(clear(slide(tmp_path / "a.tif"), of_column_3_on), lambda index: index == 5, page=1)
    reader = TiffReader(path)
    assert reader.notes[-1].endswith(": 12 of 24 of level 0, 1 of 6 of level 1.")
    assert (reader.read(1, 200, 300, 20, 20) == 255).all()
    np.testing.assert_array_equal(reader.read(1, 0, 0, 128, 384), shrink(PIXELS, 2)[:128])
    reader.close()


def test_strips_are_segments_too(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, rowsperstrip=64, compression="deflate", photometric="rgb", metadata=None)
    reader = TiffReader(clear(path, lambda index: index in (0, 7)))
    got = reader.read(0, 0, 0, 512, 768)
    assert (got[:64] == 255).all() and (got[448:] == 255).all()
    np.testing.assert_array_equal(got[64:448], PIXELS[64:448])
    reader.close()


def test_only_one_tile_is_stored(tmp_path: Path) -> None:
    reader = TiffReader(clear(slide(tmp_path / "a.tif"), lambda index: index != 9))
    np.testing.assert_array_equal(reader.read(0, 128, 384, 128, 128), PIXELS[128:256, 384:512])
    assert (reader.read(0, 0, 0, 128, 768) == 255).all()
    reader.close()


@pytest.mark.parametrize("tags", [OFFSETS, COUNTS])
def test_an_offset_or_a_count_alone_is_damage(tmp_path: Path, tags: tuple[str, ...]) -> None:
    path = clear(clear(slide(tmp_path / "a.tif"), of_column_3_on), lambda index: index == 7, tags=tags)
    reader = TiffReader(path)
    with pytest.raises(SlideError, match="segment 7 of level 0 is empty"):
        reader.read(0, 130, 130, 8, 8)
    assert (reader.read(0, 0, 400, 8, 8) == 255).all()
    reader.close()


def test_a_level_without_any_is_damage_and_a_finer_one_stands_in(tmp_path: Path) -> None:
    """A hole over both tables of a level looks like a level of which nothing was stored."""
    with open_slide(clear(slide(tmp_path / "a.tif"), lambda index: True, page=1), 0.5) as opened:
        np.testing.assert_array_equal(opened.read_region((0, 0), (100, 100), 1.0), shrink(PIXELS, 2)[:100, :100])
        assert opened.damaged and "not store" not in " ".join(opened.notes)


def test_a_file_without_any_is_refused(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", PIXELS, style="plain", tile=128, factors=())
    with pytest.raises(SlideError, match="is empty"):
        open_slide(clear(path, lambda index: True))
