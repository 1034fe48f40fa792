"""Write features for other tools: h5 in the layout of TRIDENT, with more attributes."""

from pathlib import Path

import h5py

from lrmil.features.store import read_features
from lrmil.io import atomic
from lrmil.io.marks import is_plain, starts


def write_trident(path: Path, features: Path) -> None:
    """Write ``features`` (n, d) float32 and ``coords`` (n, 2) int64: level-0 pixels, top-left, x before y.

    Parameters
    ----------
    path
        The .h5 file.
    features
        Folder in the format lrmil.features/1.

    Raises
    ------
    FormatError
        If the features cannot be read.
    OverwriteError
        If another file has the name `path`.
    """
    values = read_features(features)
    card = values.card
    corners = card.grid.level0_yx(values.index)
    with atomic.replacing(path, is_trident) as temporary, h5py.File(temporary, "w") as file:
        file.create_dataset("features", data=values.embeddings)
        coords = file.create_dataset("coords", data=corners[:, ::-1])
        attributes = {
            "patch_size": card.size,
            "patch_size_level0": round(card.grid.step_level0),
            "target_magnification": 10.0 / card.mpp,
            "level0_magnification": 10.0 / card.slide_mpp,
            "overlap": 0,
            "name": card.slide_id,
            "mpp": card.mpp,
            "patch_size_um": card.grid.size_um,
            "slide_mpp": card.slide_mpp,
            "mpp_source": card.mpp_source,
            "checksum": card.checksum,
            "encoder_hash": card.encoder_hash,
            "schema_version": "lrmil.features/1",
        }
        for name, value in attributes.items():
            coords.attrs[name] = value


def is_trident(path: Path) -> bool:
    """Return whether a file is an h5 of features that `write_trident` wrote, and contains nothing else."""
    if not is_plain(path):
        return False
    try:
        with h5py.File(path, "r") as file:
            mark = file["coords"].attrs.get("schema_version")
            return set(file) == {"features", "coords"} and starts(mark, "lrmil.features/")
    except (OSError, KeyError, AttributeError, RuntimeError, ValueError):
        return False
