"""Stains are changed by the law of absorption, each patch by its own values, and unstained glass only by the offset."""

import math

import numpy as np
import pytest
import torch

from lrmil.training.stain import STAINS, StainChanges, amounts, draw_stains, vary_stains


def pixels(count: int = 2, side: int = 5) -> torch.Tensor:
    return torch.randint(1, 256, (count, side, side, 3), generator=torch.Generator().manual_seed(0)).float()


def changes(count: int, factor: float = 1.0, offset: float = 0.0) -> StainChanges:
    return StainChanges(torch.full((count, 3), factor), torch.full((count, 3), offset))


def naive(image: np.ndarray, factor: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """One pixel at a time: intensities to densities to amounts, and back."""
    stains, changed = STAINS.double().numpy(), np.zeros_like(image)
    for b, y, x in np.ndindex(image.shape[:3]):
        density = [-math.log(value / 255) for value in image[b, y, x]]
        amount = np.linalg.solve(stains.T, density)
        density = stains.T @ (amount * factor[b] + offset[b])
        changed[b, y, x] = [min(255.0, 255 * math.exp(-value)) for value in density]
    return changed


@pytest.mark.parametrize("strength", [0.05, 0.2])
def test_every_pixel_is_changed_as_one_alone(strength: float) -> None:
    image, drawn = pixels(), draw_stains(2, strength, torch.Generator().manual_seed(1))
    expected = naive(image.double().numpy(), drawn.factor.double().numpy(), drawn.offset.double().numpy())
    assert np.abs(expected - image.numpy()).max() > 2
    np.testing.assert_allclose(vary_stains(image, drawn).numpy(), expected, atol=0.02)


def test_the_amounts_are_those_of_scikit_image() -> None:
    color = pytest.importorskip("skimage.color")
    image = pixels()
    found = amounts(image.double()).numpy()
    theirs = color.rgb2hed(image.numpy().astype(np.uint8)) * -math.log(1e-6)  # their unit of density; cut at 0
    np.testing.assert_allclose(np.maximum(found, 0), theirs, atol=1e-6)
    assert (theirs > 0.1).any((0, 1, 2)).all()


def test_no_change_leaves_the_pixels_as_they_are() -> None:
    image = torch.cat([pixels(), torch.zeros(1, 5, 5, 3), torch.full((1, 5, 5, 3), 255.0)])
    assert torch.equal(vary_stains(image, changes(4)), image)


def test_factors_leave_glass_alone_and_offsets_do_not() -> None:
    glass = torch.full((1, 2, 2, 3), 255.0)
    assert torch.equal(vary_stains(glass, changes(1, factor=1.2)), glass)
    assert (vary_stains(glass, changes(1, offset=0.05)) < glass).all()
    assert torch.equal(vary_stains(glass, changes(1, offset=-0.05)), glass)  # no brighter than white


def test_a_factor_scales_the_amount_of_its_own_stain_alone() -> None:
    image = pixels().double().clamp(60, 200)
    factor = torch.ones(2, 3)
    factor[0, 0] = 1.1
    found, before = amounts(vary_stains(image, StainChanges(factor, torch.zeros(2, 3)))), amounts(image)
    expected = before.clone()
    expected[0, ..., 0] *= 1.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_each_patch_and_stain_has_its_own_change() -> None:
    drawn = draw_stains(64, 0.2, torch.Generator().manual_seed(3))
    for values, middle in ((drawn.factor, 1.0), (drawn.offset, 0.0)):
        assert values.shape == (64, 3) and values.unique().numel() == 64 * 3
        assert (values - middle).abs().max() <= 0.2001 and (values - middle).abs().mean() > 0.05
    again = draw_stains(64, 0.2, torch.Generator().manual_seed(3))
    assert torch.equal(again.factor, drawn.factor) and torch.equal(again.offset, drawn.offset)
