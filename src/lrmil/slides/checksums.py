"""Compare slides with lists of checksums, as archives and `sha256sum` write them, before they are read.

Most slide formats have no checksum of their own, and a decoder turns a flipped bit into another colour, not an error.
"""

import codecs
import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from lrmil.errors import CohortError, SlideError
from lrmil.io import hashing
from lrmil.io.tables import WORKBOOKS, read_table

BY_LENGTH = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}  # hex digits
ALGORITHMS = {name: length for length, name in BY_LENGTH.items()}
GNU = re.compile(r"(?P<escaped>\\?)(?P<digest>[0-9A-Fa-f]+) [ *](?P<name>.+)")
BSD = re.compile(r"(?P<escaped>\\?)(?P<algorithm>MD5|SHA1|SHA256|SHA512) \((?P<name>.+)\) = (?P<digest>[0-9A-Fa-f]+)")
NAME_COLUMNS = ("filename", "file", "name", "path", "filepath")
NOT_COMPARED = "not compared"
MAX_LIST = 64 << 20  # bytes of a list
BLOCK = 1 << 22  # bytes read at a time
SHOWN = 10  # problems listed in one message

Parts = tuple[str, ...]


class Checksum(NamedTuple):
    """The digest that one file must have."""

    file: Path
    digest: str
    """Lower-case hexadecimal digits, whose number tells the algorithm: MD5, SHA-1, SHA-256 or SHA-512."""
    source: str
    """Name of the list that contains it."""


class ChecksumList:
    """The digests in a list of checksums.

    Parameters
    ----------
    path
        The file of the list.
    stated
        File names as written, and their digests.
    """

    def __init__(self, path: Path, stated: Iterable[tuple[str, str]]) -> None:
        self.path = path
        self._stated = [(tuple(_parts(name) or [name]), digest) for name, digest in stated]
        self._ending = dict[int, dict[Parts, list[tuple[Parts, str]]]]()  # by the number of compared parts

    def of(self, file: Path, *, slide: Path | None = None) -> Checksum | None:
        """Find the checksum of a file by its name and, if several files have that name, by its folders.

        Parameters
        ----------
        file
            A slide, or one of the files of a slide.
        slide
            The slide that the file belongs to; None if the file is the slide. Files of different slides may have the
            same name, such as ``Data0000.dat``, so the path of the file inside the slide must match too.

        Returns
        -------
        Checksum or None
            None if the list does not contain the file.

        Raises
        ------
        CohortError
            If lines that match equally well have different digests.
        """
        parts = tuple(unicodedata.normalize("NFC", part) for part in file.absolute().parts)
        inside = _inside(file, slide or file)
        fits = self._that_end_in(parts[-inside:])
        for count in range(inside - 1, 0, -1):  # for a list made inside the slide's folder
            fits = fits or [(name, digest) for name, digest in self._that_end_in(parts[-count:]) if len(name) == count]
        agreed = [(_agreement(parts, name), len(digest), digest) for name, digest in fits]
        most = max(agreed, default=(0, 0, ""))[:2]
        best = {one[2] for one in agreed if one[:2] == most}
        if len(best) > 1:
            raise CohortError(
                f"Expected one checksum for {file.name} in the list of checksums '{self.path}'. Got {len(best)}. Write "
                "the names with their folders, or delete the wrong lines."
            )
        return Checksum(file, best.pop(), self.path.name) if best else None

    def _that_end_in(self, parts: Parts) -> Sequence[tuple[Parts, str]]:
        count = len(parts)
        if count not in self._ending:
            ending = self._ending[count] = defaultdict(list)
            for name, digest in self._stated:
                ending[name[-count:]].append((name, digest))
        return self._ending[count].get(parts, ())


def read_checksums(path: Path) -> ChecksumList:
    """Read a list of checksums.

    Parameters
    ----------
    path
        Output of ``md5sum``, ``sha1sum``, ``sha256sum`` or ``sha512sum`` (also with ``--tag``), or a csv, tsv or xlsx
        table with a column of file names and a column called md5, sha1, sha256 or sha512. The manifest of the Genomic
        Data Commons is such a table.

    Raises
    ------
    CohortError
        If it is neither, or contains no checksum; the message lists the lines that cannot be read.
    """
    if not path.is_file():
        raise CohortError(f"There is no list of checksums at '{path}'. Check the path.")
    if path.stat().st_size > MAX_LIST:
        raise CohortError(f"Expected a list of checksums of at most {MAX_LIST >> 20} MiB. '{path}' is larger.")
    stated, problems = _from_table(path) if _is_table(path) else _from_lines(_lines(path))
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise CohortError(
            f"Expected a checksum and a file name in each line of the list of checksums '{path}', as sha256sum "
            f"writes them, or a table with the columns filename and md5 or sha256. Got "
            f"{'; '.join(problems[:SHOWN])}{more}."
        )
    if not stated:
        raise CohortError(f"The list of checksums '{path}' contains no checksum. Is it the right file?")
    return ChecksumList(path, stated)


