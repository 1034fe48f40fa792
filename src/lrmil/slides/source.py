"""Define a slide to work on: its path, its id, and the kind of its file."""

from pathlib import Path
from typing import NamedTuple

from lrmil.errors import SlideError
from lrmil.io.zarr_folders import ZARR_SUFFIX
from lrmil.slides.checksums import Checksum
from lrmil.slides.dicom_head import is_dicom
from lrmil.slides.dicom_series import DICOM

TIFF_EXTENSIONS = (".svs", ".tif", ".tiff", ".ndpi", ".btf")
MRXS = ".mrxs"
OPENSLIDE_EXTENSIONS = (MRXS, ".scn", ".bif", DICOM, ".vms", ".vmu", ".svslide", ".czi")
FLAT_EXTENSIONS = (".png", ".jpg", ".jpeg")
ZARR_EXTENSIONS = (ZARR_SUFFIX,)
SCAN_EXTENSIONS = TIFF_EXTENSIONS + OPENSLIDE_EXTENSIONS
EXTENSIONS = SCAN_EXTENSIONS + FLAT_EXTENSIONS + ZARR_EXTENSIONS
DOUBLE_EXTENSIONS = (".ome.tif", ".ome.tiff", ".ome.btf", ".ome.zarr")
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # classic and BigTIFF, either byte order
NAMELESS = ("", "..")  # names of paths such as "."
PNG_MAGIC, JPEG_MAGIC = b"\x89PNG", b"\xff\xd8\xff"


class SlideSource(NamedTuple):
    """A slide to work on, and what the user stated about it."""

    slide_id: str
    path: Path
    mpp: float | None = None
    """Resolution of level 0 in um/px, in place of the metadata."""
    objective_power: bool = False
    """Whether the magnification may replace a missing um/px."""
    checksums: tuple[Checksum, ...] = ()
    """Digests that its files must have; see `lrmil.slides.checksums.verify`."""


def slide_id_of(path: str | Path) -> str:
    """Return the id of a slide: its file name without extension, where ``.ome.tif`` and the like count as one.

    A DICOM file named by its UID has no extension, in spite of the dots.
    """
    path = Path(path)
    if path.name in NAMELESS:
        path = path.resolve()
    for extension in DOUBLE_EXTENSIONS:
        if path.name.lower().endswith(extension):
            return path.name[: -len(extension)]
    known = path.suffix.lower() in EXTENSIONS
    return path.stem if known or (path.is_file() and not is_dicom(path)) else path.name


def is_tiff(file: Path) -> bool:
    """Return whether a file is a TIFF, by its first bytes.

    Raises
    ------
    SlideError
        If the file cannot be read, or is empty.
    """
    return _first_bytes(file) in TIFF_MAGIC


def is_flat(file: Path) -> bool:
    """Return whether a file is a PNG or JPEG image, by its first bytes.

    Raises
    ------
    SlideError
        If the file cannot be read, or is empty.
    """
    return _first_bytes(file).startswith((PNG_MAGIC, JPEG_MAGIC))


def _first_bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise SlideError(f"Cannot read {file}: {error}. Check its permissions.") from error
    if not magic:
        raise SlideError(f"The file {file} is empty. Copy it again from its source.")
    return magic
