"""Every dialect in which a slide states its pixel size; what is of another picture, or in no known unit, is told."""

from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrmil.errors import ResolutionError
from lrmil.slides.readers.ome_xml import OmeImage, ome_images
from lrmil.slides.readers.pixel_size import (
    Found,
    aperio_mpp,
    aperio_power,
    imagej_mpp,
    ome_mpp,
    ome_power,
    openslide_mpp,
    openslide_power,
    tiff_mpp,
    without_copies,
    zarr_mpp,
)
from lrmil.slides.resolution import Disregarded, MppCandidate, require_plausible_mpp

SHAPE = (10, 20)  # height, width


def why(found: object) -> str:
    """The sentence of what is disregarded: the only finding, or a magnification."""
    one = found[0] if isinstance(found, list) and len(found) == 1 else found
    assert isinstance(one, Disregarded), found
    return one.why


class TestAperio:
    def test_fields(self) -> None:
        text = "Aperio Image Library v11\r\n20x10|AppMag = 20|Filename = MPP = 9|MPP = 0.4990|Left = 25.6"
        assert aperio_mpp(text, SHAPE) == [(0.499, 0.499, "aperio MPP")]
        assert aperio_power(text, SHAPE) == 20
        assert aperio_mpp("x|MPP = 0,25|y", SHAPE) == [(0.25, 0.25, "aperio MPP")]
        assert aperio_mpp("Aperio|SomeMPP = 3|MPP = abc", SHAPE) == []
        assert aperio_power("Aperio|MPP = 0.5", SHAPE) is None

    @pytest.mark.parametrize(
        "size",
        [
            "20x10 [0,0 20x10] (256x256) JPEG/RGB Q=70",
            "46000x32914 [42673,5576 20x10] (240x240) JPEG/RGB Q=30",
            "46000x32914 [0,0,20x10] (256x256) JPEG/YCC Q=91",
            "46000x32914 [0,0 20x10] (240x240) JPEG;Aperio v10\r\n46920x33014 [0,100 46000x32914] (256x256)",
            "20x10 (256x256) JPEG/RGB Q=70",
            " 20x10",
            "(256x256) JPEG/RGB Q=70",
            "",
        ],
    )
    def test_a_size_that_is_the_picture_s_or_none(self, size: str) -> None:
        text = f"Aperio Image Library v11.2.1 \r\n{size}|AppMag = 20|MPP = 0.499"
        assert aperio_mpp(text, SHAPE) == [(0.499, 0.499, "aperio MPP")] and aperio_power(text, SHAPE) == 20

    @pytest.mark.parametrize(
        "size",
        [
            "80x40 [0,0 80x40] (256x256) JPEG/RGB Q=70",
            "20x10 [0,0 80x40] (256x256) JPEG/RGB Q=70",
            "80x40 [0,0,80x40] (256x256) JPEG/YCC Q=91",
            "99x99 [7,8 80x40] (256x256) -> 20x10 JPEG/RGB Q=70",
            "80x40 -> 20x10 - ;Aperio Image Library v10\r\n20x10 [0,0 20x10] (256x256)",
            "80x40 (256x256)",
            " 80X40",
        ],
    )
    def test_another_size_is_told_with_the_picture_s(self, size: str) -> None:
        text = f"Aperio Image Library v11.2.1 \r\n{size}|AppMag = 20|MPP = 0.499"
        expected = "for an image of 80 x 40 px (width x height), but this one has 20 x 10 px"
        assert why(aperio_mpp(text, SHAPE)) == f"aperio MPP says 0.499 {expected}"
        assert why(aperio_power(text, SHAPE)) == f"aperio AppMag says 20x {expected}"


def ome(*images: str, objectives: str = "") -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        f'UUID="urn:uuid:a">{objectives}{"".join(images)}</OME>'
    )


def image(
    size: str = "0.25",
    *,
    shape: tuple[int, int] = SHAPE,
    units: tuple[str, str] | None = None,
    more: str = "",
) -> str:
    stated = f"PhysicalSizeY={quoteattr(size)} PhysicalSizeX={quoteattr(size)}" if size else ""
    if units:
        stated += f" PhysicalSizeYUnit={quoteattr(units[0])} PhysicalSizeXUnit={quoteattr(units[1])}"
    return f'<Image>{more}<Pixels SizeX="{shape[1]}" SizeY="{shape[0]}" {stated}/></Image>'