def verify(checksums: Iterable[Checksum]) -> None:
    """Require that every file has its checksum; each is read completely.

    Raises
    ------
    SlideError
        If a file has another checksum, or cannot be read.
    """
    for file, digest, source in checksums:
        algorithm = BY_LENGTH[len(digest)]
        try:
            found = _digest(file, algorithm)
        except OSError as error:
            raise SlideError(
                f"Cannot read {file} to compare its checksum: {error.strerror or error}. Check its permissions, and "
                "that its disk is mounted."
            ) from error
        if found != digest:
            raise SlideError(
                f"Expected {file} to have the {algorithm} {digest[:12]}... that {source} states. "
                f"Got {found[:12]}... The file changed or was damaged. Copy it again from its source; if the change "
                "was intended, update the list."
            )


def comparison(checksums: Sequence[Checksum], parts: Sequence[Path]) -> str:
    """Return a text about the checksums that a slide was compared with, or `NOT_COMPARED`; every result carries it.

    Equal texts mean equal content of the compared files.

    Parameters
    ----------
    checksums
        The checksums that `verify` accepted.
    parts
        All files of the slide.
    """
    if not checksums:
        return NOT_COMPARED
    stated = {one.file: one.digest for one in checksums}
    algorithms = " and ".join(sorted({BY_LENGTH[len(digest)] for digest in stated.values()}))
    if len(parts) == 1:
        return f"{algorithms} {checksums[0].digest}"
    together = hashing.sha256_of([stated.get(part, "") for part in parts])
    return f"{algorithms} of {len(stated)} of {len(parts)} files, together {together}"


def _digest(file: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _is_table(path: Path) -> bool:
    if path.suffix.lower() in WORKBOOKS:
        return True
    first = next((line for line in _lines(path) if line.strip() and not line.startswith(("#", "sep="))), "")
    return not (GNU.fullmatch(first) or BSD.fullmatch(first)) and any(
        _column(name) in ALGORITHMS for name in re.split(r"[\t,;]", first)
    )


def _column(name: str) -> str:
    """Return the algorithm in "MD5 checksum", "sha256sum" or "SHA-256", and "filename" for "File name"."""
    return re.sub(r"[\s\"'_-]+", "", name.casefold()).removesuffix("sum").removesuffix("check")


def _lines(path: Path) -> list[str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CohortError(
            f"Cannot read the list of checksums '{path}': {error.strerror}. Check its permissions."
        ) from error
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # PowerShell writes it with ">"
        text = data.decode("utf-16", errors="replace")
    else:
        text = data.decode("utf-8-sig", errors="surrogateescape")
    return [line.removesuffix("\r") for line in text.split("\n")]


def _from_lines(lines: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    stated, problems = list[tuple[str, str]](), list[str]()
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        found = GNU.fullmatch(line) or BSD.fullmatch(line)
        if found is None or not _fits(found["digest"], found.groupdict().get("algorithm")):
            problems.append(f"line {number}: {line[:60]!r}")
            continue
        name = found["name"]
        if found["escaped"]:
            name = re.sub(r"\\(.)", lambda sign: {"n": "\n", "r": "\r"}.get(sign[1], sign[1]), name)
        stated.append((name, found["digest"].lower()))
    return stated, problems


def _from_table(path: Path) -> tuple[list[tuple[str, str]], list[str]]:
    table = read_table(path, what="list of checksums")
    header, *body = table.records
    columns = [_column(name) for name in header]
    name_at = next((columns.index(name) for name in NAME_COLUMNS if name in columns), None)
    sums = [(columns.index(name), name) for name in ("sha512", "sha256", "sha1", "md5") if name in columns]
    if name_at is None or not sums:
        return [], [f"the columns {', '.join(name for name in header if name)}{table.sheet_hint}"]
    at, algorithm = sums[0]
    table.require_values((name_at, at))
    stated, problems = list[tuple[str, str]](), list[str]()
    for number, cells in enumerate(body, start=2):
        name, digest = (cells[column] if column < len(cells) else "" for column in (name_at, at))
        if name and _fits(digest, algorithm):
            stated.append((name, digest.lower()))
        elif name or digest:
            problems.append(f"row {number}: {digest[:60]!r} as the {algorithm} of {name[:60]!r}")
    return stated, problems


def _fits(digest: str, algorithm: str | None) -> bool:
    stated = BY_LENGTH.get(len(digest)) if re.fullmatch("[0-9A-Fa-f]+", digest) else None
    return stated is not None and algorithm in (None, stated, stated.upper())


def _parts(name: str) -> list[str]:
    """Split a name as written into its parts, in Unicode NFC: é may be written as one character or two."""
    return [part for part in re.split(r"[\\/]", unicodedata.normalize("NFC", name)) if part not in ("", ".")]


def _inside(file: Path, slide: Path) -> int:
    """Count the parts of a path that belong to the slide: A/Data0000.dat, a file of A.mrxs, has two."""
    try:
        return len(file.absolute().relative_to(slide.absolute().parent).parts)
    except ValueError:
        return 1


def _agreement(parts: Parts, name: Parts) -> int:
    """Count the parts, from the file upwards, that a name has in common with a path."""
    pairs = zip(reversed(parts), reversed(name), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
