"""Reviews as lines of JSON, in format lrmil.review/1 or /2: write one, and read those of strangers."""

import json
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import (
    Annotated,
    BinaryIO,
    Literal,
    NotRequired,  # that of Python 3.11 does not suffice for pydantic
)

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from lrmil.errors import FormatError
from lrmil.reviews.entry import (
    MAX_NOTE,
    MAX_TEXT,
    NAMES,
    Decision,
    Event,
    Review,
    find_contradiction,
    is_utc,
    plain_of,
)

FORMAT = "lrmil.review/1"
NEWER = "lrmil.review/2"  # of withdrawals and reviews in regions: earlier versions refuse what they would miscount
VERSIONS = FORMAT.partition("/")[0] + "/"
MAX_LINE = 8 << 20  # bytes; 1,000 classes of 1,000 characters take less
OVERLONG = b"!"  # replaces a line that is too long; it is not a valid entry

Short = Annotated[str, Field(max_length=MAX_TEXT)]


@with_config(ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))
class _Line(TypedDict):
    """A line as pydantic validates it; a missing field makes the line invalid, never takes a default."""

    format: Literal["lrmil.review/1", "lrmil.review/2"]
    event: Event
    slide_id: Short
    slide_fingerprint: Short
    bundle_sha256: Short
    output_label: Short
    output_probabilities: dict[Short, float]
    output_status: Short
    decision: Decision | None
    human_label: Short
    note: Annotated[str, Field(max_length=MAX_NOTE)]
    reviewer: Short
    human_first: bool
    seconds_viewed: Annotated[float, Field(ge=0)] | None
    time: Short
    version: Short
    task: NotRequired[Short]
    withdraws: NotRequired[Short]
    regions: NotRequired[Short]


_LINES = TypeAdapter(_Line)


def line_of(review: Review) -> str:
    """Return the line of an entry, with its end."""
    values = {"format": _format_of(review), **plain_of(review)}
    return json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n"


def lines_in(file: BinaryIO) -> Iterator[tuple[bytes, int, bool]]:
    """Yield each line of an open log, its length in bytes, and whether it is complete.

    A line longer than `MAX_LINE` is replaced by `OVERLONG`.
    """
    while line := file.readline(MAX_LINE):
        length, part = len(line), line
        while not part.endswith(b"\n") and (part := file.readline(MAX_LINE)):
            length += len(part)
        whole = (part or line).endswith(b"\n")
        yield (line if length == len(line) else OVERLONG), length, whole


def read_line(line: bytes, log: Path) -> Review | None:
    """Read an entry; None if the line is not a valid one.

    Parameters
    ----------
    line
        Its bytes.
    log
        The log, for the message.

    Raises
    ------
    FormatError
        If the line has another version of the format.
    """
    try:
        values = _LINES.validate_json(line.removeprefix(BOM_UTF8))  # editors put one before the first line
    except ValidationError:
        _require_known_version(line, log)
        return None
    review = object.__new__(Review)  # skips its checks: `_Line` has done them, and they take longer than reading
    for name in NAMES:
        object.__setattr__(review, name, values.get(name, ""))  # those of LEFT_OUT alone may be left out
    fits = values["format"] == _format_of(review)
    return review if fits and is_utc(review.time) and not find_contradiction(review) else None


def _format_of(review: Review) -> str:
    return NEWER if review.event == "withdraw" or review.regions else FORMAT


def _require_known_version(line: bytes, log: Path) -> None:
    try:
        document = json.loads(line.removeprefix(BOM_UTF8))
    except (ValueError, RecursionError):
        return
    found = document.get("format") if isinstance(document, Mapping) else None
    if isinstance(found, str) and found.startswith(VERSIONS) and found not in (FORMAT, NEWER):
        raise FormatError(f"Expected the format {FORMAT} or {NEWER} in {log}. Got {found!r}. Update lrmil.")
