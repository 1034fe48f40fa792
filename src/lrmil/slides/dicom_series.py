"""Group the DICOM files of a folder by series: each series with a scan is one slide, whatever its file names.

A folder is scanned once, and again only after it changed. OpenSlide, too, reads the levels of a slide from all files of
its series in the folder, whatever their names.
"""

import logging
import os
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from cachetools import LRUCache

from lrmil.errors import SlideError
from lrmil.slides.dicom_head import DIRECTORY, DicomHead, head_of

DICOM = ".dcm"
# A change so shortly before or after a scan may not change the time of the folder: FAT stores times in steps of 2 s.
SETTLED_NS = 2_500_000_000
MAX_FOLDERS = 4096  # kept in memory
MAX_NAMED = 5  # slides named in a message
MAX_MODALITY = 16  # characters of a code string, PS3.5 chapter 6.2

log = logging.getLogger(__name__)
Signature = tuple[int, ...]
Seen = tuple[Signature, DicomHead | None]


class DicomSlide(NamedTuple):
    """One series that holds a scan."""

    path: Path
    """What to open: the folder if this is its only slide, else the first file of the scan."""
    series: str
    files: tuple[Path, ...]
    """All files of the series, including its label and overview."""
    levels: tuple[Path, ...]
    """The files with pixels of the scan."""


@dataclass(frozen=True)  # no slots: cached properties need a __dict__
class DicomFolder:
    """The DICOM files directly in a folder."""

    folder: Path
    slides: tuple[DicomSlide, ...]
    associated: tuple[Path, ...]
    """Labels, overviews and thumbnails whose series has no scan."""
    others: Mapping[Path, str]
    """Other kinds of images, and their modality, such as CT."""
    damaged: tuple[Path, ...]
    """Files named or marked as DICOM whose kind cannot be read."""
    is_mixed: bool
    """Whether the folder also has files that are not DICOM."""
    is_one: bool
    """Whether the folder has exactly one slide of any format, and that one is DICOM."""

    @property
    def only(self) -> DicomSlide | None:
        """The slide that opening the folder opens; None unless it is the only one."""
        return self.slides[0] if self.is_one else None

    @cached_property
    def by_file(self) -> Mapping[Path, DicomSlide]:
        """The slide of each file that belongs to one."""
        return {file: slide for slide in self.slides for file in slide.files}

    @cached_property
    def files(self) -> frozenset[Path]:
        """All DICOM files."""
        return frozenset(self.by_file).union(self.associated, self.others, self.damaged)

    @property
    def is_lost(self) -> bool:
        """Whether the folder is one damaged slide: several DICOM files, none readable, and nothing else."""
        return len(self.damaged) > 1 and self.files == set(self.damaged) and not self.is_mixed


def dicom_in(folder: Path, *, scans: Collection[str] = ()) -> DicomFolder:
    """List the DICOM files of a folder; the same value is returned while the folder does not change.

    Parameters
    ----------
    folder
        The folder.
    scans
        Lower-case file extensions of other slide formats. If the folder has such a file, opening the folder does not
        open its DICOM slide.
    """
    listing, key = _list_folder(folder), (folder, tuple(scans))
    if key not in listing.folders:
        listing.folders[key] = _sorted_by_slide(listing, folder, scans)
    return listing.folders[key]


def paths_of(inside: DicomFolder) -> list[Path]:
    """Return the slides of a folder, and its damaged DICOM files; log what is skipped."""
    if inside.associated:
        log.info("%s: skipped %d DICOM labels or overviews without a scan", inside.folder, len(inside.associated))
    if inside.others:
        first, modality = next(iter(inside.others.items()))
        log.warning(
            "%s: skipped %d DICOM files that are not whole-slide images (the first is %s, of modality %s)",
            *(inside.folder, len(inside.others), first.name, modality[:MAX_MODALITY] or "unknown"),
        )
    damaged = [inside.folder] if inside.is_lost else inside.damaged
    return [*(slide.path for slide in inside.slides), *damaged]


def file_of_folder(inside: DicomFolder) -> Path | None:
    """Return the file to open for the DICOM slide of a folder; None if the folder has no DICOM slide.

    Raises
    ------
    SlideError
        If the folder has several slides.
    """
    if inside.only:
        return inside.only.levels[0]
    if inside.slides:
        names = [slide.path.name for slide in inside.slides[:MAX_NAMED]]
        more = ", ..." if len(inside.slides) > MAX_NAMED else ""
        raise SlideError(
            f"The folder {inside.folder} has several slides. Name the file of one of them: {', '.join(names)}{more}."
        )
    return inside.damaged[0] if inside.is_lost else None


def file_with_scan(file: Path) -> Path:
    """Return a DICOM file if it has pixels of the scan, else the first file of its series that has.

    Raises
    ------
    SlideError
        If there is none: the file is a label, or another kind of image.
    """
    head = head_of(file)
    if head is None or not head.series or head.is_volume:
        return file  # opening it reports what is wrong
    if levels := levels_of(file):
        return levels[0]
    kind = "a label, an overview or a thumbnail" if head.is_whole_slide else "another kind of image"
    modality = f" (modality {head.modality[:16]})" if head.modality and not head.is_whole_slide else ""
    raise SlideError(f"Expected a DICOM whole-slide image in {file}. Got {kind}{modality}. Name a file of the scan.")


