"""Whether a file that is no slide is whole all the same: then napari's other readers open it."""

from pathlib import Path
from typing import Any

from lrmil.errors import LrmilError
from lrmil.io import untrusted
from lrmil.slides.readers.tiff_completeness import is_whole_tiff

BROKEN = (LrmilError, OSError, KeyError, TypeError, AttributeError, ValueError)


def is_whole(path: Path) -> bool:
    """Whether a TIFF has all of its first and last picture, or a zarr all arrays that it names."""
    return _is_whole_zarr(path) if path.is_dir() else path.is_file() and is_whole_tiff(path)


def _is_whole_zarr(path: Path) -> bool:
    """Its descriptions are read as texts: no array is opened that nobody has checked."""
    try:
        named = _named(path)
        if named:
            return all(_is_array(path / name) for name in named)
        return _is_array(path) or any(_is_array(one) for one in path.iterdir())
    except BROKEN:
        return False


def _named(path: Path) -> list[str]:
    """Arrays that the description of an OME-Zarr names; none where there is no such description."""
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
