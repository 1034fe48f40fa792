"""Make and model of a scanner: what looks like neither is dropped, and an unknown model may be any."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.slides.scanner import Scanner, scanner_of


@pytest.mark.parametrize(
    ("make", "model", "found"),
    [
        ("Aperio", "GT450", Scanner("Aperio", "GT450")),
        ("  Hamamatsu ", "C13220-01", Scanner("Hamamatsu", "C13220-01")),
        ("Leica", "Leica SCN400", Scanner("Leica", "SCN400")),
        ("3D Histech", None, Scanner("3D Histech")),
        ("", "GT450", None),
        (None, None, None),
        (3, "GT450", None),
        ("Google", "GT450", None),  # converted it
        ("Zzyzx-Canary-7731", "GT450", None),
        ("Smith, aperio", "GT450", None),
    ],
)
def test_make_and_model_are_those_stated(make: object, model: object, found: Scanner | None) -> None:
    assert scanner_of(make, model) == found


@pytest.mark.parametrize(
    "model",
    [
        "SN 20190315",  # a serial number
        "scan of Mr. Müller, born 1950",
        "a description that goes on and on and says whose slide it is",
        "x\ny: z",
        "C:\\slides\\smith",
    ],
)
def test_what_does_not_look_like_a_model_is_not_kept(model: str) -> None:
    assert scanner_of("Aperio", model) == Scanner("Aperio")
    assert scanner_of(model) is None


@given(st.text(max_size=60).map("Zeiss {}".format) | st.text(max_size=60), st.text(max_size=60))
def test_nothing_long_or_strange_is_kept(make: str, model: str) -> None:
    found = scanner_of(make, model)
    if found is not None:
        assert (
            0 < len(found.make) <= 40 and len(found.model) <= 40 and str(found).isascii() and str(found).isprintable()
        )


def test_scanners_may_be_the_same_unless_what_is_stated_differs() -> None:
    aperio, gt450, at2 = Scanner("Aperio"), Scanner("Aperio", "GT450"), Scanner("APERIO", "AT2")
    assert aperio.may_be(gt450) and gt450.may_be(aperio) and gt450.may_be(Scanner("aperio", "gt450"))
    assert not gt450.may_be(at2) and not gt450.may_be(Scanner("Leica", "GT450"))
    assert (str(aperio), str(gt450)) == ("Aperio", "Aperio GT450")
