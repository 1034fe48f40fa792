"""Units of length as they are written in the wild."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.slides.readers.units import is_no_length, microns_per, shown

MICRO = "\u00b5"  # the micro sign; the Greek letter mu is U+03BC

MICROMETRES = [
    *("um", "UM", " um ", "um.", "[um]", "um\0", "u", "micron", "Micron", "microns", "MICRONS", "mikron"),
    *(
        "micrometer",
        "micrometers",
        "Micrometre",
        "micrometres",
        "micro-meter",
        "micro meter",
        "mikrometer",
        "micromètre",
    ),
    *(f"{MICRO}m", f"{MICRO}M", "\u03bcm", MICRO, "\u339b", f"{MICRO}m/px", "um/pixel", "microns per pixel", "мкм"),
    *("\\u00B5m", "\\u00b5m", "\\u03BCm", "&micro;m", "&#181;m", "&#xB5;m"),
]
BROKEN = [
    *(f"{MICRO}m".encode().decode(wrong) for wrong in ("latin-1", "cp1252", "cp1250", "mac_roman", "cp437")),
    *("\u03bcm".encode().decode(wrong) for wrong in ("latin-1", "mac_roman", "cp437")),
    f"{MICRO}m".encode("latin-1").decode("cp437"),
    f"{MICRO}m".encode("latin-1").decode("utf-8", "replace"),
    f"{MICRO}m".encode("latin-1").decode("utf-8", "surrogateescape"),
    f"{MICRO}m".encode().decode("ascii", "replace"),
    f"{MICRO}m".encode().decode("latin-1").encode().decode("latin-1"),  # twice
    *("?m", "??m", "\\xb5m", "\\xc2\\xb5m", "\\302\\265m", "%c2%b5m"),
]


@pytest.mark.parametrize("unit", [*MICROMETRES, *BROKEN], ids=ascii)
def test_a_micrometre_however_it_is_written(unit: str) -> None:
    assert microns_per(unit) == 1.0


@pytest.mark.parametrize(
    ("units", "microns"),
    [
        (("nm", "NM", "nanometer", "nanometres"), 1e-3),
        (("mm", "Mm", "millimeter", "millimetres", "\u339c"), 1e3),
        (("cm", "centimeter", "centimetre"), 1e4),
        (("m", "meter", "metres"), 1e6),
        (("in", "inch", "inches", '"'), 25_400.0),
        (("\u00c5", "\u212b", "angstrom"), 1e-4),
        (("pm", "picometer"), 1e-6),
    ],
)
def test_other_units(units: tuple[str, ...], microns: float) -> None:
    assert [microns_per(unit) for unit in units] == [microns] * len(units)


@pytest.mark.parametrize(
    "unit", ["", " ", None, 7, "pixel", "second", "s", "ms", "furlong", "parsec", "xm", "Xm", "?", "%m", "mmm", "a um"]
)
def test_what_is_no_known_unit_of_length(unit: object) -> None:
    assert microns_per(unit) is None


def test_pixels_are_no_length() -> None:
    assert all(map(is_no_length, ["pixel", "Pixels", " px", "reference frame"]))
    assert not any(map(is_no_length, ["um", "furlong", ""]))


def test_a_sentence_quotes_words_and_no_numbers_of_people() -> None:
    assert shown("furlong") == "'furlong'"
    assert shown("Patient 7731") == "a text of 12 characters"
    assert shown("x" * 100) == "a text of 100 characters" and shown("\x1b[31m") == "a text of 5 characters"


@given(st.one_of(st.text(max_size=12), st.integers(), st.none(), st.floats()))
def test_anything_is_a_unit_or_none(unit: object) -> None:
    assert microns_per(unit) is None or microns_per(unit) > 0
    assert shown(unit).isprintable()
