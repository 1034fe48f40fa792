"""Lists of checksums, as archives and `sha256sum` write them: a slide whose bytes changed is refused before it is read.

Most slide formats have no checksum of their own, and a decoder gives a flipped bit as another colour, not as an error.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lrmil.errors import CohortError, SlideError
from lrmil.tables import read_table

BY_LENGTH = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}  # hex digits
ALGORITHMS = {name: length for length, name in BY_LENGTH.items()}
GNU = re.compile(r"(?P<escaped>\\?)(?P<digest>[0-9A-Fa-f]+) [ *](?P<name>.+)")
BSD = re.compile(r"(?P<algorithm>MD5|SHA1|SHA256|SHA512) \((?P<name>.+)\) = (?P<digest>[0-9A-Fa-f]+)")
NAME_COLUMNS = ("filename", "file_name", "file", "name", "path", "file name")
LARGEST = 64 << 20  # bytes of a list
BLOCK = 1 << 22  # bytes read at a time
SHOWN = 10  # problems written out


class Checksum(NamedTuple):
    """What the content of one file must be."""

    file: Path
    digest: str
    """In lower-case hexadecimal digits; their number tells the algorithm: MD5, SHA-1, SHA-256 or SHA-512."""
    source: str
    """Name of the list that states it."""


class ChecksumList(NamedTuple):
    """The digests that a list states."""

    path: Path
    stated: Mapping[str, Sequence[tuple[str, str]]]
    """File name without folders -> names as written, each with its digest."""

    def of(self, file: Path) -> Checksum | None:
        """Find what the list states of a file: by its name and, where several have it, by the folders it lies in.

        Raises
        ------
        CohortError
            If lines that fit equally well state different digests.
        """
        fits = [(_agreement(file, name), digest) for name, digest in self.stated.get(file.name, ())]
        most = max((agreement for agreement, _ in fits), default=0)
        best = {digest for agreement, digest in fits if agreement == most}
        if len(best) > 1:
            raise CohortError(
                f"Expected one checksum for {file.name} in '{self.path}'; got {len(best)}. Write the names with their "
                "folders, or delete the lines that are wrong."
            )
        return Checksum(file, best.pop(), self.path.name) if best else None


def read_checksums(path: Path) -> ChecksumList:
    """Read a list of checksums.

    Parameters
    ----------
    path
        What ``md5sum``, ``sha1sum``, ``sha256sum`` or ``sha512sum`` write (also with ``--tag``), or a csv, tsv or xlsx
        table with a column of file names and one called md5, sha1, sha256 or sha512, such as the manifest of the
        Genomic Data Commons.

    Raises
    ------
    CohortError
        If it is neither, or holds no checksum; with every line that cannot be read.
    """
    if not path.is_file():
        raise CohortError(f"Expected a list of checksums at '{path}'; there is no such file. Check the path.")
    if path.stat().st_size > LARGEST:
        raise CohortError(f"Expected a list of checksums of at most {LARGEST >> 20} MiB; '{path}' is larger.")
    stated, problems = _from_table(path) if _is_table(path) else _from_lines(_lines(path))
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise CohortError(
            f"Expected a checksum and a file name in each line of '{path}', as sha256sum writes them, or a table with "
            f"the columns filename and md5 or sha256. Got {'; '.join(problems[:SHOWN])}{more}."
        )
    if not stated:
        raise CohortError(f"Expected checksums in '{path}'; it has none. Is it the right file?")
    by_name = defaultdict[str, list[tuple[str, str]]](list)
    for name, digest in stated:
        by_name[(_parts(name) or [name])[-1]].append((name, digest))
    return ChecksumList(path, by_name)


def verify(checksums: Iterable[Checksum]) -> None:
    """Read files whole, and compare them with what is stated.

    Raises
    ------
    SlideError
        If the content of one is another, or it cannot be read.
    """
    for file, digest, source in checksums:
        algorithm = BY_LENGTH[len(digest)]
        try:
            found = _digest(file, algorithm)
        except OSError as error:
            raise SlideError(
                f"Expected to read {file} whole, to compare its checksum; the system says: {error.strerror}. "
                "Check its rights and that its disk is there."
            ) from error
        if found != digest:
            raise SlideError(
                f"Expected {file} to have the {algorithm} {digest[:12]}... that {source} states. "
                f"Got {found[:12]}...: the file changed or was damaged since. Copy it again from its source; "
                "if it was meant to change, mend the list."
            )


def _digest(file: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _is_table(path: Path) -> bool:
    if path.suffix.lower() in (".xlsx", ".xlsm"):
        return True
    first = next((line for line in _lines(path) if line.strip()), "")
    return not (GNU.fullmatch(first) or BSD.fullmatch(first)) and any(
        name in re.split(r"[\s,;]+", first.casefold()) for name in ALGORITHMS
    )


def _lines(path: Path) -> list[str]:
    text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
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
        if found.groupdict().get("escaped"):
            name = re.sub(r"\\(.)", lambda sign: {"n": "\n", "r": "\r"}.get(sign[1], sign[1]), name)
        stated.append((name, found["digest"].lower()))
    return stated, problems


def _from_table(path: Path) -> tuple[list[tuple[str, str]], list[str]]:
    table = read_table(path)
    header, *body = table.records
    columns = [name.casefold() for name in header]
    name_at = next((columns.index(name) for name in NAME_COLUMNS if name in columns), None)
    sums = [(columns.index(name), name) for name in ("sha512", "sha256", "sha1", "md5") if name in columns]
    if name_at is None or not sums:
        return [], [f"the columns {', '.join(name for name in header if name)}{table.place}"]
    at, algorithm = sums[0]
    table.require_values((name_at, at))
    stated, problems = list[tuple[str, str]](), list[str]()
    for number, cells in enumerate(body, start=2):
        name, digest = (cells[place] if place < len(cells) else "" for place in (name_at, at))
        if name and _fits(digest, algorithm):
            stated.append((name, digest.lower()))
        elif name or digest:
            problems.append(f"row {number}: {digest[:60]!r} as the {algorithm} of {name[:60]!r}")
    return stated, problems


def _fits(digest: str, algorithm: str | None) -> bool:
    stated = BY_LENGTH.get(len(digest)) if re.fullmatch("[0-9A-Fa-f]+", digest) else None
    return stated is not None and algorithm in (None, stated, stated.upper())


def _parts(name: str) -> list[str]:
    return [part for part in re.split(r"[\\/]", name) if part not in ("", ".")]


def _agreement(file: Path, name: str) -> int:
    """Count the folders, from the file upwards, that a name as written has in common with a path."""
    count = 0
    for there, written in zip(reversed(file.absolute().parts), reversed(_parts(name)), strict=False):
        if there != written:
            break
        count += 1
    return count
