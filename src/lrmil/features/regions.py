"""HR patches by the LR patch, or region, that contains them: means, places side by side, and the bag of a teacher."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrmil.configs import Teacher
from lrmil.geometry import parent_of, positions_in
from lrmil.targets import region_targets


def mean_of_regions(
    index: NDArray[np.int32], embeddings: NDArray[np.float32], children: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Average HR embeddings over the LR patches that contain them.

    Parameters
    ----------
    index
        (n, 2) rows and columns of HR patches.
    embeddings
        (n, d) theirs.
    children
        s, HR patches along a side of an LR patch.

    Returns
    -------
    index, means
        (r, 2) rows and columns on the LR lattice, in reading order, and (r, d) mu_r.
    """
    parents, _ = parent_of(index, children)
    cells, position = np.unique(parents, axis=0, return_inverse=True)
    values = torch.from_numpy(embeddings).double()
    found = region_targets(values.new_zeros(len(parents)), values, torch.from_numpy(position), len(cells))
    return cells.astype(np.int32), found.mean.float().numpy()


def place_patches(
    regions: NDArray[np.int32], index: NDArray[np.int32], embeddings: NDArray[np.float32], children: int
) -> NDArray[np.float32]:
    """Put the embeddings of HR patches side by side in the regions that contain them.

    Parameters
    ----------
    regions
        (r, 2) rows and columns on the LR lattice.
    index, embeddings, children
        As for `mean_of_regions`.

    Returns
    -------
    ndarray of float32
        (r, s*s, d + 1): embeddings, and last 1 where there is a patch; all 0 where there is none.

    Raises
    ------
    ValueError
        If a patch lies in no region, or a region has no patch.
    """
    parents, slots = parent_of(index, children)
    position = positions_in(regions, parents)
    if not np.array_equal(np.unique(position), np.arange(len(regions))):
        raise ValueError("Expected the regions of these patches.")
    placed = np.zeros((len(regions), children**2, embeddings.shape[1] + 1), np.float32)
    placed[position, slots, :-1] = embeddings
    placed[position, slots, -1] = 1.0
    return placed


def teacher_bag(teacher: Teacher, index: NDArray[np.int32], embeddings: NDArray[np.float32], children: int) -> Tensor:
    """Return HR patches as the bag that a teacher takes.

    Parameters
    ----------
    teacher
        What it attends to.
    index, embeddings, children
        As for `mean_of_regions`; n is at least 1.

    Returns
    -------
    Tensor
        (n, d) of patches, (r, d) of regions, or (r, s*s, d + 1) as `lrmil.models.heads.region_attention` takes them.
    """
    if teacher == "patch":
        return torch.from_numpy(embeddings)
    cells, means = mean_of_regions(index, embeddings, children)
    if teacher == "region":
        return torch.from_numpy(means)
    return torch.from_numpy(place_patches(cells, index, embeddings, children))


def in_most_attended(
    index: NDArray[np.int32],
    attention: NDArray[np.float64],
    hr_index: NDArray[np.int32],
    *,
    children: int,
    regions: int,
) -> NDArray[np.bool_]:
    """Mark the HR patches in the LR patches with most attention.

    Parameters
    ----------
    index, attention
        (n, 2) rows and columns of LR patches, and (n,) the attention of each.
    hr_index
        (m, 2) rows and columns of HR patches.
    children
        s, HR patches along a side of an LR patch.
    regions
        How many LR patches to take, of those that contain an HR patch; of equal attention the first. Attention is
        compared as float32, as it is stored, so that a stored answer has the same regions.

    Returns
    -------
    ndarray of bool
        (m,)
    """
    position = positions_in(index, parent_of(hr_index, children)[0])
    candidates = np.unique(position[position >= 0])
    stored = attention[candidates].astype(np.float32)
    chosen = candidates[np.argsort(-stored, kind="stable")[:regions]]
    return np.isin(position, chosen)
