"""What a slide's um/px is, and what is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.errors import ConfigError, ResolutionError
from lrmil.slides.resolution import Disregarded, MppCandidate, parse_mpp, require_plausible_mpp, resolve_mpp


@pytest.mark.parametrize(
    ("text", "mpp"), [("2.0", 2.0), ("0.5", 0.5), (".25", 0.25), ("5x", 2.0), (" 20X ", 0.5), ("2 um/px", 2.0)]
)
def test_parse_mpp_reads_microns_and_magnifications(text: str, mpp: float) -> None:
    assert parse_mpp(text) == mpp


@pytest.mark.parametrize("text", ["", "x", "fast", "0", "0x", "-2", "nan", "inf", "1000x", "1e9", "60", "2,0", "2 5"])
def test_parse_mpp_refuses_nonsense(text: str) -> None:
    with pytest.raises(ConfigError, match=r"such as 2\.0 or 5x\. Got"):
        parse_mpp(text)


def test_plausible_is_the_geometric_mean() -> None:
    assert require_plausible_mpp(0.25, 0.25, "test") == 0.25
    assert require_plausible_mpp(0.500, 0.505, "test") == pytest.approx(math.sqrt(0.500 * 0.505), rel=1e-12)


@pytest.mark.parametrize("value", [0.049, 5.01, 0.0, -1.0, math.nan, math.inf])
def test_implausible_is_refused_with_value_source_and_remedy(value: float) -> None:
    with pytest.raises(ResolutionError, match=r"Got .* um \(test\).*--mpp"):
        require_plausible_mpp(value, value, "test")


def test_oblong_pixels_are_refused() -> None:
    assert require_plausible_mpp(0.5, 0.5099, "test") > 0
    with pytest.raises(ResolutionError, match="square"):
        require_plausible_mpp(0.5, 0.511, "test")
    with pytest.raises(ResolutionError, match="square"):
        require_plausible_mpp(0.511, 0.5, "test")


def test_order_is_override_metadata_power_missing() -> None:
    found = [MppCandidate(0.25, 0.25, "aperio MPP"), MppCandidate(0.5, 0.5, "TIFF resolution")]
    assert resolve_mpp(0.4, found, power=20, objective_power=True) == (0.4, "override")
    assert resolve_mpp(None, found, power=20, objective_power=True) == (0.25, "aperio MPP")
    assert resolve_mpp(None, [], power=20, objective_power=True) == (0.5, "objective power 20x")
    for power, opted_in in ((20.0, False), (None, True)):
        with pytest.raises(ResolutionError, match=r"is unknown.*mpp=.*--mpp.*mpp column"):
            resolve_mpp(None, [], power=power, objective_power=opted_in)


def test_implausible_metadata_are_not_passed_over_for_less_trusted_ones() -> None:
    with pytest.raises(ResolutionError, match=r"50 um \(aperio MPP\)"):
        resolve_mpp(None, [MppCandidate(50, 50, "aperio MPP"), MppCandidate(0.5, 0.5, "other")], power=20)
    with pytest.raises(ResolutionError, match=r"50 um \(override\)"):
        resolve_mpp(50, [MppCandidate(0.5, 0.5, "other")])


def test_what_is_disregarded_is_told_and_passed_over() -> None:
    doubts = [Disregarded("one field says 0.5 furlong"), Disregarded("another says 3")]
    good = MppCandidate(0.25, 0.25, "TIFF resolution")
    assert resolve_mpp(None, [*doubts, good]) == (0.25, "TIFF resolution")
    with pytest.raises(ResolutionError, match=r"unknown: one field says 0\.5 furlong; another says 3\. Give"):
        resolve_mpp(None, doubts)


def test_a_magnification_that_cannot_be_told_is_said_only_when_it_was_asked_for() -> None:
    power = Disregarded("there are two objectives")
    with pytest.raises(ResolutionError, match="two objectives"):
        resolve_mpp(None, [], power=power, objective_power=True)
    with pytest.raises(ResolutionError, match="um/px of the slide is unknown"):
        resolve_mpp(None, [], power=power)


@given(
    st.text(max_size=20) | st.builds(lambda number, unit: f"{number}{unit}", st.floats(), st.sampled_from(["", "x"]))
)
def test_whatever_is_typed_is_a_resolution_or_a_sentence(text: str) -> None:
    try:
        assert 0.05 <= parse_mpp(text) <= 50
    except ConfigError as error:
        assert "such as 2.0 or 5x" in str(error)
