"""Slides whose metadata are of another picture, of several objectives, or in odd units: from the file to the um/px."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from lrmil.errors import ResolutionError
from lrmil.patches.inspection import inspect_slide
from lrmil.slides.opening import open_slide
from lrmil.slides.source import SlideSource
from support.slides import coordinate_pixels
from support.vendor_slides import write_philips

PIXELS = coordinate_pixels(320, 256)
SIZES = "for an image of 1024 x 1280 px (width x height), but this one has 256 x 320 px"
OPTIONS: dict[str, object] = {"photometric": "rgb", "tile": (128, 128), "metadata": None}
HALF_MICRON: dict[str, object] = {"resolution": (20_000, 20_000), "resolutionunit": 3}


def aperio(width: int = 1024, height: int = 1280) -> str:
    size = f"{width}x{height} [0,0 {width}x{height}] (128x128) JPEG/RGB Q=90"
    return f"Aperio Image Library v12.0.15 \r\n{size}|AppMag = 20|MPP = 0.5"


def ome(width: int = 1024, height: int = 1280, *, unit: str = "um", objectives: str = "", chosen: str = "") -> str:
    units = "".join(f'PhysicalSize{axis}="0.5" PhysicalSize{axis}Unit="{unit}" ' for axis in "XY") if unit else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Instrument ID="Instrument:0">{objectives}</Instrument><Image ID="Image:0">{chosen}<Pixels ID="Pixels:0" '
        f'DimensionOrder="XYCZT" Type="uint8" SizeX="{width}" SizeY="{height}" SizeC="3" SizeZ="1" SizeT="1" {units}>'
        '<Channel ID="Channel:0:0" SamplesPerPixel="3"/><TiffData IFD="0" PlaneCount="1"/></Pixels></Image></OME>'
    )


def objective(number: int, power: float) -> str:
    return f'<Objective ID="Objective:0:{number}" NominalMagnification="{power}"/>'


def said(path: Path, *, objective_power: bool = False) -> str:
    """The sentence of a slide without um/px."""
    with open_slide(path, objective_power=objective_power) as slide, pytest.raises(ResolutionError) as caught:
        _ = slide.mpp
    return str(caught.value)


class TestSizes:
    @pytest.mark.parametrize(("name", "text"), [("a.tif", aperio()), ("a.svs", aperio()), ("a.ome.tif", ome())])
    def test_both_are_said(self, tmp_path: Path, name: str, text: str) -> None:
        tifffile.imwrite(tmp_path / name, PIXELS, description=text, **OPTIONS)
        assert SIZES in said(tmp_path / name)
        with open_slide(tmp_path / name, 2.0) as slide:
            assert (slide.mpp, slide.notes, slide.dimensions) == (2.0, (), (256, 320))

    @pytest.mark.parametrize(
        ("name", "text"), [("a.svs", aperio(256, 320)), ("a.ome.tif", ome(256, 320)), ("a.tif", aperio(256, 320))]
    )
    def test_those_that_agree_count(self, tmp_path: Path, name: str, text: str) -> None:
        tifffile.imwrite(tmp_path / name, PIXELS, description=text, **OPTIONS)
        with open_slide(tmp_path / name) as slide:
            assert (slide.mpp, slide.notes) == (0.5, ())

    def test_the_resolution_tags_of_the_picture_itself_count_and_the_text_is_noted(self, tmp_path: Path) -> None:
        own = {"resolution": (5_000, 5_000), "resolutionunit": 3}
        tifffile.imwrite(tmp_path / "a.svs", PIXELS, description=aperio(), **OPTIONS, **own)
        with open_slide(tmp_path / "a.svs") as slide:
            assert (slide.mpp, slide.mpp_source) == (2.0, "TIFF resolution")
            assert slide.notes == (f"Not used: aperio MPP says 0.5 {SIZES}.",)

    def test_tags_that_were_copied_with_the_text_do_not_count(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "a.svs", PIXELS, description=aperio(), **OPTIONS, **HALF_MICRON)
        assert "TIFF resolution says 0.5 too" in said(tmp_path / "a.svs")

    @pytest.mark.parametrize(("name", "text"), [("a.svs", aperio()), ("a.ome.tif", ome(objectives=objective(0, 20)))])
    def test_the_magnification_does_not_count_either(self, tmp_path: Path, name: str, text: str) -> None:
        tifffile.imwrite(tmp_path / name, PIXELS, description=text, **OPTIONS)
        assert "20x for an image of 1024 x 1280 px" in said(tmp_path / name, objective_power=True)

    def test_levels_share_the_text_of_the_first(self, tmp_path: Path) -> None:
        with tifffile.TiffWriter(tmp_path / "a.svs") as tif:
            tif.write(PIXELS, description=aperio(256, 320), **OPTIONS)
            tif.write(PIXELS[::8, ::8], description="Aperio\r\nthumbnail", photometric="rgb", metadata=None)
            tif.write(PIXELS[::2, ::2], description=aperio(256, 320), **OPTIONS)
        with open_slide(tmp_path / "a.svs") as slide:
            assert (slide.mpp, len(slide.levels), slide.notes) == (0.5, 2, ())

    def test_inspection_tells_it_too(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "a.svs", PIXELS, description=aperio(), **OPTIONS)
        assert SIZES in str(inspect_slide(SlideSource("a", tmp_path / "a.svs"), lr=2.0, size=128))

    def test_what_openslide_reads(self, tmp_path: Path) -> None:
        stated = '<Attribute Name="PIM_DP_IMAGE_{}" Group="0x301D" Element="0x1007" PMSVR="IUInt32">{}</Attribute>'
        sides = stated.format("COLUMNS", 10_240) + stated.format("ROWS", 12_800)
        path = write_philips(tmp_path / "a.tif", PIXELS)
        with tifffile.TiffFile(path, mode="r+") as tif:
            tag = tif.pages[0].tags["ImageDescription"]
            head, middle, tail = tag.value.partition('<Attribute Name="PIM_DP_IMAGE_TYPE"')
            tag.overwrite(f"{head}{sides}{middle}{tail}")
        assert "openslide.mpp says 0.5 for an image of 10240 x 12800 px (width x height)" in said(path)


class TestObjectives:
    BOTH = objective(0, 2) + objective(1, 20)

    def test_the_one_that_took_the_image_counts(self, tmp_path: Path) -> None:
        for number, mpp in ((0, 5.0), (1, 0.5)):
            chosen = f'<InstrumentRef ID="Instrument:0"/><ObjectiveSettings ID="Objective:0:{number}"/>'
            text = ome(256, 320, unit="", objectives=self.BOTH, chosen=chosen)
            tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS, description=text, **OPTIONS)
            with open_slide(tmp_path / "a.ome.tif", objective_power=True) as slide:
                assert slide.mpp == mpp

    def test_several_without_a_reference_give_none_and_it_is_said(self, tmp_path: Path) -> None:
        text = ome(256, 320, unit="", objectives=self.BOTH, chosen='<InstrumentRef ID="Instrument:0"/>')
        tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS, description=text, **OPTIONS)
        assert "2 objectives (20x and 2x) and do not say which" in said(tmp_path / "a.ome.tif", objective_power=True)
        assert "um/px of the slide is unknown" in said(tmp_path / "a.ome.tif")


class TestUnits:
    @pytest.mark.parametrize("unit", ["um", "micron", "µm", "\u03bcm", "Âµm", "?m", "micrometre", "&#xFFFD;m"])
    def test_of_an_ome_tiff(self, tmp_path: Path, unit: str) -> None:
        text = ome(256, 320, unit=unit).encode()
        tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS, description=text, **OPTIONS)
        with open_slide(tmp_path / "a.ome.tif") as slide:
            assert (slide.mpp, slide.mpp_source) == (0.5, "OME PhysicalSize")

    def test_a_micro_sign_in_latin_1(self, tmp_path: Path) -> None:
        text = ome(256, 320, unit="µm").encode("latin-1")
        tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS, description=text, **OPTIONS)
        with open_slide(tmp_path / "a.ome.tif") as slide:
            assert slide.mpp == 0.5

    @pytest.mark.parametrize("unit", ["um", "microns", "\\u00B5m", "?m", "micrometer"])
    def test_of_imagej(self, tmp_path: Path, unit: str) -> None:
        about = {"unit": unit, "axes": "YXS"}
        tifffile.imwrite(tmp_path / "a.tif", PIXELS, imagej=True, resolution=(2.0, 2.0), metadata=about)
        with open_slide(tmp_path / "a.tif") as slide:
            assert (slide.mpp, slide.mpp_source) == (0.5, "ImageJ unit")

    def test_an_unknown_one_is_told_with_its_value(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS, description=ome(256, 320, unit="furlong"), **OPTIONS)
        assert "OME PhysicalSize says 0.5 'furlong'" in said(tmp_path / "a.ome.tif")
        about = {"unit": "furlong", "axes": "YXS"}
        tifffile.imwrite(tmp_path / "a.tif", PIXELS, imagej=True, resolution=(2.0, 2.0), metadata=about)
        assert "ImageJ unit says 0.5 'furlong'" in said(tmp_path / "a.tif")


def test_pixels_are_read_whatever_the_metadata_say(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS, description=ome(), **OPTIONS)
    with open_slide(tmp_path / "a.ome.tif", 0.5) as slide:
        np.testing.assert_array_equal(slide.read_region((0, 0), (320, 256), 0.5), PIXELS)
