"""PNG and JPEG pictures as slides of one level: exact pixels, no resolution of their own, and nothing odd let in."""

from contextlib import closing
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

import lrmil.slides.readers.image
from lrmil.demo.synthetic import make_slide
from lrmil.errors import ResolutionError, SlideError
from lrmil.io.ownership import PNG_MARK
from lrmil.slides.discovery import find_slides
from lrmil.slides.opening import open_slide
from lrmil.slides.readers.choice import open_reader
from lrmil.slides.readers.image import FlatReader
from lrmil.slides.readers.missing_bytes import has_missing_jpeg_bytes
from lrmil.slides.source import slide_id_of
from support.slides import coordinate_pixels, write_pyramid

PIXELS = coordinate_pixels(300, 410)
NOISE = np.random.default_rng(0).integers(0, 256, (60, 70, 3), np.uint8)


def test_a_png_is_exact_and_needs_its_resolution(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path, dpi=(50_800, 50_800))  # would be 0.5 um/px
    with open_slide(path) as slide:
        assert (slide.slide_id, slide.reader_name, slide.dimensions) == ("a", "pillow", (410, 300))
        assert len(slide.levels) == 1 and slide.notes == () and slide.bytes_read == path.stat().st_size
        with pytest.raises(ResolutionError, match="um/px of the slide is unknown"):
            _ = slide.mpp
        np.testing.assert_array_equal(slide.pyramid()[0].compute(), PIXELS)
    with open_slide(path, 0.5) as slide:
        np.testing.assert_array_equal(slide.read_region((10, 20), (30, 40), 0.5), PIXELS[10:40, 20:60])
        assert slide.read_region((10, 20), (30, 40), 2.0).shape == (30, 40, 3)
        assert slide.fingerprint != ""


def test_a_jpeg_is_what_its_decoder_gives(tmp_path: Path) -> None:
    path = tmp_path / "a.JPG"
    Image.fromarray(PIXELS).save(path, format="JPEG", quality=95, dpi=(50_800, 50_800))
    with open_slide(path, 0.5) as slide:
        got = slide.read_region((0, 0), (300, 410), 0.5)
    with closing(open_reader(path)) as reader, pytest.raises(ValueError, match="inside level 0"):
        reader.read(0, 290, 0, 20, 20)
    np.testing.assert_array_equal(got, np.asarray(Image.open(path)))
    assert np.abs(got.astype(int) - PIXELS).max() <= 8


def test_what_the_bytes_say_counts_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(PIXELS).save(path, format="PNG")
    with open_slide(path) as slide:
        assert slide.reader_name == "pillow"


