"""OME-Zarr slides: 0.4 and 0.5 give the pixels that were written, and what is missing is never taken for black."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr

from lrmil.errors import SlideError
from lrmil.slides.opening import open_slide
from lrmil.slides.readers.ome_zarr import OmeZarrReader
from support.slides import coordinate_pixels, shrink, write_ome_zarr_slide

PIXELS = coordinate_pixels(300, 410)


class TestPixels:
    @pytest.mark.parametrize("version", ["0.4", "0.5"])
    @pytest.mark.parametrize("axes", ["cyx", "tczyx", "yxc", "czyx"])
    def test_levels_are_exact_whatever_the_order_of_the_axes(self, tmp_path: Path, version: str, axes: str) -> None:
        path = write_ome_zarr_slide(tmp_path / "a.ome.zarr", PIXELS, version=version, axes=axes, factors=(2, 4))
        with open_slide(path) as slide:
            assert [level.shape for level in slide.levels] == [(300, 410), (150, 205), (75, 102)]
            assert [level.downsample for level in slide.levels] == [1, 2, 4] and slide.levels[0].tile == (64, 64)
            assert (slide.mpp, slide.mpp_source, slide.slide_id) == (0.5, "OME-Zarr scale", "a")
            assert (slide.reader_name, slide.bytes_read, slide.notes) == ("zarr", None, ())
            np.testing.assert_array_equal(slide.read_region((50, 60), (150, 170), 0.5), PIXELS[50:200, 60:230])
            np.testing.assert_array_equal(slide.read_region((40, 80), (50, 60), 2.0), shrink(PIXELS, 4)[10:60, 20:80])
            np.testing.assert_array_equal(slide.pyramid()[1].compute(), shrink(PIXELS, 2))

    @pytest.mark.parametrize("compressor", ["none", "zlib", "lz4"])
    def test_other_codecs(self, tmp_path: Path, compressor: str) -> None:
        import numcodecs

        path = write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS, factors=())
        shutil.rmtree(path / "0")
        codec = {"none": None, "zlib": numcodecs.Zlib(), "lz4": numcodecs.LZ4()}[compressor]
        array = zarr.create_array(
            path / "0", shape=(3, 300, 410), chunks=(3, 90, 100), dtype="u1", zarr_format=2, compressors=codec
        )
        array[...] = PIXELS.transpose(2, 0, 1)
        reader = OmeZarrReader(path)
        np.testing.assert_array_equal(reader.read(0, 0, 0, 300, 410), PIXELS)

    def test_threads_read_the_same_as_one(self, tmp_path: Path) -> None:
        reader = OmeZarrReader(write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS, version="0.5"))
        corners = [(int(y), int(x)) for y, x in np.random.default_rng(0).integers(0, 250, (60, 2))]
        with ThreadPoolExecutor(8) as pool:
            read = list(pool.map(lambda corner: reader.read(0, *corner, 50, 50), corners))
        for (y, x), got in zip(corners, read, strict=True):
            np.testing.assert_array_equal(got, PIXELS[y : y + 50, x : x + 50])

    def test_nothing_is_read_outside_or_after_close(self, tmp_path: Path) -> None:
        reader = OmeZarrReader(write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS))
        with pytest.raises(ValueError, match="inside level 0"):
            reader.read(0, 290, 0, 20, 20)
        reader.close()
        with pytest.raises(SlideError, match="closed"):
            reader.read(0, 0, 0, 2, 2)


class TestDamage:
    @pytest.mark.parametrize("version", ["0.4", "0.5"])
    def test_a_missing_chunk_is_unreadable_and_the_rest_reads(self, tmp_path: Path, version: str) -> None:
        path = write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS, version=version)
        (path / ("0/2.1.1" if version == "0.4" else "0/c/2/1/1")).unlink()  # the blue channel's, 64 to 128 px
        reader = OmeZarrReader(path)
        with pytest.raises(SlideError, match=r"a chunk is missing at level 0, y=100 x=100"):
            reader.read(0, 100, 100, 1, 1)
        with pytest.raises(SlideError, match="a chunk is missing"):
            reader.read(0, 0, 0, 300, 410)
        np.testing.assert_array_equal(reader.read(0, 128, 0, 172, 410), PIXELS[128:])

    def test_a_missing_chunk_of_a_shard(self, tmp_path: Path) -> None:
        black = PIXELS.copy()
        black[64:128, 64:128] = 0  # zarr leaves out chunks that equal the fill value
        path = write_ome_zarr_slide(tmp_path / "a.zarr", black, version="0.5", shards=True, factors=())
        reader = OmeZarrReader(path)
        assert reader.levels[0].tile == (64, 64)
        with pytest.raises(SlideError, match="a chunk is missing"):
            reader.read(0, 70, 70, 10, 10)
        np.testing.assert_array_equal(reader.read(0, 0, 0, 64, 410), PIXELS[:64])

    def test_black_that_was_stored_is_black(self, tmp_path: Path) -> None:
        black = PIXELS.copy()
        black[50:60, 50:60] = 0
        reader = OmeZarrReader(write_ome_zarr_slide(tmp_path / "a.zarr", black))
        np.testing.assert_array_equal(reader.read(0, 40, 40, 40, 40), black[40:80, 40:80])

    @pytest.mark.parametrize("version", ["0.4", "0.5"])
    @pytest.mark.parametrize("keep", [0, 10])
    def test_a_cut_chunk_is_unreadable(self, tmp_path: Path, version: str, keep: int) -> None:
        path = write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS, version=version)
        chunk = path / ("0/0.1.1" if version == "0.4" else "0/c/0/1/1")
        chunk.write_bytes(chunk.read_bytes()[:keep])
        with pytest.raises(SlideError, match=r"zarr failed at level 0|a chunk is missing at level 0"):
            OmeZarrReader(path).read(0, 100, 100, 1, 1)

    def test_a_picture_without_chunks_does_not_open(self, tmp_path: Path) -> None:
        path = write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS, version="0.5")
        for level in "012":
            shutil.rmtree(path / level / "c")
        with pytest.raises(SlideError, match="a chunk is missing"):
            open_slide(path)

    def test_the_fingerprint_follows_a_chunk(self, tmp_path: Path) -> None:
        path = write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS)
        prints = set()
        for change in (lambda: None, lambda: (path / "0/0.0.0").unlink(), lambda: (path / "1/0.0.0").write_bytes(b"x")):
            change()
            with open_slide(path) as slide:
                prints.add(slide.fingerprint)
        assert len(prints) == 3