def first(xml: str) -> OmeImage:
    """The first image of a description, in a file of one page."""
    return ome_images(xml, "a.ome.tif", 1)[0]


class TestOme:
    @pytest.mark.parametrize(
        ("size", "unit"),
        [
            *(("0.25", unit) for unit in ("µm", "\u03bcm", "um", "micron", "Âµm", "?m", None)),
            *(("250", "nm"), ("0.00025", "mm"), ("2.5e-5", "cm"), ("2.5e-7", "m")),
        ],
    )
    def test_sizes_in_any_unit(self, size: str, unit: str | None) -> None:
        xml = ome(image(size, units=(unit, unit) if unit else None), image("3", shape=(9, 9)))
        [(mpp_y, mpp_x, source)] = ome_mpp(first(xml), SHAPE)
        assert (mpp_y, mpp_x, source) == (pytest.approx(0.25), pytest.approx(0.25), "OME PhysicalSize")

    @pytest.mark.parametrize("xml", ["<OME><Image/></OME>", "<OME><Image><Pixels PhysicalSizeX='1'/></Image></OME>"])
    def test_without_sizes(self, xml: str) -> None:
        assert ome_mpp(first(xml), SHAPE) == [] and ome_power(first(xml), SHAPE) is None

    def test_the_image_s_own_silence_is_not_filled_by_another_s_words(self) -> None:
        assert ome_mpp(first(ome(image(""), image("0.5", shape=(5, 5)))), SHAPE) == []

    def test_units_that_are_none_are_told_with_the_value(self) -> None:
        for units, words in (
            (("pixel", "pixel"), "says 0.25 'pixel', which is not a length"),
            (("furlong", "um"), "says 0.25 'furlong', which is not a known unit"),
            (("um", "fathom"), "says 0.25 'fathom', which is not a known unit"),
        ):
            assert words in why(ome_mpp(first(ome(image(units=units))), SHAPE))

    def test_another_size_is_told_with_the_picture_s(self) -> None:
        told = why(ome_mpp(first(ome(image(shape=(40, 80)))), SHAPE))
        assert "says 0.25 um for an image of 80 x 40 px (width x height), but this one has 20 x 10 px" in told


LOW, HIGH = (
    f'<Objective ID="Objective:{n}" NominalMagnification="{power}"/>' for n, power in ((0, "2.0"), (1, "20.0"))
)
TWO = f'<Instrument ID="Instrument:0">{LOW}{HIGH}</Instrument>'
OTHER = '<Instrument ID="Instrument:1"><Objective ID="Objective:9" NominalMagnification="63"/></Instrument>'


class TestObjectives:
    @pytest.mark.parametrize(
        ("objectives", "more", "power"),
        [
            (f'<Instrument ID="Instrument:0">{HIGH}</Instrument>', "", 20),
            (TWO, '<InstrumentRef ID="Instrument:0"/><ObjectiveSettings ID="Objective:1"/>', 20),
            (TWO, '<ObjectiveSettings ID="Objective:0"/>', 2),
            (TWO, '<ObjectiveRef ID="Objective:1"/>', 20),
            (TWO + OTHER, '<InstrumentRef ID="Instrument:1"/>', 63),
            (TWO + OTHER, '<InstrumentRef ID="Instrument:1"/><ObjectiveSettings ID="Objective:1"/>', 20),
            (f"<Instrument>{HIGH}{HIGH}</Instrument>", "", 20),
            ('<Instrument><Objective CalibratedMagnification="19.5"/></Instrument>', "", 19.5),
            ("<Instrument><Objective/></Instrument>", "", None),
            ("", "", None),
        ],
    )
    def test_it_is_that_of_the_image(self, objectives: str, more: str, power: float | None) -> None:
        assert ome_power(first(ome(image(more=more), objectives=objectives)), SHAPE) == power

    @pytest.mark.parametrize(
        ("objectives", "more"),
        [
            (TWO, ""),
            (TWO, '<InstrumentRef ID="Instrument:0"/>'),
            (TWO + OTHER, ""),
            (f"<Instrument>{HIGH}<Objective/></Instrument>", ""),
        ],
    )
    def test_several_and_no_reference_are_none(self, objectives: str, more: str) -> None:
        told = why(ome_power(first(ome(image(more=more), objectives=objectives)), SHAPE))
        assert "objectives" in told and "do not say which one" in told and "20x" in told

    @pytest.mark.parametrize("more", ['<ObjectiveSettings ID="Objective:5"/>', '<InstrumentRef ID="Instrument:5"/>'])
    def test_a_reference_to_nothing_is_none(self, more: str) -> None:
        for objectives in (TWO, f'<Instrument ID="Instrument:0">{HIGH}</Instrument>', ""):
            told = why(ome_power(first(ome(image(more=more), objectives=objectives)), SHAPE))
            assert "do not describe" in told

    def test_each_image_has_its_own(self) -> None:
        images = [image(more=f'<ObjectiveSettings ID="Objective:{n}"/>') for n in (0, 1)]
        powers = [ome_power(one, SHAPE) for one in ome_images(ome(*images, objectives=TWO), "a", 2)]
        assert powers == [2, 20]

    def test_that_of_another_image_alone_is_none(self) -> None:
        photo = image(more='<ObjectiveSettings ID="Objective:0"/>')
        told = why(ome_power(first(ome(image(), photo, objectives=f"<Instrument>{LOW}</Instrument>")), SHAPE))
        assert "only for another image" in told

    def test_a_magnification_belongs_to_a_picture_of_a_size_too(self) -> None:
        xml = ome(image(shape=(40, 80)), objectives=f"<Instrument>{HIGH}</Instrument>")
        assert "20x for an image of 80 x 40 px" in why(ome_power(first(xml), SHAPE))


