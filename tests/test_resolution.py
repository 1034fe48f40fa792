"""What a slide's um/px is, and what is refused."""

import math
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrmil.errors import ConfigError, ResolutionError
from lrmil.resolution import (
    MppCandidate,
    aperio_mpp,
    aperio_power,
    imagej_mpp,
    ome_mpp,
    ome_power,
    openslide_mpp,
    parse_mpp,
    plausible_mpp,
    resolve_mpp,
    tiff_mpp,
    zarr_mpp,
)


@pytest.mark.parametrize(
    ("text", "mpp"), [("2.0", 2.0), ("0.5", 0.5), (".25", 0.25), ("5x", 2.0), (" 20X ", 0.5), ("2 um/px", 2.0)]
)
def test_parse_mpp_reads_microns_and_magnifications(text: str, mpp: float) -> None:
    assert parse_mpp(text) == mpp


@pytest.mark.parametrize("text", ["", "x", "fast", "0", "0x", "-2", "nan", "inf", "1000x", "1e9", "60", "2,0", "2 5"])
def test_parse_mpp_refuses_nonsense(text: str) -> None:
    with pytest.raises(ConfigError, match=r"such as 2\.0 or 5x; got"):
        parse_mpp(text)


def test_plausible_is_the_geometric_mean() -> None:
    assert plausible_mpp(0.25, 0.25, "test") == 0.25
    assert plausible_mpp(0.500, 0.505, "test") == pytest.approx(math.sqrt(0.500 * 0.505), rel=1e-12)


@pytest.mark.parametrize("value", [0.049, 5.01, 0.0, -1.0, math.nan, math.inf])
def test_implausible_is_refused_with_value_source_and_remedy(value: float) -> None:
    with pytest.raises(ResolutionError, match=r"Expected .* test says .*--mpp"):
        plausible_mpp(value, value, "test")


def test_oblong_pixels_are_refused() -> None:
    assert plausible_mpp(0.5, 0.5099, "test") > 0
    with pytest.raises(ResolutionError, match="square"):
        plausible_mpp(0.5, 0.511, "test")
    with pytest.raises(ResolutionError, match="square"):
        plausible_mpp(0.511, 0.5, "test")


def test_order_is_override_metadata_power_missing() -> None:
    found = [MppCandidate(0.25, 0.25, "aperio MPP"), MppCandidate(0.5, 0.5, "TIFF resolution")]
    assert resolve_mpp(0.4, found, power=20, objective_power=True) == (0.4, "override")
    assert resolve_mpp(None, found, power=20, objective_power=True) == (0.25, "aperio MPP")
    assert resolve_mpp(None, [], power=20, objective_power=True) == (0.5, "objective power 20x")
    for power, opted_in in ((20.0, False), (None, True)):
        with pytest.raises(ResolutionError, match=r"have none.*mpp=.*--mpp.*mpp column"):
            resolve_mpp(None, [], power=power, objective_power=opted_in)


def test_implausible_metadata_are_not_passed_over_for_less_trusted_ones() -> None:
    with pytest.raises(ResolutionError, match="aperio MPP says 50"):
        resolve_mpp(None, [MppCandidate(50, 50, "aperio MPP"), MppCandidate(0.5, 0.5, "other")], power=20)
    with pytest.raises(ResolutionError, match="override says 50"):
        resolve_mpp(50, [MppCandidate(0.5, 0.5, "other")])


def test_aperio_fields() -> None:
    text = "Aperio Image Library v11\r\n2220x2967|AppMag = 20|Filename = MPP = 9|MPP = 0.4990|Left = 25.6"
    assert aperio_mpp(text) == [(0.499, 0.499, "aperio MPP")]
    assert aperio_power(text) == 20
    assert aperio_mpp("x|MPP = 0,25|y") == [(0.25, 0.25, "aperio MPP")]
    assert aperio_mpp("Aperio|SomeMPP = 3|MPP = abc") == []
    assert aperio_power("Aperio|MPP = 0.5") is None


@pytest.mark.parametrize(
    ("size", "unit"),
    [("0.25", "µm"), ("0.25", "μm"), ("0.25", None), ("250", "nm"), ("0.00025", "mm"), ("2.5e-5", "cm")],
)
def test_ome_sizes_in_any_unit(size: str, unit: str | None) -> None:
    units = f'PhysicalSizeXUnit="{unit}" PhysicalSizeYUnit="{unit}"' if unit else ""
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Instrument><Objective NominalMagnification="40.0"/></Instrument>'
        '<Image><Pixels SizeX="9" SizeY="9" PhysicalSizeX="3" PhysicalSizeY="3"/></Image>'
        f'<Image><Pixels SizeX="20" SizeY="10" PhysicalSizeX="{size}" PhysicalSizeY="{size}" {units}/></Image></OME>'
    )
    [(mpp_y, mpp_x, source)] = ome_mpp(xml, height=10, width=20)
    assert (mpp_y, mpp_x, source) == (pytest.approx(0.25), pytest.approx(0.25), "OME PhysicalSize")
    assert ome_power(xml) == 40


