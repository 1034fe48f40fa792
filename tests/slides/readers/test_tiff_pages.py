"""TIFF slides as labs have them: each compression and layout reads, the scene is said, what is no RGB is refused."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import ImageCms

from lrmil.errors import SlideError
from lrmil.slides.opening import open_slide
from lrmil.slides.readers.tiff import TiffReader
from lrmil.slides.readers.tiff_pages import NeedsOpenSlide
from support.slides import coordinate_pixels, segment_of, shrink, write_pyramid

PIXELS = coordinate_pixels(384, 512)
SMALL = np.ascontiguousarray(PIXELS[:64, :64])
NOISE = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
EXACT = [None, "lzw", "deflate", "zstd", "packbits", "jpeg2000", "webp"]


class TestCompressions:
    @pytest.mark.parametrize("compression", [*EXACT, "jpeg"])
    @pytest.mark.parametrize(("layout", "big"), list(product(["tiles", "strips"], [False, True])))
    def test_every_layout_gives_what_was_written(
        self, tmp_path: Path, compression: str | None, layout: str, big: bool
    ) -> None:
        kept: dict[str, object] = {"tile": (64, 64)} if layout == "tiles" else {"rowsperstrip": 32}
        level = {"jpeg": {"level": 95}, "webp": {"lossless": True}}.get(str(compression))
        kept |= {"compression": compression, "photometric": "rgb", "compressionargs": level}
        with tifffile.TiffWriter(tmp_path / "a.ome.btf", bigtiff=big, ome=True) as tif:
            tif.write(PIXELS, subifds=1, metadata={"axes": "YXS"}, **kept)
            tif.write(shrink(PIXELS, 2), subfiletype=1, **kept)
        reader = TiffReader(tmp_path / "a.ome.btf")
        assert [level.shape for level in reader.levels] == [(384, 512), (192, 256)]
        tolerance = 12 if compression == "jpeg" else 0
        for index, expected in enumerate((PIXELS, shrink(PIXELS, 2))):
            got = reader.read(index, 0, 0, *expected.shape[:2])
            assert np.abs(got.astype(int) - expected).max() <= tolerance
        reader.close()

    def test_big_endian(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "a.tif", NOISE, byteorder=">", photometric="rgb", compression="lzw", tile=(64, 64))
        np.testing.assert_array_equal(TiffReader(tmp_path / "a.tif").read(0, 0, 0, 256, 256), NOISE)


class TestColours:
    def test_opaque_alpha_is_left_out_and_said(self, tmp_path: Path) -> None:
        rgba = np.dstack([NOISE, np.full(NOISE.shape[:2], 255, np.uint8)])
        for compression in (None, "deflate"):
            path = tmp_path / f"{compression}.tif"
            options = {"tile": (64, 64), "compression": compression, "extrasamples": ["unassalpha"]}
            tifffile.imwrite(path, rgba, photometric="rgb", **options)
            with open_slide(path, 0.5) as slide:
                np.testing.assert_array_equal(slide.read_region((3, 5), (200, 200), 0.5), NOISE[3:203, 5:205])
                assert "alpha channel" in slide.notes[0]

    @pytest.mark.parametrize("compression", [None, "deflate", "lzw", "jpeg2000"])
    def test_padding_of_tiles_need_not_be_opaque(self, tmp_path: Path, compression: str | None) -> None:
        pixels = NOISE[:200, :250]
        rgba = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
        options = {"tile": (64, 64), "compression": compression, "extrasamples": ["unassalpha"]}
        tifffile.imwrite(tmp_path / "a.tif", rgba, photometric="rgb", **options)
        with open_slide(tmp_path / "a.tif", 0.5) as slide:
            np.testing.assert_array_equal(slide.read_region((0, 0), (200, 250), 0.5), pixels)

    def test_transparent_pixels_are_no_colours(self, tmp_path: Path) -> None:
        rgba = np.dstack([NOISE, np.full(NOISE.shape[:2], 255, np.uint8)])
        rgba[100, 100, 3] = 0
        tifffile.imwrite(tmp_path / "a.tif", rgba, photometric="rgb", tile=(64, 64), extrasamples=["unassalpha"])
        reader = TiffReader(tmp_path / "a.tif")
        with pytest.raises(SlideError, match=r"segment 5 of level 0 .*transparent pixels"):
            reader.read(0, 64, 64, 4, 4)
        np.testing.assert_array_equal(reader.read(0, 0, 0, 64, 256), NOISE[:64])
        reader.close()

    @pytest.mark.parametrize(
        ("pixels", "options"),
        [
            (NOISE[..., 0], {}),
            (NOISE.astype(np.uint16), {"photometric": "rgb"}),
            (NOISE.astype(np.float32), {"photometric": "rgb"}),
            (NOISE.transpose(2, 0, 1), {"photometric": "rgb", "planarconfig": "separate"}),
            (np.zeros((5, 64, 64), np.uint8), {"photometric": "minisblack"}),
            (np.zeros((64, 64, 4), np.uint8), {"photometric": "separated"}),
            (NOISE[..., 0], {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)}),
        ],
        ids=["grey", "16 bit", "float", "planar", "multichannel", "CMYK", "palette"],
    )
    def test_others_are_refused_with_a_sentence(
        self, tmp_path: Path, pixels: np.ndarray, options: dict[str, object]
    ) -> None:
        tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
        with pytest.raises(SlideError, match=r"8-bit RGB brightfield slide in .*a\.tif\. Got "):
            open_slide(tmp_path / "a.tif")

    def test_fluorescence_of_hamamatsu_is_refused(self, shared: Path) -> None:
        with pytest.raises(SlideError, match=r"fluorescence \(DAPI 2 \(387\)\)"):
            open_slide(shared / "data/slides/other/hamamatsu_test3-DAPI-2_387.ndpi")

    def test_a_colour_profile_is_said_and_not_applied(self, tmp_path: Path) -> None:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        tifffile.imwrite(tmp_path / "a.tif", NOISE, photometric="rgb", iccprofile=profile, tile=(64, 64))
        with open_slide(tmp_path / "a.tif", 0.5) as slide:
            assert slide.notes == (
                "The file has an ICC colour profile. It is not applied; colours are read as stored.",
            )
            np.testing.assert_array_equal(slide.read_region((0, 0), (256, 256), 0.5), NOISE)


class TestScenes:
    def test_the_largest_of_several_is_read_and_said(self, tmp_path: Path) -> None:
        options = {"photometric": "rgb", "tile": (64, 64), "compression": "deflate"}
        with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tif:
            for pixels, name, mpp in ((SMALL, "one", 9.0), (NOISE, "two", 0.5), (SMALL, "Label image", 9.0)):
                sizes = {f"PhysicalSize{axis}": mpp for axis in "XY"}
                tif.write(pixels, metadata={"axes": "YXS", "Name": name, **sizes}, **options)
        with open_slide(tmp_path / "a.ome.tif") as slide:
            assert (slide.dimensions, slide.mpp) == ((256, 256), 0.5)
            assert slide.notes == ("The file has 2 scenes. Only the largest is read: scene 2 of 2.",)

    @pytest.mark.parametrize("style", ["ome", "aperio", "plain"])
    def test_levels_thumbnails_and_unmarked_copies_are_no_scenes(self, tmp_path: Path, style: str) -> None:
        path = write_pyramid(tmp_path / ("a.svs" if style == "aperio" else "a.tif"), PIXELS, style=style, factors=(2,))
        assert TiffReader(path).notes == ()
        with tifffile.TiffWriter(tmp_path / "unmarked.tif") as tif:
            for level in (PIXELS, shrink(PIXELS, 2)):
                tif.write(level, photometric="rgb", metadata=None)
        assert TiffReader(tmp_path / "unmarked.tif").notes == ()


@pytest.mark.parametrize("software", ["MedScan 1.0", "Philips DP v1.0", "Ventana"])
def test_tiffs_that_tifffile_reads_in_part_go_to_openslide(tmp_path: Path, software: str) -> None:
    description = "<DataObject></DataObject>" if software.startswith("Philips") else "Label Image"
    tifffile.imwrite(
        tmp_path / "a.tif",
        NOISE,
        photometric="rgb",
        tile=(64, 64),
        software=software,
        description=description,
        metadata=None,
        extratags=[(700, "B", 4, b"<x/>", True)],
    )
    with pytest.raises(NeedsOpenSlide):
        TiffReader(tmp_path / "a.tif")


def test_damage_of_a_webp_tile_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, NOISE, photometric="rgb", tile=(64, 64), compression="webp")
    offset, count = segment_of(path, 0, 5)
    data = path.read_bytes()
    path.write_bytes(data[:offset] + bytes(count) + data[offset + count :])
    reader = TiffReader(path)
    with pytest.raises(SlideError, match="segment 5 of level 0"):
        reader.read(0, 64, 64, 4, 4)
    reader.close()
