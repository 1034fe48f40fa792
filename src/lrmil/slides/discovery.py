"""Find slides in folders, and what to open for each."""

import logging
from collections.abc import Iterable
from pathlib import Path

from lrmil.errors import SlideError
from lrmil.io.ownership import is_overlay
from lrmil.io.zarr_folders import ZARR_SUFFIX, is_zarr_slide
from lrmil.slides.dicom_head import is_dicom
from lrmil.slides.dicom_series import DICOM, DicomFolder, dicom_in, file_of_folder, file_with_scan, paths_of
from lrmil.slides.source import FLAT_EXTENSIONS, NAMELESS, SCAN_EXTENSIONS

OTHER_SCANS = tuple(one for one in SCAN_EXTENSIONS if one != DICOM)
log = logging.getLogger(__name__)


def find_slides(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """Return the slides in folders (searched recursively, without hidden names) and among files, sorted by path.

    A file given by name is kept whatever its extension, so that opening it reports what is wrong. A file of a DICOM
    slide stands for that slide. PNG and JPEG files count only if a folder has no other slide, since they may be images
    or parts of those. Overlays of predictions never count.

    Parameters
    ----------
    paths
        One path or several, each a folder or a file.
    """
    found: set[Path] = set()
    named: dict[Path, list[Path]] = {}
    for path in map(Path, [paths] if isinstance(paths, str | Path) else paths):
        if path.is_dir() and not is_zarr_slide(path):
            found |= _slides_in(path)
        elif is_dicom(path):
            named.setdefault(path.parent, []).append(path)
        else:
            found.add(path)
    for folder, several in named.items():
        slides = dicom_slides(folder).by_file
        found |= {slides[file].path if file in slides else file for file in several}
    return sorted(path.resolve() if path.name in NAMELESS else path for path in found)


def dicom_slides(folder: Path) -> DicomFolder:
    """Return the DICOM slides directly in a folder; see `lrmil.slides.dicom_series`."""
    return dicom_in(folder, scans=OTHER_SCANS)


def slide_path(path: Path) -> Path:
    """Return the path that identifies a slide: for a file of a DICOM slide, that of the slide."""
    return find_slides([path])[0] if is_dicom(path) else path


def slide_file(path: Path) -> Path:
    """Return what to open for a slide: the file, the OME-Zarr folder, or the first file of a DICOM scan.

    Raises
    ------
    SlideError
        If the path does not exist, is a folder without a slide or with several, or is not a file of a scan.
    """
    if is_dicom(path):
        return file_with_scan(path)
    if path.is_file() or (path.is_dir() and path.suffix.lower() == ZARR_SUFFIX):
        return path
    if not path.exists():
        if path.is_symlink():
            raise SlideError(
                f"The slide {path} is a link that leads nowhere, or in a circle. Fix or remove the link, and check "
                "that its disk is mounted."
            )
        raise SlideError(f"There is no slide at {path}. Check the path, and that its disk is mounted.")
    if not path.is_dir():
        raise SlideError(f"{path} is a device or a pipe, not a slide. Choose a slide file.")
    if (dicom := file_of_folder(dicom_slides(path))) is not None:
        return dicom
    raise SlideError(
        f"{path} is a folder, but not an OME-Zarr or the folder of one DICOM slide. Name the slides in it one by one, "
        "or move it away from the slides."
    )


def _slides_in(folder: Path) -> set[Path]:
    return set(_slides_under(folder)) or {
        path
        for _, inside in _walk(folder, {folder.resolve()})
        for path in inside
        if path.suffix.lower() in FLAT_EXTENSIONS and path.is_file() and not is_overlay(path)
    }


def _slides_under(folder: Path) -> Iterable[Path]:
    for subfolder, inside in _walk(folder, {folder.resolve()}):
        dicom = set[Path]()
        if any(_may_be_dicom(path) for path in inside):
            among = dicom_slides(subfolder)
            dicom.update(among.files)
            yield from paths_of(among)
        for path in inside:
            is_scan = path.suffix.lower() in SCAN_EXTENSIONS and path not in dicom
            if is_zarr_slide(path) or (is_scan and (path.is_file() or _is_lost(path))):
                yield path


def _may_be_dicom(path: Path) -> bool:
    """Return whether a file may be DICOM; archives name such files also by UIDs, without an extension."""
    suffix = path.suffix.lower()
    if suffix == DICOM:
        return path.is_file()
    return (suffix in ("", ".dicom", ".ima") or suffix[1:].isdigit()) and path.is_file() and is_dicom(path)


def _walk(folder: Path, seen: set[Path]) -> Iterable[tuple[Path, list[Path]]]:
    """Yield every folder once with its content, following links, which may lead in a circle."""
    try:
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        log.warning("Skipped the slides in %s, because it cannot be listed: %s", folder, error.strerror)
        return
    yield folder, inside
    for path in inside:
        if path.suffix.lower() == ZARR_SUFFIX:
            continue  # contains many chunks, no slides
        try:
            real = path.resolve() if path.is_dir() else None
        except (OSError, RuntimeError):  # RuntimeError: a circle of links
            real = None
        if real is not None and real not in seen:
            seen.add(real)
            yield from _walk(path, seen)


def _is_lost(path: Path) -> bool:
    """Return whether a path is a dangling link, or a folder with the name of a slide and no slides in it.

    Such a path is listed, so that opening it reports what is wrong.
    """
    if path.is_dir():
        return next(iter(_slides_under(path)), None) is None
    return path.is_symlink()