def series_of(file: Path) -> list[Path]:
    """Return the files of a DICOM file's series in its folder, sorted; only the file if it has no series."""
    listing = _list_folder(file.parent)
    members = listing.series_with(file.name)
    if not _is_as_seen(listing, file.parent, members):  # overwritten, which does not change the folder's time
        listing = _list_folder(file.parent, again=True)
        members = listing.series_with(file.name)
    return [file.parent / name for name in members]


def levels_of(file: Path) -> list[Path]:
    """Return the files of a DICOM file's series that have pixels of the scan."""
    members = series_of(file)
    heads = _list_folder(file.parent).heads
    return [member for member in members if (head := heads.get(member.name)) and head.is_volume]


class _Listing:
    """A folder as it was when it was scanned."""

    def __init__(self, signature: Signature, at_ns: int, seen: Mapping[str, Seen]) -> None:
        self.signature, self.at_ns, self.seen = signature, at_ns, seen
        self.names = sorted(seen)
        self.heads = {name: head for name in self.names if (head := seen[name][1]) is not None}
        self.by_series: dict[str, list[str]] = {}
        for name, head in self.heads.items():
            self.by_series.setdefault(head.series, []).append(name)
        self.folders: dict[tuple[Path, tuple[str, ...]], DicomFolder] = {}  # results of `dicom_in`

    def series_with(self, name: str) -> list[str]:
        """Return the names of the files in the series of a file."""
        head = self.heads.get(name)
        return self.by_series[head.series] if head and head.series else [name]


def _sorted_by_slide(listing: "_Listing", folder: Path, scans: Collection[str]) -> DicomFolder:
    dicom = {name: head for name, head in listing.heads.items() if head.storage_class != DIRECTORY}
    dicom |= {name: DicomHead() for name in listing.names if name.lower().endswith(DICOM) and name not in listing.heads}
    visible = [name for name in sorted(dicom) if not name.startswith(".")]
    with_scan: dict[str, list[str]] = {}
    for name in visible:
        if dicom[name].series and dicom[name].is_volume:
            with_scan.setdefault(dicom[name].series, []).append(name)
    beside = [name for name in listing.names if name not in dicom and not name.startswith(".")]
    is_one = len(with_scan) == 1 and not any(name.lower().endswith(tuple(scans)) for name in beside)
    alone = is_one and (len(visible) > 1 or not visible[0].lower().endswith(DICOM))
    slides = tuple(
        DicomSlide(
            folder if alone else folder / levels[0],
            series,
            tuple(folder / name for name in listing.by_series[series]),
            tuple(folder / name for name in levels),
        )
        for series, levels in with_scan.items()
    )
    rest = {folder / name: dicom[name] for name in visible if dicom[name].series not in with_scan}
    return DicomFolder(
        folder,
        slides,
        tuple(file for file, head in rest.items() if head.is_whole_slide and not head.is_volume),
        {file: head.modality for file, head in rest.items() if head.series and not head.is_whole_slide},
        tuple(file for file, head in rest.items() if head.is_volume or not (head.series or head.is_whole_slide)),
        bool(beside),
        is_one,
    )


_listings: LRUCache[str, _Listing] = LRUCache(MAX_FOLDERS)
_lock = threading.Lock()


def _list_folder(folder: Path, *, again: bool = False) -> _Listing:
    key = os.path.abspath(folder)  # noqa: PTH100 - absolute without following links
    with _lock:
        known = _listings.get(key)
    try:
        signature = _signature(folder.stat())
        if known and not again and known.signature == signature and known.at_ns - max(signature[:2]) >= SETTLED_NS:
            return known
        listing = _list_changes(folder, signature, known)
    except OSError:
        return _Listing((), 0, {})  # opening a slide in it reports the reason
    with _lock:
        _listings[key] = listing
    return listing


def _list_changes(folder: Path, signature: Signature, known: _Listing | None) -> _Listing:
    """Scan a folder; read only files that are new, or changed since shortly before they were last read."""
    at_ns = time.time_ns()
    seen: dict[str, Seen] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                if not entry.is_file():
                    continue
                stated = _signature((folder / entry.name).stat())  # on Windows entry.stat() lacks some fields
            except OSError:
                continue  # deleted, or a circle of links
            before = known.seen.get(entry.name) if known else None
            if known and before and before[0] == stated and known.at_ns - max(stated[:2]) >= SETTLED_NS:
                seen[entry.name] = before
            else:
                seen[entry.name] = stated, head_of(folder / entry.name)
    return _Listing(signature, at_ns, seen)


def _is_as_seen(listing: _Listing, folder: Path, names: Iterable[str]) -> bool:
    try:
        return all(listing.seen[name][0] == _signature((folder / name).stat()) for name in names)
    except (OSError, KeyError):
        return False


def _signature(stat: os.stat_result) -> Signature:
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino
