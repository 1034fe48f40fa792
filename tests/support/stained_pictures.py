"""Pictures of stained tissue on glass, by optical density, and strokes of a pen over them."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

GLASS, PALE, PINK, PURPLE = (243, 243, 243), (236, 214, 228), (220, 150, 190), (120, 70, 140)


def paint(*patches: tuple[slice, slice, tuple[int, int, int]], noise: float = 3.0) -> NDArray[np.uint8]:
    image = np.full((400, 400, 3), GLASS, float)
    for rows, columns, colour in patches:
        image[rows, columns] = colour
    image += np.random.default_rng(0).normal(0, noise, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


H, E = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])  # optical density: Ruifrok and Johnston 2001

STAINS = {
    "Alcian blue": (0.875, 0.458, 0.158),
    "light green": (0.947, 0.258, 0.196),
    "methyl green": (0.98, 0.144, 0.133),
    "aniline blue": (0.853, 0.508, 0.113),
    "toluidine blue": (0.80, 0.55, 0.25),
    "azocarmine": (0.710, 0.422, 0.563),
    "DAB": (0.268, 0.570, 0.776),
    "PAS": (0.175, 0.972, 0.154),
    "oil red O": (0.10, 0.75, 0.65),
    "orange G": (0.10, 0.34, 0.93),
}

PLACE = slice(60, 180), slice(70, 210)


def density_of(stain: tuple[float, ...] | NDArray[np.float64] = E, *, strength: float = 1.0) -> NDArray[np.float64]:
    """Optical density on (240, 280) px: nuclei, and fibres between them, at `PLACE`; bare glass around."""
    random = np.random.default_rng(1)
    nuclei = ndimage.gaussian_filter(random.normal(0, 1, (240, 280)), 1.2)
    fibres = ndimage.gaussian_filter(random.normal(0, 1, (240, 280)), 2.5)
    amounts = [np.clip(0.25 + 0.6 * nuclei / nuclei.std(), 0, 2), np.clip(0.5 + 0.25 * fibres / fibres.std(), 0.1, 2)]
    tissue = np.zeros((240, 280, 1))
    tissue[PLACE] = 1
    return np.asarray(tissue * (amounts[0][..., None] * 0.4 * H + strength * amounts[1][..., None] * np.asarray(stain)))


def scanned(density: NDArray[np.float64], glass: object = 243.0, *, noise: float = 1.0) -> NDArray[np.uint8]:
    values = np.asarray(glass, float) * np.exp(-density)
    values += np.random.default_rng(0).normal(0, noise, values.shape)
    return np.clip(values, 0, 255).astype(np.uint8)


def drawn(density: NDArray[np.float64], ink: tuple[int, ...], rows: slice) -> NDArray[np.uint8]:
    stroke = np.zeros((240, 280))
    stroke[rows, 20:260] = 1
    soft = ndimage.gaussian_filter(stroke, 1.5)[..., None]
    return scanned(density - soft * np.log(np.array(ink) / 243))


def assert_tissue_is_found(mask: NDArray[np.bool_]) -> None:
    assert mask[63:177, 73:207].mean() > 0.85
    beside = mask.copy()
    beside[56:184, 66:214] = False
    assert not beside.any()
