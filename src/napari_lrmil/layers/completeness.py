"""Whether a file that cannot be read as a slide is complete: then napari's other readers open it."""

from pathlib import Path
from typing import Any

from lrmil.errors import LrmilError
from lrmil.io import untrusted
from lrmil.slides.readers.tiff_completeness import is_whole_tiff

# A description that anybody may have written: each misses what it should hold in another way.
BROKEN = (LrmilError, OSError, KeyError, TypeError, AttributeError, ValueError)


def is_complete(path: Path) -> bool:
    """Return True if a TIFF has all of its first and last image, or a zarr all arrays that it names.

    Parameters
    ----------
    path
        A file, or the folder of a zarr.
    """
    return _is_complete_zarr(path) if path.is_dir() else path.is_file() and is_whole_tiff(path)


def _is_complete_zarr(path: Path) -> bool:
    """Read its descriptions as text only: no unchecked array is opened."""
    try:
        named = _named(path)
        if named:
            return all(_is_array(path / name) for name in named)
        return _is_array(path) or any(_is_array(one) for one in path.iterdir())
    except BROKEN:
        return False


def _named(path: Path) -> list[str]:
    """Return the arrays that the description of an OME-Zarr names; none without a description."""
    found: list[dict[str, Any]] = []
    if (path / "zarr.json").exists():
        found.append(_document(path / "zarr.json").get("attributes", {}).get("ome", {}))
    if (path / ".zattrs").exists():
        found.append(_document(path / ".zattrs"))
    scenes = [scene for about in found for scene in about.get("multiscales", [])]
    return [str(level["path"]) for scene in scenes for level in scene["datasets"]]


def _is_array(path: Path) -> bool:
    if (path / ".zarray").is_file():
        return bool(_document(path / ".zarray")["shape"])
    return (path / "zarr.json").is_file() and _document(path / "zarr.json")["node_type"] == "array"


def _document(path: Path) -> dict[str, Any]:
    document = untrusted.read_json(path)
    if not isinstance(document, dict):
        raise TypeError(f"Expected an object in {path}. Got {type(document).__name__}.")
    return document