def test_opaque_alpha_is_left_out_and_said(tmp_path: Path) -> None:
    rgba = np.dstack([NOISE, np.full(NOISE.shape[:2], 255, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "a.png")
    reader = FlatReader(tmp_path / "a.png")
    np.testing.assert_array_equal(reader.read(0, 0, 0, 60, 70), NOISE)
    assert reader.notes == ("The file has an alpha channel that is opaque everywhere; it is ignored.",)
    rgba[59, 69, 3] = 254
    Image.fromarray(rgba).save(tmp_path / "a.png")
    with pytest.raises(SlideError, match=r"8-bit RGB brightfield.*transparent pixels"):
        FlatReader(tmp_path / "a.png")


def test_a_colour_profile_is_said(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for name in ("a.png", "a.jpg"):
        Image.fromarray(NOISE).save(tmp_path / name, icc_profile=profile)
        assert "ICC colour profile" in FlatReader(tmp_path / name).notes[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [("grey", "mode L"), ("palette", "mode P"), ("16 bit", "16 bits"), ("16 bit alpha", "16 bits"), ("key", "colour")],
)
def test_other_pngs_are_refused(tmp_path: Path, name: str, message: str) -> None:
    path, wide = tmp_path / "a.png", NOISE.astype(np.uint16) * 257
    if name == "16 bit":
        path.write_bytes(imagecodecs.png_encode(wide))
    elif name == "16 bit alpha":
        path.write_bytes(imagecodecs.png_encode(np.dstack([wide, wide[..., :1]])))
    elif name == "key":
        Image.fromarray(NOISE).save(path, transparency=(1, 2, 3))
    else:
        Image.fromarray(NOISE).convert({"grey": "L", "palette": "P"}[name]).save(path)
    with pytest.raises(SlideError, match=f"8-bit RGB brightfield.*{message}"):
        open_slide(path)


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_other_jpegs_are_refused(tmp_path: Path, mode: str) -> None:
    Image.fromarray(NOISE).convert(mode).save(tmp_path / "a.jpg")
    with pytest.raises(SlideError, match=f"8-bit RGB brightfield.*mode {mode}"):
        open_slide(tmp_path / "a.jpg")


def test_an_animation_is_refused(tmp_path: Path) -> None:
    first, second = Image.fromarray(NOISE), Image.fromarray(255 - NOISE)
    first.save(tmp_path / "a.png", save_all=True, append_images=[second])
    with pytest.raises(SlideError, match="2 images in one file"):
        open_slide(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.98])
def test_a_cut_picture_does_not_open(tmp_path: Path, suffix: str, part: float) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(NOISE).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    with pytest.raises(SlideError, match="cannot be decoded"):
        open_slide(path)


@pytest.mark.parametrize("count", [512, 4096, 20_000])
@pytest.mark.parametrize("options", [{}, {"quality": 30}, {"subsampling": 0}, {"restart_marker_rows": 1}])
def test_zeros_within_a_jpeg_are_a_hole(tmp_path: Path, count: int, options: dict[str, int]) -> None:
    """A decoder would give other pixels to the end of the picture, without a word."""
    tissue = make_slide("negative", seed=1, size=1024).pixels
    Image.fromarray(tissue).save(tmp_path / "a.jpg", **options)
    data = bytearray((tmp_path / "a.jpg").read_bytes())
    FlatReader(tmp_path / "a.jpg")
    start = len(data) // 2
    data[start : start + count] = bytes(count)
    (tmp_path / "a.jpg").write_bytes(data)
    with Image.open(tmp_path / "a.jpg") as image:
        assert (np.asarray(image) != tissue).any()  # it decodes
    with pytest.raises(SlideError, match="long run of zero bytes"):
        open_slide(tmp_path / "a.jpg", mpp=1.0)


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"quality": 1}])
def test_a_jpeg_of_much_glass_has_no_hole(tmp_path: Path, options: dict[str, int]) -> None:
    """Of one colour it is coded with few bits, with optimised tables in zeros alone."""
    tissue = make_slide("negative", seed=1, size=1024).pixels
    glass = np.full((4096, 1024, 3), 243, np.uint8)
    Image.fromarray(np.concatenate([glass, tissue, glass])).save(tmp_path / "a.jpg", **options)
    with open_slide(tmp_path / "a.jpg", mpp=1.0) as slide:
        assert slide.dimensions == (1024, 9216)


@given(st.binary(max_size=300), st.integers(1, 10**6))
def test_whatever_follows_the_mark_of_a_jpeg_has_a_hole_or_none(data: bytes, area: int) -> None:
    assert has_missing_jpeg_bytes(b"\xff\xd8" + data, area) in (True, False)


def test_one_flipped_bit_of_a_png_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(NOISE).save(path)
    whole = path.read_bytes()
    for place in range(8, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(SlideError):
            FlatReader(path)


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(NOISE).save(tmp_path / "a.png")
    monkeypatch.setattr(lrmil.slides.readers.image, "MAX_PIXELS", 4000)
    with pytest.raises(SlideError, match=r"70 x 60\. Convert it to a tiled pyramid"):
        open_slide(tmp_path / "a.png")


def test_the_limit_of_other_code_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(NOISE).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Image.open would raise
    assert FlatReader(tmp_path / "a.png").levels[0].shape == (60, 70)


def test_pictures_count_only_where_there_are_no_slides(tmp_path: Path) -> None:
    for name in ("b.png", "deep/a.jpeg", ".c.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_slides(tmp_path) == [tmp_path / "b.png", tmp_path / "deep/a.jpeg"]
    write_pyramid(tmp_path / "deep/s.btf", PIXELS)
    assert find_slides(tmp_path) == [tmp_path / "deep/s.btf"]
    assert find_slides(tmp_path / "b.png") == [tmp_path / "b.png"] and slide_id_of("x/b.png") == "b"


def test_overlays_among_pictures_are_no_slides(tmp_path: Path) -> None:
    mark = PngInfo()
    mark.add_text(*PNG_MARK)
    Image.fromarray(NOISE).save(tmp_path / "a.jpg")
    Image.fromarray(NOISE).save(tmp_path / "a.png", pnginfo=mark)
    Image.fromarray(NOISE).save(tmp_path / "b.png")
    assert find_slides(tmp_path) == [tmp_path / "a.jpg", tmp_path / "b.png"]


def test_nothing_is_read_after_close(tmp_path: Path) -> None:
    Image.fromarray(NOISE).save(tmp_path / "a.png")
    reader = FlatReader(tmp_path / "a.png")
    reader.close()
    with pytest.raises(SlideError, match="closed"):
        reader.read(0, 0, 0, 5, 5)
