"""List the files of a slide, and hash samples of their content."""

import os
from pathlib import Path

from lrmil.io import hashing
from lrmil.io.zarr_folders import ZARR_SUFFIX
from lrmil.slides.dicom_head import is_dicom
from lrmil.slides.dicom_series import series_of
from lrmil.slides.discovery import dicom_slides
from lrmil.slides.source import MRXS

HAMAMATSU_TEXTS = (".vms", ".vmu")
MAX_TEXT = 1 << 20  # bytes
ZARR_DOCUMENTS = ("zarr.json", ".zarray", ".zattrs", ".zgroup")
SAMPLED = 64  # chunks of an OME-Zarr whose content is hashed


def parts_of(path: Path) -> list[Path]:
    """Return the files of one slide: one file, a folder's files, an MRXS and its folder, or a VMS and its images.

    For a DICOM file these are the files of its series in the same folder, from which OpenSlide reads other levels.

    Raises
    ------
    OSError
        If a folder or text cannot be read.
    """
    if path.is_dir() and path.suffix.lower() == ZARR_SUFFIX:
        return sorted(part for part in path.rglob("*") if part.is_file())
    if path.is_dir():
        only = dicom_slides(path).only
        return list(only.files) if only else _files_of(path)
    if path.suffix.lower() in HAMAMATSU_TEXTS:
        return [path, *_named_in(path)]
    if is_dicom(path):
        return series_of(path)
    return [path, *(_files_of(path.with_suffix("")) if path.suffix.lower() == MRXS else [])]


def fingerprint_of(path: Path) -> str:
    """Return a hash, in hex, of a slide's content by samples, over all its files.

    An OME-Zarr may have a hundred thousand files. Names and sizes of all of them count, but only the content of its
    documents and of about `SAMPLED` evenly spaced chunks.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    parts = parts_of(path)
    if len(parts) == 1:
        return hashing.fingerprint(parts[0])
    if path.suffix.lower() != ZARR_SUFFIX:
        return hashing.sha256_of({part.name: hashing.fingerprint(part) for part in parts})
    names = {part: part.relative_to(path).as_posix() for part in parts}
    chunks = [part for part in parts if part.name not in ZARR_DOCUMENTS]
    sampled = {part for part in parts if part.name in ZARR_DOCUMENTS} | set(chunks[:: len(chunks) // SAMPLED + 1])
    sizes = {names[part]: part.stat().st_size for part in parts}
    return hashing.sha256_of([sizes, {names[part]: hashing.fingerprint(part) for part in sampled}])


def changed_at(path: Path) -> int:
    """Return the latest time, in ns, at which a file of the slide was written or copied here."""
    stats = [part.stat() for part in parts_of(path)]
    return max((max(stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats), default=0)


def _named_in(path: Path) -> list[Path]:
    """Return the files in the same folder that a Hamamatsu VMS or VMU, a text of NAME=VALUE lines, names."""
    if not path.is_file() or path.stat().st_size > MAX_TEXT:
        return []
    lines = path.read_text(encoding="latin-1").splitlines()
    names = {value.strip() for _, equals, value in (line.partition("=") for line in lines) if equals}
    beside = sorted(path.parent / name for name in names if Path(name).name == name)
    return [one for one in beside if os.path.isfile(one)]  # noqa: PTH113 - no error for a name that is too long


def _files_of(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
