"""The bag of a slide as a head takes it: embeddings, or regions with those of their HR patches side by side."""

from pathlib import Path

import torch
from torch import Tensor

from lrmil.errors import FormatError
from lrmil.features.regions import place_patches
from lrmil.features.store import read_card, read_features, read_index
from lrmil.geometry import resolution_ratio


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
    try:
        placed = place_patches(read_index(features), hr.index, hr.embeddings, resolution_ratio(mpp, hr.card.mpp))
    except ValueError as error:
        raise FormatError(
            f"The regions in {features} are not those of the patches in {nested}. Delete the folder of the regions, "
            "then rerun the same command."
        ) from error
    return torch.from_numpy(placed)
