"""Refuse a zip archive by its directory, before anything in it is unfolded.

1.5 MB can unfold to gigabytes. What a member unfolds to beyond the size that the directory states is never read:
`zipfile` stops there and then finds another checksum.
"""

import zipfile
from typing import BinaryIO

MAX_MEMBERS = 10_000
MAX_MEMBER = 256 << 20  # bytes of one unfolded member: a sheet of about two million cells
MAX_TOTAL = 384 << 20
FREE = 16 << 20  # bytes that a member may unfold to however small it is stored
MAX_RATIO = 200  # unfolded to stored, above that: sheets shrink 10 to 50 times, a bomb 1,000 times
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
COMPOUND = b"\xd0\xcf\x11\xe0"  # begins legacy .xls files and password-protected ones


def require_safe_zip(file: BinaryIO) -> None:
    """Refuse what is no zip archive, or one that takes far more memory than its size explains; back to the start.

    Raises
    ------
    ValueError
        With what is wrong.
    """
    start = file.read(len(COMPOUND))
    file.seek(0)
    if start == COMPOUND:
        raise ValueError("it is protected by a password, or it is a legacy .xls")
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError) as error:
        raise ValueError(f"it is no whole workbook: {error}") from error
    finally:
        file.seek(0)
    if len(members) > MAX_MEMBERS:
        raise ValueError(f"it has {len(members)} parts, more than {MAX_MEMBERS}")
    if len({member.filename.casefold() for member in members}) < len(members):
        raise ValueError("two of its parts have one name")
    for member in members:
        _require_safe_member(member)
    total = sum(member.file_size for member in members)
    if total > MAX_TOTAL:
        raise ValueError(f"it unfolds to {total >> 20} MiB, more than {MAX_TOTAL >> 20}")


def _require_safe_member(member: zipfile.ZipInfo) -> None:
    name = member.filename[:80]
    if member.flag_bits & 1:
        raise ValueError(f"its part {name!r} is protected by a password")
    if member.compress_type not in METHODS:
        raise ValueError(f"its part {name!r} is compressed in another way than workbooks are")
    if member.file_size > MAX_MEMBER:
        raise ValueError(f"its part {name!r} unfolds to {member.file_size >> 20} MiB, more than {MAX_MEMBER >> 20}")
    if member.file_size > max(FREE, member.compress_size * MAX_RATIO):
        raise ValueError(
            f"its part {name!r} unfolds from {member.compress_size >> 10} KiB to {member.file_size >> 20} MiB"
        )
