"""The tifffile route: every layout decodes exactly, and damage is never painted over."""

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from lrmil.errors import SlideError
from lrmil.slides.opening import open_slide
from lrmil.slides.readers.openslide import OpenSlideReader
from lrmil.slides.readers.tiff import TiffReader
from lrmil.slides.readers.tiff_pages import NeedsOpenSlide, parse_pyramid
from support.slides import PATIENT, coordinate_pixels, overwrite, segment_of, shrink, write_pyramid

PIXELS = coordinate_pixels(500, 610)


def reader_with_a_switch(
    path: Path, decode: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> tuple[TiffReader, threading.Event]:
    """Open a TIFF whose level 0 is decoded by other code while the event is set."""
    found, switched = parse_pyramid(path), threading.Event()
    whole = found.pages[0].decode
    page = replace(found.pages[0], decode=lambda *segment: (decode if switched.is_set() else whole)(*segment))
    pyramid = found._replace(pages=[page, *found.pages[1:]])
    monkeypatch.setattr("lrmil.slides.readers.tiff.parse_pyramid", lambda _: pyramid)
    return TiffReader(path), switched


@pytest.mark.parametrize("style", ["ome", "aperio", "plain"])
@pytest.mark.parametrize("compression", [None, "deflate", "lzw"])
def test_lossless_levels_are_exact(tmp_path: Path, style: str, compression: str | None) -> None:
    name = "a.svs" if style == "aperio" else "a.tif"
    path = write_pyramid(tmp_path / name, PIXELS, style=style, compression=compression, tile=128, factors=(2, 4))
    reader = TiffReader(path)
    assert [level.shape for level in reader.levels] == [(500, 610), (250, 305), (125, 152)]
    np.testing.assert_array_equal(reader.read(0, 0, 0, 500, 610), PIXELS)
    np.testing.assert_array_equal(reader.read(0, 127, 255, 130, 3), PIXELS[127:257, 255:258])
    np.testing.assert_array_equal(reader.read(2, 100, 100, 25, 52), shrink(PIXELS, 4)[100:, 100:])
    reader.close()


@pytest.mark.parametrize("rows", [1, 7, 500])
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_strips_are_exact(tmp_path: Path, rows: int, compression: str | None) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, rowsperstrip=rows, compression=compression, photometric="rgb")
    reader = TiffReader(path)
    np.testing.assert_array_equal(reader.read(0, 3, 4, 491, 600), PIXELS[3:494, 4:604])
    reader.close()


def test_uncompressed_rows_are_read_not_the_whole_strip(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, photometric="rgb")
    reader = TiffReader(path)
    reader.read(0, 10, 10, 20, 30)
    assert reader.bytes_read == 20 * 30 * 3
    reader.close()


@pytest.mark.parametrize("rectangle", [(-1, 0, 5, 5), (0, 606, 5, 5), (496, 0, 5, 5), (0, 0, 0, 5)])
def test_rectangles_outside_are_a_defect_of_the_caller(tmp_path: Path, rectangle: tuple[int, int, int, int]) -> None:
    reader = TiffReader(write_pyramid(tmp_path / "a.tif", PIXELS, factors=()))
    with pytest.raises(ValueError, match="inside level 0"):
        reader.read(0, *rectangle)
    reader.close()


@pytest.mark.parametrize("compression", ["deflate", "jpeg", "lzw"])
def test_zeroed_segment_is_named_and_the_rest_reads(tmp_path: Path, compression: str) -> None:
    path = write_pyramid(tmp_path / "a.tif", PIXELS, tile=128, factors=(), compression=compression)
    offset, count = segment_of(path, 0, 6)  # row 1, column 1
    overwrite(path, offset, bytes(count))
    reader = TiffReader(path)
    with pytest.raises(SlideError, match="segment 6 of level 0"):
        reader.read(0, 130, 130, 10, 10)
    assert reader.read(0, 0, 0, 128, 610).shape == (128, 610, 3)
    reader.close()


