"""The tissue mask beside a prediction: work of a person, so it is never deleted, and an edited one is left alone."""

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


def require_mask_place(path: Path, mask: Raster | None, written: str) -> None:
    """Refuse to write a mask in the place of one that was edited since lrmil wrote it, or of something else.

    Parameters
    ----------
    path
        Where the mask of the prediction goes.
    mask
        The mask to use now, None when none is given.
    written
        `content_hash` of what lrmil wrote there, "" when that is not known.

    Raises
    ------
    OverwriteError
        Naming the file and what to do.
    """
    if mask is None or not os.path.lexists(path) or _holds(path, mask):
        return
    edited = bool(written) and content_hash(path) != written
    if edited or not is_map(path):
        raise OverwriteError(
            f"'{path.name}' in the output folder was edited, or not written by lrmil, and another mask is given. Use "
            "that one (--tissue with this folder), or move or rename it, then run the same command again."
        )


def place_mask(path: Path, mask: Raster | None, written: str, *, mpp: float, mpp_source: str) -> str:
    """Put the mask of a prediction in its place, and one that is no longer used aside; see `require_mask_place`.

    Returns
    -------
    `content_hash` of the mask that was given, "" when none was.
    """
    require_mask_place(path, mask, written)
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
    """Hash the names and bytes of all files in a folder; "" when it is no folder."""
    if path.is_symlink() or not path.is_dir():
        return ""
    digest = hashlib.sha256()
    for part in sorted(part for part in path.rglob("*") if part.is_file() and not JUNK.fullmatch(part.name)):
        digest.update(f"{part.relative_to(path).as_posix()} {hashing.sha256_file(part)}\n".encode())
    return digest.hexdigest()


def _holds(path: Path, mask: Raster) -> bool:
    """Whether a folder holds this mask; what is read back lies in its place up to rounding."""
    try:
        there = read_ome_zarr(path)
    except FormatError:
        return False
    close: Callable[..., bool] = np.allclose
    return np.array_equal(there.array.astype(float) > 0.5, mask.array.astype(float) > 0.5) and close(
        there.to_level0, mask.to_level0, rtol=1e-9
    )


def _put_aside(path: Path) -> None:
    """Keep a mask under a name with a number, once."""
    stem, found = path.name.removesuffix(".tissue.ome.zarr"), content_hash(path)
    number = 1
    while os.path.lexists(aside := path.with_name(f"{stem}.tissue-{number}.ome.zarr")):
        if found and content_hash(aside) == found:
            atomic.remove(path)
            return
        number += 1
    atomic.rename(path, aside)