class TestTiff:
    def test_resolution_by_unit(self) -> None:
        assert tiff_mpp(40_000, 20_000, 3) == [(0.25, 0.5, "TIFF resolution")]
        assert tiff_mpp(50_800, 50_800, 2) == [(0.5, 0.5, "TIFF resolution")]
        assert tiff_mpp(40_000, 40_000, 1) == []
        assert tiff_mpp(None, 40_000, 3) == []

    @pytest.mark.parametrize(("dots", "unit"), [(72, 2), (96, 2), (300, 2), (28.3465, 3), (1, 3)])
    def test_dots_per_inch_of_image_editors_count_as_absent(self, dots: float, unit: int) -> None:
        assert tiff_mpp(dots, dots, unit) == []

    def test_tags_that_repeat_a_copied_text_were_copied_too(self) -> None:
        text = aperio_mpp("Aperio\r\n80x40 [0,0 80x40]|MPP = 0.5", SHAPE)
        assert " too" in why(without_copies(text + tiff_mpp(20_000, 20_000, 3))[1:])
        assert without_copies(text + tiff_mpp(5_000, 5_000, 3))[1:] == [(2.0, 2.0, "TIFF resolution")]
        fitting = aperio_mpp("Aperio\r\n20x10 [0,0 20x10]|MPP = 0.5", SHAPE)
        assert without_copies(fitting + tiff_mpp(20_000, 20_000, 3))[1:] == [(0.5, 0.5, "TIFF resolution")]


class TestImageJ:
    @pytest.mark.parametrize("unit", ["µm", "um", "micron", "microns", "\\u00B5m", "Âµm", "\ufffdm", "?m"])
    def test_micrometres(self, unit: str) -> None:
        assert imagej_mpp(unit, 2.0, 4.0) == [(0.5, 0.25, "ImageJ unit")]

    def test_other_units(self) -> None:
        assert imagej_mpp("nm", 0.002, 0.002) == [(500 * 0.001, 500 * 0.001, "ImageJ unit")]
        [(mpp_y, _, _)] = imagej_mpp("inch", 50_800, 50_800)
        assert mpp_y == pytest.approx(0.5)
        assert imagej_mpp("inch", 72, 72) == [], "an image editor's dots"

    def test_nothing_and_what_is_no_length(self) -> None:
        assert imagej_mpp(None, 2.0, 2.0) == imagej_mpp("", 2.0, 2.0) == imagej_mpp("um", None, 2.0) == []
        assert why(imagej_mpp("pixel", 2.0, 2.0)) == "ImageJ unit says 0.5 'pixel', which is not a length"
        assert "0.5 'furlong'" in why(imagej_mpp("furlong", 2.0, 2.0))


