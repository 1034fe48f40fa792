"""The bag of a slide as a head takes it: embeddings, or regions with those of their HR patches side by side."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrmil.errors import FormatError
from lrmil.features.store import Features, read_card, read_features, read_index
from lrmil.geometry import parent_of, positions_in, resolution_ratio


def read_bag(features: Path, nested: Path | None = None) -> Tensor:
    """Return the bag of a slide as a head takes it.

    Parameters
    ----------
    features
        lrmil.features/1 folder of the n patches or regions that the head attends to.
    nested
        lrmil.features/1 folder of the HR patches that it weighs within the regions, or None.

    Returns
    -------
    Tensor
        (n, d) embeddings; with `nested`, (n, k, d + 1) as `lrmil.models.heads.region_attention` takes them.

    Raises
    ------
    FormatError
        If features are damaged, or the regions are not those of the HR patches.
    """
    if nested is None:
        return torch.from_numpy(read_features(features).embeddings)
    hr, mpp = read_features(nested), read_card(features).mpp
    placed = place_patches(read_index(features), hr, resolution_ratio(mpp, hr.card.mpp))
    if placed is None:
        raise FormatError(
            f"The regions in {features} are not those of the patches in {nested}. Delete the folder of the regions, "
            "then rerun the same command."
        )
    return torch.from_numpy(placed)


def place_patches(regions: NDArray[np.int32], hr: Features, children: int) -> NDArray[np.float32] | None:
    """Put the embeddings of HR patches side by side in the regions that contain them.

    Parameters
    ----------
    regions
        (n, 2) rows and columns on the LR lattice.
    hr
        HR patches of a slide.
    children
        s, HR patches along a side of a region.

    Returns
    -------
    ndarray of float32
        (n, s*s, d + 1): embeddings, and last 1 where there is a patch; all 0 where there is none. None if a patch lies
        in no region, or a region has no patch.
    """
    parents, slots = parent_of(hr.index, children)
    position = positions_in(regions, parents)
    if not np.array_equal(np.unique(position), np.arange(len(regions))):
        return None
    placed = np.zeros((len(regions), children**2, hr.embeddings.shape[1] + 1), np.float32)
    placed[position, slots, :-1] = hr.embeddings
    placed[position, slots, -1] = 1.0
    return placed
