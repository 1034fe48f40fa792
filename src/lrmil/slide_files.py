"""Which files are slides, which files belong to one slide, and what a slide is called."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lrmil.checksums import Checksum
from lrmil.dicom_head import is_dicom
from lrmil.dicom_series import DICOM, DicomFolder, dicom_in, file_of_folder, file_with_scan, paths_of, series_of
from lrmil.errors import SlideError
from lrmil.io import hashing
from lrmil.io.ownership import is_overlay
from lrmil.io.zarr_folders import ZARR_SUFFIX, is_zarr_slide

TIFF_EXTENSIONS = (".svs", ".tif", ".tiff", ".ndpi", ".btf")
MRXS = ".mrxs"
OPENSLIDE_EXTENSIONS = (MRXS, ".scn", ".bif", DICOM, ".vms", ".vmu", ".svslide", ".czi")
FLAT_EXTENSIONS = (".png", ".jpg", ".jpeg")
ZARR_EXTENSIONS = (ZARR_SUFFIX,)
SCAN_EXTENSIONS = TIFF_EXTENSIONS + OPENSLIDE_EXTENSIONS
EXTENSIONS = SCAN_EXTENSIONS + FLAT_EXTENSIONS + ZARR_EXTENSIONS
OTHER_SCANS = tuple(one for one in SCAN_EXTENSIONS if one != DICOM)
DOUBLE_EXTENSIONS = (".ome.tif", ".ome.tiff", ".ome.btf", ".ome.zarr")
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # classic and BigTIFF, either byte order
HAMAMATSU_TEXTS = (".vms", ".vmu")
LARGEST_TEXT = 1 << 20  # bytes
NAMELESS = ("", "..")  # what paths such as "." are called
ZARR_DOCUMENTS = ("zarr.json", ".zarray", ".zattrs", ".zgroup")
SAMPLED = 64  # chunks of an OME-Zarr of which the content is hashed
PNG_MAGIC, JPEG_MAGIC = b"\x89PNG", b"\xff\xd8\xff"

log = logging.getLogger(__name__)


class SlideSource(NamedTuple):
    """A slide to work on."""

    slide_id: str
    path: Path
    mpp: float | None = None
    """Resolution of level 0 in um/px when the metadata are not to be used."""
    objective_power: bool = False
    """Whether the stated magnification may stand in for a missing um/px."""
    checksums: tuple[Checksum, ...] = ()
    """What the content of its files must be, where a list states it; see `lrmil.checksums.verify`."""


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


def find_slides(places: str | Path | Iterable[str | Path]) -> list[Path]:
    """List the slides in folders (searched recursively, hidden names skipped) and among files, sorted by path.

    A file named outright is kept whatever its extension, so that opening it says what is wrong with it; a file of a
    DICOM slide stands for that slide. PNG and JPEG files count only where a folder has no other slide: beside slides
    they are pictures of them, or parts of them. The overlays of predictions never count.
    """
    found: set[Path] = set()
    named: dict[Path, list[Path]] = {}
    for place in map(Path, [places] if isinstance(places, str | Path) else places):
        if place.is_dir() and not is_zarr_slide(place):
            found |= _slides_in(place)
        elif is_dicom(place):
            named.setdefault(place.parent, []).append(place)
        else:
            found.add(place)
    for folder, several in named.items():
        slides = {file: slide.path for slide in dicom_slides(folder).slides for file in slide.files}
        found |= {slides.get(file, file) for file in several}
    return sorted(path.resolve() if path.name in NAMELESS else path for path in found)


def dicom_slides(folder: Path) -> DicomFolder:
    """List the DICOM slides that lie in a folder itself; see `lrmil.dicom_series`."""
    return dicom_in(folder, scans=OTHER_SCANS)


def slide_path(path: Path) -> Path:
    """Return the path by which a slide is known: a file of a DICOM slide stands for that slide."""
    return find_slides([path])[0] if is_dicom(path) else path


def slide_file(path: Path) -> Path:
    """Return what to open for a slide: the file or OME-Zarr folder itself, of a DICOM slide the first with its pixels.

    Raises
    ------
    SlideError
        If nothing is there, or a folder is neither that of one DICOM slide nor a zarr, or a DICOM file holds no slide.
    """
    if is_dicom(path):
        return file_with_scan(path)
    if path.is_file() or (path.is_dir() and path.suffix.lower() == ZARR_SUFFIX):
        return path
    if not path.exists():
        if path.is_symlink():
            raise SlideError(
                f"Expected a slide at {path}; it is a link that leads nowhere, or in a circle. "
                "Mend or remove the link, and check that the disk it leads to is mounted."
            )
        raise SlideError(f"Expected a slide at {path}; nothing is there. Check the path and that its disk is mounted.")
    if not path.is_dir():
        raise SlideError(f"Expected a slide file at {path}; it is a device or a pipe, which cannot be read as one.")
    if (dicom := file_of_folder(dicom_slides(path))) is not None:
        return dicom
    raise SlideError(
        "Expected a slide file, an OME-Zarr, or a folder with the DICOM files of one slide; "
        f"{path} is another folder. Name the slides in it one by one, or move it away from the slides."
    )


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


def parts_of(path: Path) -> list[Path]:
    """List the files of one slide: the file, or those of a folder, an MRXS with its folder, a VMS with its pictures.

    A DICOM file goes with those beside it that are of its series: OpenSlide reads other levels from them.
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
    """Hash a slide's content by samples; of several files, over all of them.

    Of an OME-Zarr, which may have a hundred thousand, the names and sizes of all count, and the content of those that
    describe it and of `SAMPLED` chunks evenly among the others.
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
    """Time in ns at which a slide's files were last written or put here, of several the latest."""
    stats = [part.stat() for part in parts_of(path)]
    return max((max(stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats), default=0)


def _named_in(path: Path) -> list[Path]:
    """The files that a Hamamatsu VMS or VMU, a small text of NAME=VALUE lines, names and that lie beside it."""
    if not path.is_file() or path.stat().st_size > LARGEST_TEXT:
        return []
    lines = path.read_text(encoding="latin-1").splitlines()
    names = {value.strip() for _, equals, value in (line.partition("=") for line in lines) if equals}
    return sorted(one for one in path.parent.iterdir() if one.name in names and one.is_file())


def _first_bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise SlideError(f"Expected a readable file at {file}; the system says: {error}. Check its rights.") from error
    if not magic:
        raise SlideError(f"Expected a slide in {file}; the file is empty. Copy it again from its source.")
    return magic


def _slides_in(folder: Path) -> set[Path]:
    return set(_slides_under(folder)) or {
        path
        for _, inside in _walk(folder, {folder.resolve()})
        for path in inside
        if path.suffix.lower() in FLAT_EXTENSIONS and path.is_file() and not is_overlay(path)
    }


def _slides_under(folder: Path) -> Iterable[Path]:
    for place, inside in _walk(folder, {folder.resolve()}):
        dicom = set[Path]()
        if any(_may_be_dicom(path) for path in inside):
            among = dicom_slides(place)
            dicom.update(among.files)
            yield from paths_of(among)
        for path in inside:
            is_scan = path.suffix.lower() in SCAN_EXTENSIONS and path not in dicom
            if is_zarr_slide(path) or (is_scan and (path.is_file() or _is_lost(path))):
                yield path


def _may_be_dicom(path: Path) -> bool:
    """Tell whether to look for DICOM in the folder of a file: archives also name files by UIDs, without extension."""
    suffix = path.suffix.lower()
    if suffix == DICOM:
        return path.is_file()
    return (suffix in ("", ".dicom", ".ima") or suffix[1:].isdigit()) and path.is_file() and is_dicom(path)


def _walk(folder: Path, seen: set[Path]) -> Iterable[tuple[Path, list[Path]]]:
    """Give each folder with what is in it, also behind links, each once: links may lead in a circle."""
    try:
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        log.warning("The slides in %s are left out: it cannot be listed: %s", folder, error.strerror)
        return
    yield folder, inside
    for path in inside:
        if path.suffix.lower() == ZARR_SUFFIX:
            continue  # what is in it are chunks, and many of them
        try:
            real = path.resolve() if path.is_dir() else None
        except (OSError, RuntimeError):  # RuntimeError: a circle of links
            real = None
        if real is not None and real not in seen:
            seen.add(real)
            yield from _walk(path, seen)


def _is_lost(path: Path) -> bool:
    """Tell whether a name promises a slide and keeps none: a link to nowhere, or a folder without slides.

    It is listed, so that opening it says what is wrong with it; nothing is left out without a word.
    """
    if path.is_dir():
        return next(iter(_slides_under(path)), None) is None
    return path.is_symlink()


def _files_of(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
