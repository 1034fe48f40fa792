"""Glass of any tint and light is told from tissue."""

import numpy as np
import pytest

from lrmil.patches.tissue import segment, tissue_mask
from support.stained_pictures import PLACE, assert_tissue_is_found, density_of, scanned

GLASSES = [(240, 225, 205), (215, 215, 245), (210, 230, 210), (255, 230, 230), (205, 205, 205), (255, 255, 255)]
GLASSES += [(170, 165, 160), (200, 180, 160), (180, 180, 200)]  # little light, as of a camera


class TestGlass:
    @pytest.mark.parametrize("noise", [1.0, 5.0])
    @pytest.mark.parametrize("glass", GLASSES)
    def test_of_any_tint(self, glass: tuple[int, int, int], noise: float) -> None:
        assert_tissue_is_found(tissue_mask(scanned(density_of(), glass, noise=noise)))

    @pytest.mark.parametrize("glass", [(240, 225, 205), (215, 215, 245), (243, 243, 243)])
    def test_whose_light_falls_off(self, glass: tuple[int, int, int]) -> None:
        y, x = np.mgrid[:240, :280][..., None] / 280
        for light in (1 - 0.2 * x * [0.5, 0.7, 1.0], 1 - 0.35 * ((x - 0.5) ** 2 + (y - 0.4) ** 2)):
            assert_tissue_is_found(tissue_mask(scanned(density_of(), glass * light)))

    @pytest.mark.parametrize("fill", [255, 0])
    def test_beside_what_was_not_scanned(self, fill: int) -> None:
        pixels = scanned(density_of(), (240, 225, 205))
        pixels[:30] = pixels[-25:] = pixels[:, :40] = fill
        assert_tissue_is_found(tissue_mask(pixels))
        assert segment(pixels).black.mean() == pytest.approx(0.33 if fill == 0 else 0, abs=0.02)

    @pytest.mark.parametrize("glass", [(240, 225, 205), (215, 215, 245), (250, 250, 250)])
    def test_without_tissue(self, glass: tuple[int, int, int]) -> None:
        assert not tissue_mask(scanned(np.zeros((240, 280, 3)), glass, noise=3.0)).any()

    @pytest.mark.parametrize("strength", [0.15, 0.3, 1.0])
    def test_that_is_not_seen_is_not_made_up(self, strength: float) -> None:
        """Pale tissue that fills the picture is tissue."""
        filled = density_of()[PLACE][:100, :100] * strength
        assert tissue_mask(scanned(filled)).mean() > 0.9
        assert tissue_mask(scanned(filled[:40, :40])).mean() > 0.9