def test_half_a_jpeg_is_not_painted_grey(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 384, 3), np.uint8)
    path = write_pyramid(tmp_path / "a.tif", noise, tile=128, factors=(), compression="jpeg")
    offset, count = segment_of(path, 0, 4)
    overwrite(path, offset + count // 2, bytes(count - count // 2))
    reader = TiffReader(path)
    with pytest.raises(SlideError, match=r"segment 4 of level 0.*incomplete"):
        reader.read(0, 128, 128, 128, 128)
    reader.close()


def test_segment_of_another_size_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_pyramid(tmp_path / "a.tif", PIXELS, tile=128, factors=(), compression="jpeg")
    small = write_pyramid(tmp_path / "b.tif", PIXELS[:64, :64], tile=64, factors=(), compression="jpeg")
    offset, count = segment_of(small, 0, 0)
    tile = small.read_bytes()[offset : offset + count]
    offset, count = segment_of(path, 0, 6)
    overwrite(path, offset, tile.ljust(count, b"\0")[: max(count, len(tile))])
    with tifffile.TiffFile(path, mode="r+") as tif:
        tag = tif.pages[0].tags["TileByteCounts"]
        tag.overwrite([len(tile) if index == 6 else count for index, count in enumerate(tag.value)])
    reader = TiffReader(path)
    with pytest.raises(SlideError, match="segment 6 of level 0"):
        reader.read(0, 128, 128, 1, 1)
    reader.close()
    small_tile = np.zeros((64, 128, 3), np.uint8)
    reader, smaller = reader_with_a_switch(path, lambda *_: small_tile, monkeypatch)
    smaller.set()
    with pytest.raises(SlideError, match=r"segment 7 of level 0.*size"):
        reader.read(0, 128, 256, 1, 1)
    reader.close()


def test_empty_segment_is_an_error(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", PIXELS, tile=128, factors=())
    with tifffile.TiffFile(path, mode="r+") as tif:
        tag = tif.pages[0].tags["TileByteCounts"]
        tag.overwrite([0 if index == 6 else count for index, count in enumerate(tag.value)])
    reader = TiffReader(path)
    with pytest.raises(SlideError, match="segment 6 of level 0 is empty"):
        reader.read(0, 128, 128, 1, 1)
    reader.close()


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_truncated_file_does_not_open(tmp_path: Path, compression: str | None) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    path = write_pyramid(tmp_path / "a.tif", noise, tile=128, factors=(), compression=compression)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(SlideError, match="truncated"):
        open_slide(path)


def test_truncated_level_leaves_the_others_of_use(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    path = write_pyramid(tmp_path / "a.tif", noise, tile=128, factors=(4,))
    offset, count = segment_of(path, 1, 0)  # SubIFDs are written last
    path.write_bytes(path.read_bytes()[: offset + count // 2])
    reader = TiffReader(path)
    np.testing.assert_array_equal(reader.read(0, 0, 0, 512, 512), noise)
    with pytest.raises(SlideError, match="segment 0 of level 1 lies beyond the end"):
        reader.read(1, 0, 0, 10, 10)
    reader.close()


def test_nothing_is_read_after_close(tmp_path: Path) -> None:
    for compression in (None, "deflate"):
        path = tmp_path / f"{compression}.tif"
        tifffile.imwrite(path, PIXELS, compression=compression, photometric="rgb")
        reader = TiffReader(path)
        reader.read(0, 0, 0, 5, 5)
        reader.close()
        reader.close()
        with pytest.raises(SlideError):
            reader.read(0, 0, 0, 5, 5)


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (np.zeros((64, 64), np.uint8), {}),
        (np.zeros((64, 64, 3), np.uint16), {"photometric": "rgb"}),
        (np.zeros((3, 64, 64), np.uint8), {"photometric": "rgb", "planarconfig": "separate"}),
        (np.zeros((5, 64, 64), np.uint8), {"photometric": "minisblack"}),
    ],
)
def test_what_is_not_8_bit_rgb_is_refused(tmp_path: Path, pixels: np.ndarray, options: dict[str, object]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    with pytest.raises(SlideError, match="8-bit RGB") as caught:
        TiffReader(tmp_path / "a.tif")
    assert not isinstance(caught.value, NeedsOpenSlide)


def test_a_macro_photo_never_stands_in_for_a_grey_slide(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(np.zeros((512, 512), np.uint16), photometric="minisblack")
        tif.write(np.zeros((64, 64, 3), np.uint8), photometric="rgb")
    with pytest.raises(SlideError, match="8-bit RGB"):
        TiffReader(tmp_path / "a.tif")


def test_huge_compressed_strip_is_refused_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, rowsperstrip=500, compression="deflate", photometric="rgb")
    monkeypatch.setattr("lrmil.slides.readers.tiff.MAX_SEGMENT_BYTES", 1000)
    with pytest.raises(SlideError, match="Convert it to a tiled pyramid"):
        TiffReader(path)


def test_cache_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrmil.slides.readers.tiff.CACHE_BYTES", 5 * 64 * 64 * 3)
    reader = TiffReader(write_pyramid(tmp_path / "a.tif", PIXELS, tile=64, factors=()))
    reader.read(0, 0, 0, 500, 610)
    before = reader.bytes_read
    assert before is not None
    reader.read(0, 499, 320, 1, 290)  # the five tiles that were read last
    assert reader.bytes_read == before, "five tiles are kept"
    reader.read(0, 499, 319, 1, 1)
    again = reader.bytes_read
    assert again is not None and again > before, "and no sixth"
    reader.close()


def test_a_segment_is_fetched_once_however_many_threads_ask(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", PIXELS, tile=64, factors=(), compression="deflate")
    alone = TiffReader(path)
    alone.read(0, 0, 0, 256, 256)
    together = TiffReader(path)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: together.read(0, 0, 0, 256, 256), range(64)))
    assert together.bytes_read == alone.bytes_read
    alone.close()
    together.close()


def test_both_routes_give_the_same_pixels(shared: Path) -> None:
    path = shared / "data/slides/CMU-1-Small-Region.svs"
    direct, openslide = TiffReader(path), OpenSlideReader(path)
    assert [level.shape for level in direct.levels] == [level.shape for level in openslide.levels]
    np.testing.assert_array_equal(direct.read(0, 0, 0, 2967, 2220), openslide.read(0, 0, 0, 2967, 2220))
    assert direct.mpp_candidates[0][:2] == openslide.mpp_candidates[0][:2]
    assert direct.objective_power == openslide.objective_power == 20
    direct.close()
    openslide.close()


def test_ndpi_levels_agree_with_openslide(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "lrmil.slides.readers.tiff_pages.fluorescence_in", lambda series: ""
    )  # the only NDPI at hand is fluorescence
    monkeypatch.setattr("lrmil.slides.readers.openslide.fluorescence_in", lambda properties: "")
    path = shared / "data/slides/other/hamamatsu_test3-DAPI-2_387.ndpi"
    direct, openslide = TiffReader(path), OpenSlideReader(path)
    for level in (0, 2):
        ours, theirs = direct.read(level, 301, 203, 64, 64), openslide.read(level, 301, 203, 64, 64)
        assert np.abs(ours.astype(int) - theirs).max() <= 3
    direct.close()
    openslide.close()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted on Linux")
def test_a_file_is_let_go_of_with_the_last_array_of_it(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", coordinate_pixels(600, 600), 0.5)

    def opened() -> int:
        gc.collect()
        return sum(os.path.realpath(one) == str(path) for one in Path("/proc/self/fd").iterdir())

    levels = open_slide(path).pyramid()
    assert opened() == 1
    np.asarray(levels[0][:8, :8])
    del levels
    assert opened() == 0


def test_tiles_without_a_side_are_refused(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", coordinate_pixels(600, 600), style="plain")
    with tifffile.TiffFile(path) as tif:
        width = tif.pages[0].tags["TileWidth"].valueoffset
    overwrite(path, width, bytes(2))
    with pytest.raises(SlideError, match="structure"):
        open_slide(path)


def test_an_image_without_a_side_is_no_scene(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for side in (320, 64):
            tif.write(coordinate_pixels(side, side), photometric="rgb", tile=(64, 64), metadata=None)
    with tifffile.TiffFile(path) as tif:
        overwrite(path, tif.pages[1].tags["ImageWidth"].valueoffset, bytes(4))
    with open_slide(path) as slide:
        assert slide.dimensions == (320, 320)


def test_a_text_in_place_of_the_colour_space_is_not_quoted(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", coordinate_pixels(600, 600), style="plain")
    with tifffile.TiffFile(path, mode="r+") as tif:
        for page in tif.pages:
            page.tags["PhotometricInterpretation"].overwrite(PATIENT, dtype=2)
    with pytest.raises(SlideError, match="8-bit RGB") as caught:
        open_slide(path)
    assert PATIENT not in str(caught.value)


def test_an_ome_image_without_a_side_is_refused(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.ome.tif", coordinate_pixels(600, 600))
    with tifffile.TiffFile(path) as tif:
        overwrite(path, tif.pages[0].tags["ImageWidth"].valueoffset, bytes(4))
    with pytest.raises(SlideError, match="structure"):
        open_slide(path)


@pytest.mark.parametrize("style", ["plain", "ome"])
def test_levels_that_a_cut_file_lost_are_told(tmp_path: Path, style: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    path = write_pyramid(tmp_path / "a.tif", noise, tile=128, factors=(2, 4), style=style)
    with tifffile.TiffFile(path) as tif:
        second = tif.series[0].levels[1].pages[0].offset
    reader = TiffReader(path)
    assert len(reader.levels) == 3 and reader.notes == ()
    reader.close()
    os.truncate(path, second if style == "plain" else second + 4)
    reader = TiffReader(path)
    assert len(reader.levels) == 1 and "levels may be missing" in reader.notes[0]
    np.testing.assert_array_equal(reader.read(0, 0, 0, 512, 512), noise)
    reader.close()


def test_a_program_without_a_log_hears_nothing_of_tifffile(tmp_path: Path) -> None:
    """In a process of its own: pytest keeps a log."""
    noise = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    path = write_pyramid(tmp_path / "a.tif", noise, tile=128, factors=(2, 4))
    with tifffile.TiffFile(path) as tif:
        os.truncate(path, tif.series[0].levels[1].pages[0].offset)
    code = (
        "import logging, pathlib, sys\n"
        "from lrmil.slides.readers.tiff import TiffReader\n"
        "from lrmil.slides.readers.tiff_completeness import is_whole_tiff\n"
        "assert logging.getLogger('tifffile').handlers == []\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "reader = TiffReader(path)\n"
        "assert 'levels may be missing' in reader.notes[0]\n"
        "reader.read(0, 0, 0, 512, 512)\n"
        "is_whole_tiff(path)\n"
        "assert logging.getLogger('tifffile').handlers == []\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


class TestWhileOpen:
    """What may happen to a file that is being read."""

    @pytest.mark.parametrize("layout", ["rows", "tiles"])
    def test_a_file_that_shrinks_is_an_error_and_kills_nothing(self, tmp_path: Path, layout: str) -> None:
        path = tmp_path / "a.tif"
        if layout == "rows":
            tifffile.imwrite(path, PIXELS, photometric="rgb")
        else:
            write_pyramid(path, PIXELS, compression=None, tile=128, factors=())
        reader = TiffReader(path)
        os.truncate(path, path.stat().st_size // 2)
        with pytest.raises(SlideError, match="lies beyond the end of the file"):
            reader.read(0, 450, 500, 20, 20)
        np.testing.assert_array_equal(reader.read(0, 0, 0, 20, 20), PIXELS[:20, :20])
        reader.close()

    @pytest.mark.skipif(os.name == "nt", reason="Windows does not delete a file in use")
    def test_a_file_that_is_deleted_reads_on(self, tmp_path: Path) -> None:
        reader = TiffReader(write_pyramid(tmp_path / "a.tif", PIXELS, tile=128, factors=()))
        (tmp_path / "a.tif").unlink()
        np.testing.assert_array_equal(reader.read(0, 300, 300, 100, 100), PIXELS[300:400, 300:400])
        reader.close()

    @pytest.mark.skipif(not hasattr(os, "pread"), reason="the system has no pread")
    def test_a_disk_error_is_told_and_not_remembered(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        reader = TiffReader(write_pyramid(tmp_path / "a.tif", PIXELS, tile=128, factors=()))
        with monkeypatch.context() as patch:
            patch.setattr(os, "pread", raising(OSError(5, "Input/output error")))
            with pytest.raises(SlideError, match=r"segment 6 of level 0: .*Input/output error"):
                reader.read(0, 130, 130, 8, 8)
        np.testing.assert_array_equal(reader.read(0, 130, 130, 8, 8), PIXELS[130:138, 130:138])
        reader.close()

    def test_want_of_memory_is_told_and_not_remembered(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write_pyramid(tmp_path / "a.tif", PIXELS, tile=128, factors=())
        reader, short_of_memory = reader_with_a_switch(path, raising(MemoryError()), monkeypatch)
        short_of_memory.set()
        with pytest.raises(SlideError, match="memory to decode segment"):
            reader.read(0, 130, 130, 8, 8)
        short_of_memory.clear()
        np.testing.assert_array_equal(reader.read(0, 130, 130, 8, 8), PIXELS[130:138, 130:138])
        reader.close()

    def test_damage_is_looked_for_once_and_before_anything_is_decoded(self, tmp_path: Path) -> None:
        path = write_pyramid(tmp_path / "a.tif", PIXELS, tile=128, factors=())
        offset, count = segment_of(path, 0, 6)
        overwrite(path, offset, b"x" * count)
        reader = TiffReader(path)
        with pytest.raises(SlideError, match="segment 6 of level 0 cannot be decoded"):
            reader.read(0, 128, 128, 8, 8)
        before = reader.bytes_read
        with pytest.raises(SlideError, match="segment 6 of level 0 cannot be decoded"):
            reader.read(0, 0, 0, 300, 300)
        assert reader.bytes_read == before
        reader.close()


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail
