"""Define Raster, a small array that lies on a slide: tissue, attention and coverage are Rasters."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Raster:
    """An array whose cells lie on a slide.

    Parameters
    ----------
    array
        (rows, cols) values, one per cell.
    to_level0
        (2, 3) affine: ``to_level0 @ (row, col, 1)`` is the (y, x) of the top-left corner of cell (row, col) in
        level-0 pixels. Cells do not overlap and leave no gaps.
    """

    array: NDArray[np.generic]
    to_level0: NDArray[np.float64]

    @classmethod
    def on_lattice(
        cls, array: NDArray[np.generic], *, cell_level0: float | tuple[float, float], origin_yx: tuple[float, float]
    ) -> "Raster":
        """Place an array on a slide with upright cells.

        Parameters
        ----------
        array
            (rows, cols) values.
        cell_level0
            Side of a cell in level-0 pixels: one number, or (y, x).
        origin_yx
            Level-0 (y, x) of the top-left corner of cell (0, 0).
        """
        cell_y, cell_x = (cell_level0, cell_level0) if isinstance(cell_level0, int | float) else cell_level0
        return cls(array, np.array([[cell_y, 0.0, origin_yx[0]], [0.0, cell_x, origin_yx[1]]]))

    @property
    def cell_yx(self) -> tuple[float, float]:
        """(height, width) of a cell in level-0 pixels."""
        return float(self.to_level0[0, 0]), float(self.to_level0[1, 1])

    @property
    def origin_yx(self) -> tuple[float, float]:
        """Level-0 (y, x) of the top-left corner of cell (0, 0)."""
        return float(self.to_level0[0, 2]), float(self.to_level0[1, 2])

    @property
    def sha256(self) -> str:
        """SHA-256, in hex, of the values and their position."""
        digest = hashlib.sha256(f"{self.array.shape} {self.array.dtype.str} {self.to_level0.tolist()}".encode())
        digest.update(np.ascontiguousarray(self.array).tobytes())
        return digest.hexdigest()

    def equals(self, other: "Raster") -> bool:
        """Return whether all values and places are the same; NaN equals NaN."""
        same = np.array_equal(self.array, other.array, equal_nan=True)
        return same and np.array_equal(self.to_level0, other.to_level0)

    def mean_over(self, level0_yx: NDArray[np.number], size_level0: float) -> NDArray[np.float64]:
        """Return the mean of the raster over upright squares, weighted by area; outside the raster it is 0.

        Parameters
        ----------
        level0_yx
            (n, 2) top-left corners of the squares in level-0 pixels.
        size_level0
            Side of the squares in level-0 pixels.

        Returns
        -------
        NDArray
            (n,) means; for a boolean raster, the covered fraction of each square.
        """
        corners = (np.asarray(level0_yx, float) - self.origin_yx) / self.cell_yx
        sides = np.array([size_level0, size_level0]) / self.cell_yx
        integral = np.zeros((self.array.shape[0] + 1, self.array.shape[1] + 1))
        integral[1:, 1:] = self.array.astype(float).cumsum(0).cumsum(1)
        top, left = corners[:, 0], corners[:, 1]
        bottom, right = top + sides[0], left + sides[1]
        total = (
            _sample(integral, bottom, right)
            - _sample(integral, top, right)
            - _sample(integral, bottom, left)
            + _sample(integral, top, left)
        )
        return np.asarray(np.clip(total / sides.prod(), 0.0, None))


def _sample(integral: NDArray[np.float64], y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolate an integral image linearly; this is exact, because the raster is constant within a cell."""
    y = np.clip(y, 0, integral.shape[0] - 1)
    x = np.clip(x, 0, integral.shape[1] - 1)
    y0 = np.minimum(y.astype(int), integral.shape[0] - 2)
    x0 = np.minimum(x.astype(int), integral.shape[1] - 2)
    fy, fx = y - y0, x - x0
    upper = integral[y0, x0] * (1 - fx) + integral[y0, x0 + 1] * fx
    lower = integral[y0 + 1, x0] * (1 - fx) + integral[y0 + 1, x0 + 1] * fx
    return np.asarray(upper * (1 - fy) + lower * fy)
