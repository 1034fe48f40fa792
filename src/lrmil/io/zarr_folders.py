"""Read the attributes of a zarr folder: whether it is a slide, or an output of lrmil."""

from pathlib import Path
from typing import Any

from lrmil.errors import FormatError
from lrmil.io.untrusted import read_json

ZARR_SUFFIX = ".zarr"
IMAGE_KEYS = ("multiscales", "bioformats2raw.layout", "plate", "well")


def zarr_attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of a zarr group of format 3 (zarr.json) or 2 (.zattrs); empty if it is not a group.

    Raises
    ------
    FormatError
        If it has a description that is not a valid JSON document.
    """
    if (folder / "zarr.json").is_file():
        document = read_json(folder / "zarr.json", printable=False)
        found = document.get("attributes") if isinstance(document, dict) else None
    else:
        found = read_json(folder / ".zattrs", printable=False) if (folder / ".zattrs").is_file() else None
    return found if isinstance(found, dict) else {}


def ome_attributes(folder: Path) -> dict[str, Any]:
    """Return the OME attributes of a zarr group: those in "ome" (version 0.5), or all attributes (before).

    Raises
    ------
    FormatError
        As `zarr_attributes`.
    """
    attributes = zarr_attributes(folder)
    ome = attributes.get("ome")
    return {**attributes, **ome} if isinstance(ome, dict) else attributes


def is_zarr_slide(folder: Path) -> bool:
    """Return whether a folder is an OME-Zarr image that may be a slide, and not features or a map that lrmil wrote.

    A folder with a damaged description counts as a slide, so that opening it reports the damage.
    """
    if folder.suffix.lower() != ZARR_SUFFIX or not folder.is_dir():
        return False
    try:
        about = ome_attributes(folder)
    except (FormatError, OSError):
        return True
    return "lrmil" not in about and any(key in about for key in IMAGE_KEYS)
