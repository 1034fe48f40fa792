"""The paired grid: an integer lattice of patches, exact in microns, whose LR parents nest s*s HR children.

Everything is linked by integers (row, col); level-0 pixels are computed from them, rounded once per patch, so rounding
never accumulates and the links are the same for every scanner (method.md, section 2).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Grid:
    """A lattice of square patches at one resolution.

    Parameters
    ----------
    mpp
        Resolution of the patches, um/px.
    size
        Side of a patch in pixels at `mpp`.
    slide_mpp
        Resolution of the slide's level 0, um/px.
    origin_yx
        Level-0 pixel where lattice cell (0, 0) begins: the scanner's bounds offset, or (0, 0).
    """

    mpp: float
    size: int
    slide_mpp: float
    origin_yx: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if not (self.mpp > 0 and self.slide_mpp > 0 and self.size > 0):
            raise ConfigError(
                "Expected a resolution and a patch size above 0. "
                f"Got mpp={self.mpp}, slide_mpp={self.slide_mpp}, size={self.size}."
            )

    @property
    def step_level0(self) -> float:
        """Side of a patch, and distance between neighbours, in level-0 pixels (not a whole number in general)."""
        return self.size * self.mpp / self.slide_mpp

    @property
    def size_um(self) -> float:
        """Side of a patch in microns."""
        return self.size * self.mpp

    def level0_yx(self, index: NDArray[np.integer]) -> NDArray[np.int64]:
        """Top-left corners in level-0 pixels of lattice cells (..., 2), each rounded once."""
        exact = np.asarray(index, np.float64) * self.step_level0
        return np.floor(exact + 0.5).astype(np.int64) + np.array(self.origin_yx, np.int64)

    def shape_over(self, dimensions: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of cells that touch a slide of `dimensions` (width, height) level-0 pixels."""
        width, height = dimensions
        rows = np.ceil((height - self.origin_yx[0]) / self.step_level0)
        cols = np.ceil((width - self.origin_yx[1]) / self.step_level0)
        return max(0, int(rows)), max(0, int(cols))

    def refined(self, children: int) -> "Grid":
        """Return the lattice `children` times finer: same patch side in pixels, `children` times finer mpp."""
        return Grid(self.mpp / children, self.size, self.slide_mpp, self.origin_yx)


def resolution_ratio(mpp_lr: float, mpp_hr: float) -> int:
    """s = mpp_LR / mpp_HR, the number of HR patches along a side of an LR patch.

    Raises
    ------
    ConfigError
        If the ratio is not a whole number of at least 1.
    """
    ratio = mpp_lr / mpp_hr
    if ratio < 1 or abs(ratio - round(ratio)) > 1e-6:
        raise ConfigError(
            "Expected the LR resolution to be a whole multiple of the HR resolution, so that HR patches nest. "
            f"Got {mpp_lr} and {mpp_hr} um/px (ratio {ratio:.4g}); choose for instance 2.0 and 0.5."
        )
    return round(ratio)


def children_of(parents: NDArray[np.integer], children: int) -> NDArray[np.int32]:
    """HR lattice cells nested in LR cells, slot k = i * children + j in reading order.

    Parameters
    ----------
    parents
        (n, 2) row, col on the LR lattice.
    children
        s, children along a side.

    Returns
    -------
    (n, s*s, 2) row, col on the HR lattice.
    """
    offsets = np.stack(np.meshgrid(np.arange(children), np.arange(children), indexing="ij"), -1).reshape(-1, 2)
    return (np.asarray(parents, np.int32)[:, None, :] * children + offsets).astype(np.int32)


def parent_of(index: NDArray[np.integer], children: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """LR cells (n, 2) and slots (n,) of HR cells (n, 2); the inverse of `children_of`."""
    index = np.asarray(index, np.int32)
    parents, within = np.divmod(index, children)
    return parents.astype(np.int32), (within[:, 0] * children + within[:, 1]).astype(np.int32)


def token_overlap(tokens: int, children: int) -> NDArray[np.float32]:
    """W of method.md section 5: share of each HR child's area that lies under each token of the student.

    Parameters
    ----------
    tokens
        G, side of the student's token grid on an LR patch.
    children
        s, HR children along a side of the LR patch.

    Returns
    -------
    (s*s, G*G) weights, rows sum to 1. Where G is a multiple of s this is average pooling with window G/s.
    """
    low = np.maximum(np.arange(children)[:, None] / children, np.arange(tokens)[None, :] / tokens)
    high = np.minimum((np.arange(children)[:, None] + 1) / children, (np.arange(tokens)[None, :] + 1) / tokens)
    along = np.clip(high - low, 0.0, None) * children
    overlap = np.einsum("ij,kl->ikjl", along, along).reshape(children**2, tokens**2)
    return np.asarray(overlap / overlap.sum(1, keepdims=True), np.float32)
