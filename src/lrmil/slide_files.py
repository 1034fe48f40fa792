"""Which files are slides, which files belong to one slide, and what a slide is called."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from lrmil.errors import SlideError

TIFF_EXTENSIONS = (".svs", ".tif", ".tiff", ".ndpi")
OPENSLIDE_EXTENSIONS = (".mrxs", ".scn", ".bif", ".dcm", ".vms", ".vmu", ".svslide", ".czi")
EXTENSIONS = TIFF_EXTENSIONS + OPENSLIDE_EXTENSIONS
DOUBLE_EXTENSIONS = (".ome.tif", ".ome.tiff")
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # classic and BigTIFF, either byte order

log = logging.getLogger(__name__)


class SlideSource(NamedTuple):
    """A slide to work on."""

    slide_id: str
    path: Path
    mpp: float | None = None
    """Resolution of level 0 in um/px when the metadata are not to be used."""


def slide_id_of(path: str | Path) -> str:
    """Name a slide by its file name without extension; ``.ome.tif`` and ``.ome.tiff`` count as one extension."""
    path = Path(path)
    for extension in DOUBLE_EXTENSIONS:
        if path.name.lower().endswith(extension):
            return path.name[: -len(extension)]
    return path.stem if path.suffix.lower() in EXTENSIONS or path.is_file() else path.name


def find_slides(places: str | Path | Iterable[str | Path]) -> list[Path]:
    """List the slides in folders (searched recursively, hidden names skipped) and among files, sorted by path.

    A file named outright is kept whatever its extension, so that opening it says what is wrong with it.
    """
    found: set[Path] = set()
    for place in map(Path, [places] if isinstance(places, str | Path) else places):
        found |= set(_slides_under(place)) if place.is_dir() else {place}
    return sorted(found)


def slide_file(path: Path) -> Path:
    """Return the file to open for a slide: itself, or the first file of a DICOM folder.

    Raises
    ------
    SlideError
        If nothing is there, or a folder is no DICOM slide.
    """
    if path.is_file():
        return path
    if not path.exists():
        if path.is_symlink():
            raise SlideError(
                f"Expected a slide at {path}; it is a link that leads nowhere, or in a circle. "
                "Mend or remove the link, and check that the disk it leads to is mounted."
            )
        raise SlideError(f"Expected a slide at {path}; nothing is there. Check the path and that its disk is mounted.")
    parts = parts_of(path)
    if not parts or any(part.suffix.lower() != ".dcm" for part in parts):
        raise SlideError(
            f"Expected a slide file, or a folder with the .dcm files of one slide; {path} is another folder. "
            "Name the files in it, or use find_slides."
        )
    return parts[0]


def is_tiff(file: Path) -> bool:
    """Tell by its first bytes whether a file is a TIFF.

    Raises
    ------
    SlideError
        If the file cannot be read at all.
    """
    try:
        with file.open("rb") as stream:
            magic = stream.read(4)
        if not magic:
            raise SlideError(f"Expected a slide in {file}; the file is empty. Copy it again from its source.")
        return magic in TIFF_MAGIC
    except SlideError:
        raise
    except OSError as error:
        raise SlideError(f"Expected a readable file at {file}; the system says: {error}. Check its rights.") from error


def parts_of(path: Path) -> list[Path]:
    """List the files of one slide: those of a folder, those of an MRXS with its folder, or the file itself."""
    if path.is_dir():
        return _files_of(path)
    return [path, *(_files_of(path.with_suffix("")) if path.suffix.lower() == ".mrxs" else [])]


def _slides_under(folder: Path) -> Iterable[Path]:
    for path in _walk(folder, {folder.resolve()}):
        if path.suffix.lower() in EXTENSIONS and (path.is_file() or _is_lost(path)):
            yield path.parent if path.suffix.lower() == ".dcm" and _is_dicom_slide(path.parent) else path


def _walk(folder: Path, seen: set[Path]) -> Iterable[Path]:
    """Give what is in a folder and below, also behind links, each folder once: links may lead in a circle."""
    try:
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        log.warning("The slides in %s are left out: it cannot be listed: %s", folder, error.strerror)
        return
    for path in inside:
        yield path
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


def _is_dicom_slide(folder: Path) -> bool:
    """Tell whether a folder holds several .dcm files and nothing else: the levels of one slide."""
    parts = _files_of(folder)
    return len(parts) > 1 and all(part.suffix.lower() == ".dcm" for part in parts)


def _files_of(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
