"""Ink of a pen is told from tissue."""

import pytest

from lrmil.patches.tissue import segment, tissue_mask
from support.stained_pictures import PINK, STAINS, E, density_of, drawn, paint


@pytest.mark.parametrize(
    "ink", [(210, 30, 45), (40, 150, 110), (40, 100, 210), (30, 30, 35), (65, 32, 45), (40, 40, 160)]
)
def test_pen_is_not_tissue(ink: tuple[int, int, int]) -> None:
    mask = tissue_mask(paint((slice(150, 350), slice(50, 350), PINK), (slice(20, 60), slice(20, 380), ink)))
    assert not mask[:100].any()
    assert mask[160:340, 60:340].mean() > 0.99


class TestPen:
    INKS = ((210, 30, 45), (40, 150, 110), (40, 100, 210), (30, 30, 35), (40, 40, 160), (20, 120, 60))

    @pytest.mark.parametrize("ink", INKS)
    @pytest.mark.parametrize("stain", ["eosin", "DAB"])
    def test_on_glass(self, ink: tuple[int, ...], stain: str) -> None:
        found = segment(drawn(density_of(STAINS.get(stain, E)), ink, slice(200, 222)))
        assert not found.tissue[195:].any()
        assert found.tissue[63:177, 73:207].mean() > 0.9
        assert (found.pen | found.black)[202:220, 24:256].mean() > 0.98
        assert not (found.pen & found.black).any() and not (found.tissue & (found.pen | found.black)).any()

    @pytest.mark.parametrize("ink", [(40, 150, 110), (20, 120, 60), (30, 30, 35), (210, 30, 45)])
    def test_over_tissue(self, ink: tuple[int, ...]) -> None:
        found = segment(drawn(density_of(), ink, slice(100, 122)))
        assert found.tissue[104:118, 80:200].mean() < 0.1
        assert found.tissue[135:175, 75:205].mean() > 0.9
