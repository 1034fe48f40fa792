"""The paired grid: an integer lattice of patches, exact in microns, in which each LR patch contains s*s HR patches.

Patches are linked by integers (row, col). Level-0 pixels are computed from these and rounded once per patch, so that
rounding errors never accumulate and the links are the same for every scanner (method.md, section 2).
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

    Raises
    ------
    ConfigError
        If a resolution or the size is not above 0.
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
        """Side of a patch, and distance between neighbours, in level-0 pixels; often not a whole number."""
        return self.size * self.mpp / self.slide_mpp

    @property
    def size_um(self) -> float:
        """Side of a patch in microns."""
        return self.size * self.mpp

    def level0_yx(self, index: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the top-left corners of lattice cells, each rounded once.

        Parameters
        ----------
        index
            (..., 2) row, col of the cells.

        Returns
        -------
        NDArray
            (..., 2) y, x in level-0 pixels.
        """
        exact = np.asarray(index, np.float64) * self.step_level0
        return np.floor(exact + 0.5).astype(np.int64) + np.array(self.origin_yx, np.int64)

    def shape_over(self, dimensions: tuple[int, int]) -> tuple[int, int]:
        """Return (rows, cols), the number of cells that touch a slide.

        Parameters
        ----------
        dimensions
            (width, height) of the slide in level-0 pixels.
        """
        width, height = dimensions
        rows = np.ceil((height - self.origin_yx[0]) / self.step_level0)
        cols = np.ceil((width - self.origin_yx[1]) / self.step_level0)
        return max(0, int(rows)), max(0, int(cols))

    def refined(self, children: int) -> "Grid":
        """Return the lattice with `children` times finer mpp and the same patch side in pixels.

        Raises
        ------
        ConfigError
            If `children` is below 1.
        """
        if children < 1:
            raise ConfigError(f"Expected 1 or more children along a side of a patch. Got {children}.")
        return Grid(self.mpp / children, self.size, self.slide_mpp, self.origin_yx)


def resolution_ratio(mpp_lr: float, mpp_hr: float) -> int:
    """Return s = mpp_lr / mpp_hr, the number of HR patches along a side of an LR patch.

    Parameters
    ----------
    mpp_lr, mpp_hr
        Resolutions in um/px.

    Raises
    ------
    ConfigError
        If the ratio is not a whole number of at least 1.
    """
    ratio = mpp_lr / mpp_hr
    if ratio < 1 or abs(ratio - round(ratio)) > 1e-6:
        raise ConfigError(
            "Expected the LR resolution to be a whole multiple of the HR resolution. "
            f"Got {mpp_lr} and {mpp_hr} um/px (ratio {ratio:.4g}). Choose for instance 2.0 and 0.5."
        )
    return round(ratio)


def children_of(parents: NDArray[np.integer], children: int) -> NDArray[np.int32]:
    """Return the HR cells inside LR cells in reading order: slot k = i * children + j.

    Parameters
    ----------
    parents
        (n, 2) row, col on the LR lattice.
    children
        s, the number of children along a side.

    Returns
    -------
    NDArray
        (n, s*s, 2) row, col on the HR lattice.
    """
    offsets = np.stack(np.meshgrid(np.arange(children), np.arange(children), indexing="ij"), -1).reshape(-1, 2)
    return (np.asarray(parents, np.int32)[:, None, :] * children + offsets).astype(np.int32)


def parent_of(index: NDArray[np.integer], children: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the LR cells that contain HR cells (n, 2), and the slots in them; the inverse of `children_of`.

    Returns
    -------
    parents, slots
        (n, 2) row, col on the LR lattice, and (n,) slots from 0 to s*s - 1.
    """
    index = np.asarray(index, np.int32)
    parents, within = np.divmod(index, children)
    return parents.astype(np.int32), (within[:, 0] * children + within[:, 1]).astype(np.int32)


def positions_in(index: NDArray[np.integer], parents: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return where each lattice cell is in an index.

    Parameters
    ----------
    index
        (n, 2) rows and columns, each once.
    parents
        (m, 2) rows and columns to find.

    Returns
    -------
    ndarray of int64
        (m,) positions in `index`, -1 where a cell is absent.
    """
    if not len(index):
        return np.full(len(parents), -1, np.int64)
    width = int(max(index[:, 1].max(), parents[:, 1].max(initial=0))) + 1
    keys = index[:, 0].astype(np.int64) * width + index[:, 1]
    wanted = parents[:, 0].astype(np.int64) * width + parents[:, 1]
    order = np.argsort(keys)
    found = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
    return np.where(keys[found] == wanted, found, -1)


def token_overlap(tokens: int, children: int) -> NDArray[np.float32]:
    """Return W of method.md section 5: the share of each HR child's area under each token of the student.

    Parameters
    ----------
    tokens
        G, the side of the student's token grid on an LR patch.
    children
        s, the number of HR children along a side of the LR patch.

    Returns
    -------
    NDArray
        (s*s, G*G) weights; rows sum to 1. If G is a multiple of s, this is average pooling with window G/s.
    """
    low = np.maximum(np.arange(children)[:, None] / children, np.arange(tokens)[None, :] / tokens)
    high = np.minimum((np.arange(children)[:, None] + 1) / children, (np.arange(tokens)[None, :] + 1) / tokens)
    along = np.clip(high - low, 0.0, None) * children
    overlap = np.einsum("ij,kl->ikjl", along, along).reshape(children**2, tokens**2)
    return np.asarray(overlap / overlap.sum(1, keepdims=True), np.float32)
