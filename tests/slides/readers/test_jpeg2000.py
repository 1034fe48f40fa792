"""JPEG 2000 in TIFFs, under every number that writers use: its colours are those that were written."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lrmil.slides.opening import open_slide
from lrmil.slides.readers.jpeg2000 import Colours, read_colours, ycbcr_to_rgb
from lrmil.slides.readers.openslide import OpenSlideReader
from lrmil.slides.readers.tiff import TiffReader
from lrmil.slides.readers.tiff_pages import NeedsOpenSlide
from support.slides import coordinate_pixels, segment_of, shrink

PIXELS = coordinate_pixels(384, 512)
YCBCR = np.asarray(Image.fromarray(PIXELS).convert("YCbCr"))
NUMBERS = (34712, 33003, 33004, 33005)
APERIO = "Aperio Image Library v12.0.0\r\n512x384 [0,0 512x384] (128x128) J2K|MPP = 0.5"


def write(
    path: Path,
    number: int,
    stored: np.ndarray,
    *,
    mct: bool,
    aperio: bool = False,
    photometric: int = 2,
    levels: int = 1,
) -> Path:
    """Write without loss, then state another number of compression and another colour space."""
    options = {"tile": (128, 128), "compression": "jpeg2000", "photometric": "rgb"}
    options["compressionargs"] = {"mct": mct, "reversible": True}
    about = {"description": APERIO, "metadata": None} if aperio else {"metadata": {"axes": "YXS"}}
    with tifffile.TiffWriter(path, ome=not aperio) as tif:
        tif.write(stored, **about, **options)
    with tifffile.TiffFile(path, mode="r+") as opened:
        opened.pages[0].tags["Compression"].overwrite(number)
        opened.pages[0].tags["PhotometricInterpretation"].overwrite(photometric)
    return path


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("mct", [True, False])
def test_rgb_outside_aperio_s_files_is_what_was_written(tmp_path: Path, number: int, mct: bool) -> None:
    with open_slide(write(tmp_path / "a.ome.tif", number, PIXELS, mct=mct), 0.5) as slide:
        assert slide.reader_name == "tifffile"
        np.testing.assert_array_equal(slide.read_region((0, 0), (384, 512), 0.5), PIXELS)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_codestream_that_decoders_turn_into_rgb_is_not_turned_again(tmp_path: Path, number: int) -> None:
    """Writers state YCbCr for the file, where only the codestream has it."""
    with open_slide(write(tmp_path / "a.ome.tif", number, PIXELS, mct=True, photometric=6), 0.5) as slide:
        np.testing.assert_array_equal(slide.read_region((0, 0), (384, 512), 0.5), PIXELS)


@pytest.mark.parametrize("number", NUMBERS)
def test_ycbcr_that_the_file_states_is_converted(tmp_path: Path, number: int) -> None:
    with open_slide(write(tmp_path / "a.ome.tif", number, YCBCR, mct=False, photometric=6), 0.5) as slide:
        got = slide.read_region((0, 0), (384, 512), 0.5)
    assert np.abs(got.astype(int) - PIXELS).max() <= 3


@pytest.mark.parametrize(
    ("number", "stored", "mct"),
    [(33003, YCBCR, False), (33005, PIXELS, False), (33005, PIXELS, True), (33003, PIXELS, True)],
)
def test_aperio_s_numbers_have_their_meaning_in_its_files(
    tmp_path: Path, number: int, stored: np.ndarray, mct: bool
) -> None:
    path = write(tmp_path / "a.svs", number, stored, mct=mct, aperio=True)
    with open_slide(path) as slide:
        assert (slide.reader_name, slide.mpp_source) == ("tifffile", "aperio MPP")
        got = slide.read_region((0, 0), (384, 512), 0.5)
    assert np.abs(got.astype(int) - PIXELS).max() <= (3 if stored is YCBCR else 0)
    if not mct:  # OpenSlide converts every 33003
        other = OpenSlideReader(path)
        assert np.abs(got.astype(int) - other.read(0, 0, 0, 384, 512)).max() <= 1
        other.close()


def test_subsampled_colours_of_aperio_go_to_openslide(tmp_path: Path) -> None:
    path = write(tmp_path / "a.svs", 33003, YCBCR, mct=False, aperio=True)
    offset, _ = segment_of(path, 0, 0)
    data = bytearray(path.read_bytes())
    place = data.index(b"\xff\x51", offset) + 40 + 3  # the second component: depth, and its steps in x and y
    assert data[place : place + 3] == b"\x07\x01\x01"
    data[place + 1] = data[place + 4] = 2
    path.write_bytes(data)
    with pytest.raises(NeedsOpenSlide, match="subsampled"):
        TiffReader(path)


def test_levels_of_a_factor_that_is_not_whole_are_exact(tmp_path: Path) -> None:
    """OpenSlide counts in pixels of level 0, and would move and smooth such levels by part of a pixel."""
    path, second = tmp_path / "a.svs", np.asarray(Image.fromarray(PIXELS).resize((205, 154)))
    options = {"tile": (128, 128), "compression": "jpeg2000", "photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(path) as tif:
        tif.write(PIXELS, description=APERIO, **options)
        tif.write(shrink(PIXELS, 8), description="Aperio\r\nthumbnail", photometric="rgb", metadata=None)
        tif.write(second, description=APERIO, **options)
    with tifffile.TiffFile(path, mode="r+") as opened:
        for page in (opened.pages[0], opened.pages[2]):
            page.tags["Compression"].overwrite(33005)
    reader = TiffReader(path)
    np.testing.assert_array_equal(reader.read(1, 17, 33, 100, 150), second[17:117, 33:183])
    reader.close()


class TestHeader:
    @pytest.mark.parametrize("codecformat", ["j2k", "jp2"])
    @pytest.mark.parametrize("mct", [True, False])
    def test_what_it_says(self, codecformat: str, mct: bool) -> None:
        data = imagecodecs.jpeg2k_encode(PIXELS, mct=mct, codecformat=codecformat)
        assert read_colours(data) == Colours(transformed=mct, subsampled=False)
        assert read_colours(data[:100]) is None or codecformat == "j2k"

    @given(st.binary(max_size=80), st.integers(0, 200))
    def test_any_bytes_are_colours_or_none(self, noise: bytes, cut: int) -> None:
        assert read_colours(noise) is None
        read_colours(b"\xff\x4f\xff\x51" + noise)
        read_colours(imagecodecs.jpeg2k_encode(PIXELS[:16, :16])[:cut] + noise)


def test_conversion_is_that_of_jpeg() -> None:
    levels = np.array([0, 1, 77, 128, 200, 255])
    y, cb, cr = (one.ravel().astype(float) for one in np.meshgrid(levels, levels, levels))
    expected = [y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)]
    got = ycbcr_to_rgb(np.stack([y, cb, cr], 1).astype(np.uint8)[None])
    assert np.abs(got[0] - np.clip(np.stack(expected, 1), 0, 255)).max() <= 1
