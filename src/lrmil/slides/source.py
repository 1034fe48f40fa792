"""A slide to work on: where it is, what it is called, and of which family its file is."""

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
NAMELESS = ("", "..")  # what paths such as "." are called
PNG_MAGIC, JPEG_MAGIC = b"\x89PNG", b"\xff\xd8\xff"


class SlideSource(NamedTuple):
    """A slide to work on."""

    slide_id: str
    path: Path
    mpp: float | None = None
    """Resolution of level 0 in um/px when the metadata are not to be used."""
    objective_power: bool = False
    """Whether the stated magnification may stand in for a missing um/px."""
    checksums: tuple[Checksum, ...] = ()
    """What the content of its files must be, where a list states it; see `lrmil.slides.checksums.verify`."""


def slide_id_of(path: str | Path) -> str:
    """Name a slide by its file name without extension; ``.ome.tif`` and the like count as one extension.

    What follows the last dot of a DICOM file called by its UID is no extension.
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
    """Tell by its first bytes whether a file is a TIFF.

    Raises
    ------
    SlideError
        If the file cannot be read at all.
    """
    return _first_bytes(file) in TIFF_MAGIC


def is_flat(file: Path) -> bool:
    """Tell by its first bytes whether a file is a PNG or JPEG picture.

    Raises
    ------
    SlideError
        If the file cannot be read at all.
    """
    return _first_bytes(file).startswith((PNG_MAGIC, JPEG_MAGIC))


def _first_bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise SlideError(f"Expected a readable file at {file}; the system says: {error}. Check its rights.") from error
    if not magic:
        raise SlideError(f"Expected a slide in {file}; the file is empty. Copy it again from its source.")
    return magic
