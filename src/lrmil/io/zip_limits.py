"""Check the directory of a zip archive before anything in it is decompressed.

1.5 MB can expand to gigabytes. `zipfile` never reads beyond the size that the directory states for a member, and then
finds a wrong checksum.
"""

import zipfile
from typing import BinaryIO

MAX_MEMBERS = 10_000
MAX_MEMBER = 256 << 20  # bytes of one decompressed member: a sheet of about two million cells
MAX_TOTAL = 384 << 20
FREE = 16 << 20  # bytes to which a member of any stored size may expand
MAX_RATIO = 200  # decompressed to stored size, above `FREE`: 10 to 50 for sheets, 1,000 for a zip bomb
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
COMPOUND = b"\xd0\xcf\x11\xe0"  # start of legacy .xls files and of password-protected ones


def require_safe_zip(file: BinaryIO) -> None:
    """Require that a file is a zip archive that expands to a reasonable size; leave it at its start.

    Parameters
    ----------
    file
        Open at its start.

    Raises
    ------
    ValueError
        If it is not; the message is half a sentence about "it".
    """
    start = file.read(len(COMPOUND))
    file.seek(0)
    if start == COMPOUND:
        raise ValueError("it is protected by a password, or it is a legacy .xls file")
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, EOFError) as error:
        raise ValueError(f"it is not a complete workbook: {error}") from error
    finally:
        file.seek(0)
    if len(members) > MAX_MEMBERS:
        raise ValueError(f"it has {len(members)} parts, more than {MAX_MEMBERS}")
    if len({member.filename.casefold() for member in members}) < len(members):
        raise ValueError("two of its parts have the same name")
    for member in members:
        _require_safe_member(member)
    total = sum(member.file_size for member in members)
    if total > MAX_TOTAL:
        raise ValueError(f"it expands to {total >> 20} MiB, more than {MAX_TOTAL >> 20}")


def _require_safe_member(member: zipfile.ZipInfo) -> None:
    name = member.filename[:80]
    if member.flag_bits & 1:
        raise ValueError(f"its part {name!r} is protected by a password")
    if member.compress_type not in METHODS:
        raise ValueError(f"its part {name!r} uses a compression that workbooks do not use")
    if member.file_size > MAX_MEMBER:
        raise ValueError(f"its part {name!r} expands to {member.file_size >> 20} MiB, more than {MAX_MEMBER >> 20}")
    if member.file_size > max(FREE, member.compress_size * MAX_RATIO):
        raise ValueError(
            f"its part {name!r} expands from {member.compress_size >> 10} KiB to {member.file_size >> 20} MiB"
        )
