"""Find the slide for a name in a table, or suggest one."""

import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from lrmil.slides.dicom_series import DICOM
from lrmil.slides.discovery import dicom_slides
from lrmil.slides.source import DOUBLE_EXTENSIONS, EXTENSIONS

FEATURE_EXTENSIONS = (".h5", ".pt")  # in tables of other tools
NOT_DICOM = frozenset(EXTENSIONS) - {DICOM}  # to open those would take long
MAX_MEANT = 5  # candidates listed for one name
GUESSES = (
    10  # names for which the closest is searched: difflib is quadratic, and in a wrong folder every name is unknown
)
SEPARATORS = "._- "  # between the name of a patient or block and the rest of a slide's name
UUID = re.compile(r"\.[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$", re.IGNORECASE)  # GDC: barcode.UUID.svs
EXTENSION = re.compile(
    "|".join(f"{re.escape(one)}$" for one in (*DOUBLE_EXTENSIONS, *EXTENSIONS, *FEATURE_EXTENSIONS)), re.IGNORECASE
)


class SlideNames:
    """The names of the existing slides.

    Parameters
    ----------
    names
        Slide ids.
    also
        Other name -> ids of the slides that it may mean; see `dicom_names`.
    """

    def __init__(self, names: Collection[str], *, also: Mapping[str, Collection[str]] | None = None) -> None:
        self.names = frozenset(names)
        self._also = also or {}
        self._typed = {_typed(name): name for name in sorted(names)}
        self._alike: dict[str, list[str]] = defaultdict(list)
        for name in sorted(names):
            self._alike[_alike(name)].append(name)
        self._barcodes: dict[str, list[str]] = defaultdict(list)
        self._beginnings: dict[str, list[str]] = defaultdict(list)
        for typed, name in self._typed.items():
            if UUID.search(typed):
                self._barcodes[UUID.sub("", typed)].append(name)
            for index in range(1, len(typed) - 1):
                if typed[index] in SEPARATORS:
                    self._beginnings[typed[:index]].append(name)
        self._guesses = GUESSES

    def find(self, written: str) -> str | None:
        """Return the slide of a name in a table, or None: "folder/a.svs" is "a", unless a slide has the whole name.

        A barcode matches a single slide "barcode.UUID", and vice versa.
        """
        if written in self.names:
            return written
        found = self._typed.get(_typed(written)) or self._typed.get(_plain(written))
        found = found or self._by_barcode(_plain(written))
        return found or next((min(ids) for ids in self._meant(written) if len(ids) == 1), None)

    def beginning_with(self, written: str) -> list[str]:
        """Return the slides whose names are a written name, one of `SEPARATORS` and more, sorted."""
        return self._beginnings.get(_plain(written), [])

    def is_spelled(self, written: str, name: str) -> bool:
        """Return whether a slide has the written name, apart from folder, extension and equivalent characters.

        Parameters
        ----------
        written
            The name in the table.
        name
            The slide.
        """
        return _typed(name) in (_typed(written), _plain(written))

    def hint(self, written: str, *, first: Collection[str] = ()) -> str | None:
        """Suggest a slide for a name that no slide has.

        Parameters
        ----------
        written
            The name. Slides that differ only in upper case and leading zeros are always found. The closest other name
            is searched for the first `GUESSES` names only.
        first
            Slides to prefer.
        """
        if several := next(iter(self._meant(written)), ()):
            named = "' or '".join(sorted(several)[:MAX_MEANT])
            return f"'{written}' may be '{named}': write one of these names."
        if alike := self._alike.get(_alike(written)):
            meant = min(alike, key=lambda name: (name not in first, name))
            lost = len(_plain(written)) < len(_typed(meant))
            remedy = " A spreadsheet drops zeros before a number: format the column as text." if lost else ""
            return f"Did you mean '{meant}'?{remedy}"
        if self._guesses <= 0:
            return None
        self._guesses -= 1
        close = _closest(written, first) or _closest(written, self.names)
        return f"Did you mean '{close}'?" if close else None

    def _by_barcode(self, plain: str) -> str | None:
        if UUID.search(plain):
            return self._typed.get(UUID.sub("", plain))
        found = self._barcodes.get(plain, [])
        return found[0] if len(found) == 1 else None

    def _meant(self, written: str) -> list[Collection[str]]:
        """Return the ids of slides that have another name as written, with its folder or without."""
        parts = [_plain(part) for part in re.split(r"[\\/]", written)]
        return [self._also[name] for name in ("/".join(parts[-2:]), parts[-1]) if name in self._also]


def dicom_names(slides: Mapping[str, Path]) -> dict[str, set[str]]:
    """Find other names of DICOM slides, by series, folder and files.

    Parameters
    ----------
    slides
        Slide id -> path.

    Returns
    -------
    dict
        Other name -> ids of the slides that it may mean.
    """
    ids = {path: slide_id for slide_id, path in slides.items() if path.suffix.lower() not in NOT_DICOM}
    folders = {path if path.is_dir() else path.parent for path in ids}
    found: dict[str, set[str]] = {}
    for folder in folders:
        for slide in dicom_slides(folder).slides:
            stems = {_plain(file.name) for file in slide.files}
            for name in {slide.series, folder.name, *stems, *(f"{_typed(folder.name)}/{stem}" for stem in stems)}:
                if slide.path in ids:
                    found.setdefault(name, set()).add(ids[slide.path])
    return found


def _typed(name: str) -> str:
    """Normalise a name: é may be one character or two, and a space may be a non-breaking one."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def _plain(written: str) -> str:
    return _typed(EXTENSION.sub("", re.split(r"[\\/]", written)[-1]))


def _alike(name: str) -> str:
    return re.sub(r"(?<!\d)0+(?=\d)", "", _plain(name).casefold())


def _closest(written: str, names: Iterable[str]) -> str | None:
    by_folded = {name.casefold(): name for name in sorted(names)}
    close = difflib.get_close_matches(EXTENSION.sub("", written).casefold(), by_folded, n=1)
    return by_folded[close[0]] if close else None
