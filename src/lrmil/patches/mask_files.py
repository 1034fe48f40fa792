"""Store the tissue mask beside a prediction. A person may have edited it, so it is never deleted."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lrmil.errors import FormatError, OverwriteError
from lrmil.io import atomic, hashing
from lrmil.io.marks import JUNK
from lrmil.io.ownership import is_map
from lrmil.io.raster_zarr import read_ome_zarr, write_ome_zarr
from lrmil.raster import Raster

TISSUE = "{}.tissue.ome.zarr"


def require_mask_writable(path: Path, mask: Raster | None, written: str) -> None:
    """Raise if a mask cannot be written because one that was edited, or something else, is in its place.

    Parameters
    ----------
    path
        Where the mask of the prediction is stored.
    mask
        The mask to use now; None if none is given.
    written
        `content_hash` of the mask that lrmil wrote there; "" if it is unknown.

    Raises
    ------
    OverwriteError
        With the name of the file, and what to do.
    """
    if mask is None or not os.path.lexists(path) or _holds(path, mask):
        return
    edited = bool(written) and content_hash(path) != written
    if edited or not is_map(path):
        raise OverwriteError(
            f"'{path.name}' in the output folder was edited, or was not written by lrmil, and another mask is given. "
            "Use the existing one (--tissue with this folder), or move or rename it; then run the same command again."
        )


def place_mask(path: Path, mask: Raster | None, written: str, *, mpp: float, mpp_source: str) -> str:
    """Store the mask of a prediction; a mask that is no longer used is kept under another name.

    Parameters
    ----------
    path, mask, written
        As in `require_mask_writable`.
    mpp, mpp_source
        Resolution of level 0 in um/px, and where it comes from.

    Returns
    -------
    str
        `content_hash` of the stored mask; "" if none is given.

    Raises
    ------
    OverwriteError
        As `require_mask_writable`.
    """
    require_mask_writable(path, mask, written)
    if mask is None:
        if written and os.path.lexists(path) and content_hash(path) == written:
            _put_aside(path)
        return ""
    if os.path.lexists(path) and not _holds(path, mask):
        _put_aside(path)
    if not os.path.lexists(path):
        write_ome_zarr(path, mask, mpp=mpp, mpp_source=mpp_source)
    return content_hash(path)


def content_hash(path: Path) -> str:
    """Hash the names and bytes of all files in a folder; return "" if it is not a folder."""
    if path.is_symlink() or not path.is_dir():
        return ""
    digest = hashlib.sha256()
    for part in sorted(part for part in path.rglob("*") if part.is_file() and not JUNK.fullmatch(part.name)):
        digest.update(f"{part.relative_to(path).as_posix()} {hashing.sha256_file(part)}\n".encode())
    return digest.hexdigest()


def _holds(path: Path, mask: Raster) -> bool:
    """Return True if a folder holds this mask; its affine may differ by rounding."""
    try:
        there = read_ome_zarr(path)
    except FormatError:
        return False
    close: Callable[..., bool] = np.allclose
    return np.array_equal(there.array.astype(float) > 0.5, mask.array.astype(float) > 0.5) and close(
        there.to_level0, mask.to_level0, rtol=1e-9
    )


def _put_aside(path: Path) -> None:
    """Rename a mask to a numbered name; delete it if an equal one is kept already."""
    stem, found = path.name.removesuffix(".tissue.ome.zarr"), content_hash(path)
    number = 1
    while os.path.lexists(aside := path.with_name(f"{stem}.tissue-{number}.ome.zarr")):
        if found and content_hash(aside) == found:
            atomic.remove(path)
            return
        number += 1
    atomic.rename(path, aside)