@pytest.mark.parametrize(
    "xml", ["", "<OME", "<OME><Image><Pixels SizeX='2' SizeY='1' PhysicalSizeX='1'/></Image></OME>"]
)
def test_ome_without_sizes(xml: str) -> None:
    assert ome_mpp(xml, height=1, width=2) == []


def test_ome_in_pixels_is_unknown() -> None:
    xml = '<OME><Pixels SizeX="2" SizeY="1" PhysicalSizeX="1" PhysicalSizeY="1" {}/></OME>'
    assert ome_mpp(xml.format('PhysicalSizeXUnit="pixel" PhysicalSizeYUnit="pixel"'), height=1, width=2) == []


def test_tiff_resolution_by_unit() -> None:
    assert tiff_mpp(40_000, 20_000, 3) == [(0.25, 0.5, "TIFF resolution")]
    assert tiff_mpp(50_800, 50_800, 2) == [(0.5, 0.5, "TIFF resolution")]
    assert tiff_mpp(40_000, 40_000, 1) == []
    assert tiff_mpp(None, 40_000, 3) == []


@pytest.mark.parametrize(("dots", "unit"), [(72, 2), (96, 2), (300, 2), (28.3465, 3), (1, 3)])
def test_dots_per_inch_of_image_editors_count_as_absent(dots: float, unit: int) -> None:
    assert tiff_mpp(dots, dots, unit) == []


def test_openslide_properties() -> None:
    assert openslide_mpp({"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.24"}) == [(0.24, 0.25, "openslide.mpp")]
    assert openslide_mpp({"openslide.mpp-x": "0.25"}) == []


def test_ome_zarr_scales_by_unit() -> None:
    assert zarr_mpp(250, 500, unit_y="nanometer", unit_x="nanometer") == [(0.25, 0.5, "OME-Zarr scale")]
    assert zarr_mpp(0.5, 0.5, unit_y="micrometre", unit_x="micrometer") == [(0.5, 0.5, "OME-Zarr scale")]
    assert zarr_mpp(0.5, 0.5, unit_y=None, unit_x="micrometer") == []
    assert zarr_mpp(0.5, 0.5, unit_y="second", unit_x=7) == []


def test_imagej_units() -> None:
    assert imagej_mpp("µm", 2.0, 4.0) == [(0.5, 0.25, "ImageJ unit")]
    assert imagej_mpp("pixel", 2.0, 2.0) == imagej_mpp(None, 2.0, 2.0) == imagej_mpp("um", None, 2.0) == []


NUMBERS = st.floats() | st.integers() | st.text(max_size=8)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.text(max_size=80).map(aperio_mpp),
        st.builds(lambda value: aperio_mpp(f"Aperio|MPP = {value}|x"), NUMBERS),
        st.text(max_size=80).map(lambda text: ome_mpp(text, height=1, width=2)),
        st.builds(
            lambda y, x, unit: ome_mpp(
                "<OME><Pixels SizeX='2' SizeY='1' "
                f"PhysicalSizeX={quoteattr(str(x))} PhysicalSizeY={quoteattr(str(y))} "
                f"PhysicalSizeXUnit={quoteattr(unit)} /></OME>",
                height=1,
                width=2,
            ),
            NUMBERS,
            NUMBERS,
            st.sampled_from(["um", "nm", "pixel", "", "m"]),
        ),
        st.builds(lambda y, x: openslide_mpp({"openslide.mpp-y": str(y), "openslide.mpp-x": str(x)}), NUMBERS, NUMBERS),
        st.builds(tiff_mpp, st.none() | st.floats(min_value=0), st.none() | st.floats(min_value=0), st.integers()),
    )
)
def test_whatever_a_field_says_is_a_size_above_0_or_nothing(found: list[MppCandidate]) -> None:
    for mpp_y, mpp_x, source in found:
        assert mpp_y > 0 and mpp_x > 0 and source
        try:
            mpp = plausible_mpp(mpp_y, mpp_x, source)
        except ResolutionError as error:
            assert str(error).startswith("Expected")
        else:
            assert 0.05 <= mpp <= 5


@given(
    st.text(max_size=20) | st.builds(lambda number, unit: f"{number}{unit}", st.floats(), st.sampled_from(["", "x"]))
)
def test_whatever_is_typed_is_a_resolution_or_a_sentence(text: str) -> None:
    try:
        assert 0.05 <= parse_mpp(text) <= 50
    except ConfigError as error:
        assert "such as 2.0 or 5x" in str(error)