class TestOmeZarr:
    @pytest.mark.parametrize("unit", ["micrometer", "micrometre", "um", "micron", "µm", "Âµm"])
    def test_scales_by_unit(self, unit: str) -> None:
        assert zarr_mpp(0.5, 0.25, unit_y=unit, unit_x=unit) == [(0.5, 0.25, "OME-Zarr scale")]
        assert zarr_mpp(250, 0.5, unit_y="nanometer", unit_x=unit) == [(0.25, 0.5, "OME-Zarr scale")]

    def test_units_that_are_none_are_told_with_the_value(self) -> None:
        assert why(zarr_mpp(0.5, 0.5, unit_y=None, unit_x="micrometer")) == "OME-Zarr scale says 0.5 without a unit"
        assert why(zarr_mpp(0.5, 0.5, unit_y=None, unit_x=None)) == "OME-Zarr scale says 0.5 without a unit"
        assert "0.5 'second', which is not a known unit" in why(zarr_mpp(0.5, 0.5, unit_y="second", unit_x=7))
        assert zarr_mpp(1, 1, unit_y=None, unit_x=None) == []


class TestOpenSlide:
    def test_properties(self) -> None:
        stated = {"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.24", "openslide.objective-power": "40"}
        assert openslide_mpp(stated, SHAPE) == [(0.24, 0.25, "openslide.mpp")] and openslide_power(stated, SHAPE) == 40
        assert openslide_mpp({"openslide.mpp-x": "0.25"}, SHAPE) == [] and openslide_power({}, SHAPE) is None

    @pytest.mark.parametrize(
        "size",
        [
            {"openslide.vendor": "aperio", "tiff.ImageDescription": "Aperio\r\n80x40 [0,0 80x40] (256x256)|MPP = 0.5"},
            {"philips.PIM_DP_IMAGE_COLUMNS": "5000", "philips.PIM_DP_IMAGE_ROWS": "5000"},
        ],
    )
    def test_another_size_is_told_with_the_picture_s(self, size: dict[str, str]) -> None:
        stated = {"openslide.mpp-x": "0.5", "openslide.mpp-y": "0.5", "openslide.objective-power": "20", **size}
        for told in (why(openslide_mpp(stated, SHAPE)), why(openslide_power(stated, SHAPE))):
            assert "for an image of" in told and "this one has 20 x 10 px" in told

    def test_padding_to_whole_tiles_is_no_other_size(self) -> None:
        stated = {"openslide.mpp-x": "0.5", "openslide.mpp-y": "0.5"}
        stated |= {"philips.PIM_DP_IMAGE_COLUMNS": "4000", "philips.PIM_DP_IMAGE_ROWS": "4100"}
        assert openslide_mpp(stated, (4608, 4096)) == [(0.5, 0.5, "openslide.mpp")]


NUMBERS = st.floats() | st.integers() | st.text(max_size=8)
UNITS = st.sampled_from(["um", "nm", "pixel", "", "m", "?m"]) | st.text(max_size=4)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.text(max_size=80).map(lambda text: aperio_mpp(text, SHAPE)),
        st.builds(lambda value, side: aperio_mpp(f"Aperio {side}x10|MPP = {value}|x", SHAPE), NUMBERS, NUMBERS),
        st.builds(
            lambda size, unit, side: ome_mpp(first(ome(image(size, units=(unit, unit), shape=(10, side)))), SHAPE),
            NUMBERS.map(str).filter(str.isprintable),
            UNITS.filter(str.isprintable),
            st.sampled_from([20, 40]),
        ),
        st.builds(
            lambda y, x: openslide_mpp({"openslide.mpp-y": str(y), "openslide.mpp-x": str(x)}, SHAPE), NUMBERS, NUMBERS
        ),
        st.builds(tiff_mpp, st.none() | st.floats(min_value=0), st.none() | st.floats(min_value=0), st.integers()),
        st.builds(imagej_mpp, UNITS, st.none() | st.floats(min_value=0.001), st.none() | st.floats(min_value=0.001)),
        st.builds(
            lambda scale, unit: zarr_mpp(scale, scale, unit_y=unit, unit_x=unit),
            st.floats(min_value=1e-9, allow_infinity=False),
            UNITS | st.none() | st.integers(),
        ),
    )
)
def test_whatever_a_field_says_is_a_size_above_0_a_doubt_or_nothing(found: Found) -> None:
    for one in without_copies(found):
        if isinstance(one, Disregarded):
            assert one.why
            continue
        assert isinstance(one, MppCandidate) and one.mpp_y > 0 and one.mpp_x > 0 and one.source
        try:
            mpp = require_plausible_mpp(*one)
        except ResolutionError as error:
            assert str(error).startswith("Expected")
        else:
            assert 0.05 <= mpp <= 5


def test_endless_pixels_per_unit_of_imagej_say_nothing() -> None:
    assert imagej_mpp("um", 1.0, float("inf")) == [] and imagej_mpp("um", float("nan"), 1.0) == []
