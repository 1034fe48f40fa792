"""Holes of an incomplete copy are told from dark pixels, in plain and in compressed data."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from lrmil.errors import SlideError
from lrmil.slides.readers.missing_bytes import (
    MIN_MISSING_BYTES,
    ends_in_zeros,
    has_missing_bytes,
    has_missing_compressed_bytes,
)
from lrmil.slides.readers.tiff import TiffReader
from support.slides import overwrite, segment_of, write_pyramid

RANDOM = np.random.default_rng(0)
TISSUE = np.clip(ndimage.gaussian_filter(RANDOM.normal(150, 300, (520, 600, 3)), (1, 1, 0)), 1, 255).astype(np.uint8)
BLACK = np.clip(RANDOM.normal(5, 4, (520, 600, 3)), 0, 255).astype(np.uint8)  # felt pen: many single zeros, no long run


def punch(path: Path, index: int, where: str, length: int) -> None:
    """Put zeros at the begin, the middle or the end of a segment of level 0."""
    offset, count = segment_of(path, 0, index)
    start = {"begin": 0, "middle": (count - length) // 2, "end": count - length}[where]
    overwrite(path, offset + start, bytes(length))


def strip_file(path: Path, pixels: np.ndarray = TISSUE) -> Path:
    tifffile.imwrite(path, pixels, photometric="rgb", rowsperstrip=len(pixels))
    return path


class TestPlainTiles:
    @pytest.mark.parametrize("where", ["begin", "middle", "end"])
    def test_a_block_of_zeros_is_unreadable(self, tmp_path: Path, where: str) -> None:
        path = write_pyramid(tmp_path / "a.tif", TISSUE, factors=(), compression=None, tile=256)
        punch(path, 0, where, MIN_MISSING_BYTES)
        reader = TiffReader(path)
        with pytest.raises(SlideError, match=r"segment 0 of level 0 .*zero bytes"):
            reader.read(0, 0, 0, 8, 8)
        np.testing.assert_array_equal(reader.read(0, 0, 256, 256, 256), TISSUE[:256, 256:512])
        reader.close()

    def test_a_hole_across_two_tiles_spoils_both(self, tmp_path: Path) -> None:
        path = write_pyramid(tmp_path / "a.tif", TISSUE, factors=(), compression=None, tile=256)
        offset, _ = segment_of(path, 0, 1)
        overwrite(path, offset - MIN_MISSING_BYTES // 2, bytes(MIN_MISSING_BYTES))
        reader = TiffReader(path)
        for x in (0, 256):
            with pytest.raises(SlideError, match="zero bytes"):
                reader.read(0, 0, x, 8, 8)
        reader.close()

    def test_a_whole_tile_of_zeros_is_unreadable_also_at_the_edge(self, tmp_path: Path) -> None:
        path = write_pyramid(tmp_path / "a.tif", TISSUE, factors=(), compression=None, tile=256)
        punch(path, 8, "begin", segment_of(path, 0, 8)[1])  # 8 rows and 88 columns of it lie inside
        reader = TiffReader(path)
        with pytest.raises(SlideError, match="segment 8 of level 0"):
            reader.read(0, 515, 595, 2, 2)
        reader.close()

    def test_the_padding_of_edge_tiles_is_no_hole(self, tmp_path: Path) -> None:
        reader = TiffReader(write_pyramid(tmp_path / "a.tif", TISSUE, factors=(), compression=None, tile=256))
        np.testing.assert_array_equal(reader.read(0, 0, 0, 520, 600), TISSUE)
        reader.close()

    def test_black_pen_and_dust_are_pixels(self, tmp_path: Path) -> None:
        speck = TISSUE.copy()
        speck[100:180, 60:250] = 0
        for name, pixels in (("pen.tif", BLACK), ("speck.tif", speck)):
            reader = TiffReader(write_pyramid(tmp_path / name, pixels, factors=(), compression=None, tile=256))
            np.testing.assert_array_equal(reader.read(0, 0, 0, 520, 600), pixels)
            reader.close()


class TestPlainRows:
    def test_a_hole_spoils_the_rows_that_it_touches(self, tmp_path: Path) -> None:
        path = strip_file(tmp_path / "a.tif")
        offset, _ = segment_of(path, 0, 0)
        overwrite(
            path, offset + 100 * 1800 + 900, bytes(MIN_MISSING_BYTES)
        )  # columns 300 on of row 100 to 465 of row 102
        reader = TiffReader(path)
        for y, x in ((100, 290), (101, 0), (101, 599), (102, 465)):
            with pytest.raises(SlideError, match=rf"row {y} of level 0 .*zero bytes"):
                reader.read(0, y, x, 1, 1 if x > 300 else 30)
        np.testing.assert_array_equal(reader.read(0, 100, 0, 1, 300), TISSUE[100:101, :300])
        np.testing.assert_array_equal(reader.read(0, 102, 470, 50, 100), TISSUE[102:152, 470:570])
        with pytest.raises(SlideError, match="zero bytes"):
            reader.read(0, 90, 0, 20, 600)
        reader.close()

    def test_black_pen_and_dust_are_pixels(self, tmp_path: Path) -> None:
        speck = TISSUE.copy()
        speck[100:180, 60:550] = 0
        for name, pixels in (("pen.tif", BLACK), ("speck.tif", speck)):
            reader = TiffReader(strip_file(tmp_path / name, pixels))
            np.testing.assert_array_equal(reader.read(0, 90, 70, 60, 80), pixels[90:150, 70:150])
            np.testing.assert_array_equal(reader.read(0, 0, 0, 520, 600), pixels)
            reader.close()


class TestCompressed:
    @pytest.mark.parametrize("where", ["begin", "middle", "end"])
    @pytest.mark.parametrize("compression", ["jpeg", "jpeg2000", "webp", "deflate", "lzw", "zstd", "packbits"])
    def test_a_block_of_zeros_is_never_painted_over(self, tmp_path: Path, compression: str, where: str) -> None:
        path = write_pyramid(tmp_path / "a.tif", TISSUE, factors=(), compression=compression, tile=256)
        punch(path, 0, where, MIN_MISSING_BYTES)
        reader = TiffReader(path)
        with pytest.raises(SlideError, match="segment 0 of level 0"):
            reader.read(0, 0, 0, 8, 8)
        reader.read(0, 0, 256, 256, 256)
        reader.close()

    @pytest.mark.parametrize("compression", ["jpeg2000", "webp", "packbits"])
    def test_a_short_end_is_missed_too(self, tmp_path: Path, compression: str) -> None:
        path = write_pyramid(tmp_path / "a.tif", TISSUE, factors=(), compression=compression, tile=256)
        punch(path, 0, "end", 100)
        reader = TiffReader(path)
        with pytest.raises(SlideError, match="segment 0 of level 0"):
            reader.read(0, 0, 0, 8, 8)
        reader.close()

    @pytest.mark.parametrize("compression", ["jpeg", "jpeg2000", "webp", "deflate", "lzw", "zstd", "packbits"])
    @pytest.mark.parametrize("value", [0, 128, 255])
    def test_an_image_of_one_colour_is_none(self, tmp_path: Path, compression: str, value: int) -> None:
        flat = np.full((1024, 1024, 3), value, np.uint8)
        path = write_pyramid(tmp_path / "a.tif", flat, factors=(), compression=compression, tile=1024)
        reader = TiffReader(path)
        assert np.abs(reader.read(0, 0, 0, 1024, 1024).astype(int) - value).max() <= 1
        reader.close()


class TestWebp:
    @pytest.mark.parametrize("side", [1024, 2048])
    @pytest.mark.parametrize("value", [255, 244, 0])
    @pytest.mark.parametrize("method", [0, 4])
    def test_glass_ends_in_zeros_and_is_no_hole(self, tmp_path: Path, side: int, value: int, method: int) -> None:
        tile = np.full((side, side, 3), value, np.uint8)
        tile[:128, :128] = TISSUE[:128, :128]
        tile[:, side // 2] = 128  # an edge of a cover slip
        data = io.BytesIO()
        Image.fromarray(tile).save(data, "WEBP", quality=75, method=method)
        assert method == 0 or ends_in_zeros(data.getvalue())
        reader = TiffReader(webp_file(tmp_path / "a.tif", data.getvalue(), side))
        assert np.abs(reader.read(0, 0, 0, side, side).astype(int) - tile).mean() < 2
        reader.close()

    @pytest.mark.parametrize("lost", [100, 500, 2000])
    def test_tissue_that_ends_in_zeros_is_torn(self, tmp_path: Path, lost: int) -> None:
        data = io.BytesIO()
        Image.fromarray(TISSUE[:512, :512]).save(data, "WEBP", quality=75)
        torn = data.getvalue()[:-lost] + bytes(lost)
        with pytest.raises(SlideError, match="zero bytes"):
            TiffReader(webp_file(tmp_path / "a.tif", torn, 512))

    def test_a_hole_within_a_large_tile_is_seen(self, tmp_path: Path) -> None:
        data = io.BytesIO()
        Image.fromarray(np.tile(TISSUE[:512, :512], (2, 2, 1))).save(data, "WEBP", quality=90)
        whole, middle = data.getvalue(), len(data.getvalue()) // 2
        holed = whole[:middle] + bytes(2 * MIN_MISSING_BYTES) + whole[middle + 2 * MIN_MISSING_BYTES :]
        with pytest.raises(SlideError, match="zero bytes"):
            TiffReader(webp_file(tmp_path / "a.tif", holed, 1024))


def webp_file(path: Path, tile: bytes, side: int) -> Path:
    options = {"photometric": "rgb", "compression": "webp", "tile": (side, side), "metadata": None}
    tifffile.imwrite(path, iter([tile]), shape=(side, side, 3), dtype="uint8", **options)
    return path


def test_black_areas_that_deflate_stores_plainly_are_pixels(tmp_path: Path) -> None:
    speck = TISSUE.copy()
    speck[100:300, 60:550] = 0
    path = tmp_path / "a.tif"
    options = {"photometric": "rgb", "tile": (256, 256), "compression": "deflate", "compressionargs": {"level": 0}}
    tifffile.imwrite(path, speck, **options)
    assert bytes(MIN_MISSING_BYTES) in path.read_bytes()
    reader = TiffReader(path)
    np.testing.assert_array_equal(reader.read(0, 0, 0, 520, 600), speck)
    reader.close()
    punch(path, 0, "middle", 64)
    reader = TiffReader(path)
    with pytest.raises(SlideError, match="segment 0 of level 0 cannot be decoded"):
        reader.read(0, 0, 0, 8, 8)
    reader.close()


def test_rules() -> None:
    pixels = np.ones((64, 64, 3), np.uint8)
    assert not has_missing_bytes(pixels.tobytes(), pixels)
    assert has_missing_bytes(bytes(MIN_MISSING_BYTES), pixels) and not has_missing_bytes(
        bytes(MIN_MISSING_BYTES - 1), pixels
    )
    assert has_missing_compressed_bytes(b"x" + bytes(MIN_MISSING_BYTES), 256**2)
    assert not has_missing_compressed_bytes(b"x" + bytes(MIN_MISSING_BYTES), 1024**2), (
        "a large JPEG of one colour may have as many"
    )
    assert ends_in_zeros(b"x" + bytes(64)) and not ends_in_zeros(bytes(63) + b"x") and not ends_in_zeros(bytes(64))
