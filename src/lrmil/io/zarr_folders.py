"""What a zarr folder says of itself: whether it holds pictures, or is one of our own outputs."""

from pathlib import Path
from typing import Any

from lrmil.errors import FormatError
from lrmil.io.untrusted import read_json

ZARR_SUFFIX = ".zarr"
IMAGE_KEYS = ("multiscales", "bioformats2raw.layout", "plate", "well")


def zarr_attributes(folder: Path) -> dict[str, Any]:
    """Give the attributes of a zarr group of format 3 (zarr.json) or 2 (.zattrs); none where it is no group.

    Raises
    ------
    FormatError
        If its description is there and is no JSON document.
    """
    if (folder / "zarr.json").is_file():
        document = read_json(folder / "zarr.json", printable=False)
        found = document.get("attributes") if isinstance(document, dict) else None
    else:
        found = read_json(folder / ".zattrs", printable=False) if (folder / ".zattrs").is_file() else None
    return found if isinstance(found, dict) else {}


def ome_attributes(folder: Path) -> dict[str, Any]:
    """Give what OME-Zarr says of a group: within "ome" since version 0.5, among the other attributes before."""
    attributes = zarr_attributes(folder)
    ome = attributes.get("ome")
    return {**attributes, **ome} if isinstance(ome, dict) else attributes


def is_zarr_slide(folder: Path) -> bool:
    """Tell whether a folder is an OME-Zarr picture that may be a slide; our own features and maps are none.

    One whose description is damaged counts, so that opening it says what is wrong.
    """
    if folder.suffix.lower() != ZARR_SUFFIX or not folder.is_dir():
        return False
    try:
        about = ome_attributes(folder)
    except (FormatError, OSError):
        return True
    return "lrmil" not in about and any(key in about for key in IMAGE_KEYS)
