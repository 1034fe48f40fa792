"""Read files that others made: check size, kind and structure before allocating memory or waiting."""

import json
import math
import os
import re
import struct
from pathlib import Path
from typing import Any, NamedTuple

from lrmil.errors import UNPRINTABLE, FormatError
from lrmil.io.plain_files import open_plain, read_bytes, require_plain

__all__ = ["TensorSpec", "file_in", "parse_json", "read_header", "read_json", "require_plain"]

MAX_JSON = 16 << 20  # bytes
MAX_JSON_DEPTH = 32  # nested objects and lists
MAX_HEADER = 16 << 20  # bytes of a safetensors header
MAX_TENSORS = 100_000
LINES = str.maketrans("", "", "\t\n\r")  # control characters that a text may contain
HALF = re.compile(r"[\ud800-\udfff]")  # a surrogate, which UTF-8 cannot encode


class TensorSpec(NamedTuple):
    """Type, such as "F32", and shape of one tensor in a safetensors header."""

    kind: str
    shape: tuple[int, ...]


BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4}
BYTES |= {"F64": 8, "I64": 8, "U64": 8}


def file_in(folder: Path, name: str) -> Path:
    """Return the path of a plain file in a folder, without opening it.

    Parameters
    ----------
    folder
        The folder that must contain the file, also after resolving links.
    name
        Its name relative to `folder`.

    Raises
    ------
    FormatError
        If it is a link that leads out of `folder`, a pipe, a device or a folder.
    OSError
        If it does not exist.
    """
    path = folder / name
    real, inside = (Path(os.path.realpath(one, strict=True)) for one in (path, folder))  # OSError: a circle of links
    if not real.is_relative_to(inside):
        raise FormatError(
            f"{name} in {folder} is a link that leads out of the folder. Replace it by a copy of the file."
        )
    require_plain(path)
    return path


def read_json(path: Path, *, max_bytes: int = MAX_JSON, printable: bool = True) -> object:
    """Read a JSON document strictly: UTF-8, finite numbers, unique keys, at most 32 levels, no control characters.

    Parameters
    ----------
    path, max_bytes
        As for `lrmil.io.plain_files.read_bytes`.
    printable
        Whether to refuse control characters; file names may contain them.

    Raises
    ------
    FormatError
        If it is not such a document, larger than `max_bytes`, or not a plain file.
    OSError
        If it cannot be read.
    """
    return parse_json(read_bytes(path, max_bytes=max_bytes), path, printable=printable)


def parse_json(data: bytes, path: Path, *, printable: bool = True) -> object:
    """Parse the bytes of a JSON document as strictly as `read_json`.

    Parameters
    ----------
    data
        The document.
    path
        Its file, for messages.
    printable
        Whether to refuse control characters.

    Raises
    ------
    FormatError
        If it is not such a document.
    """
    try:
        text = data.decode("utf-8")
        document: object = json.loads(
            text, parse_constant=_reject_constant, parse_float=_finite, object_pairs_hook=_without_doubles
        )
        _require_safe_values(document, 0, UNPRINTABLE if printable else HALF)
    except (ValueError, RecursionError) as error:  # UnicodeError and JSONDecodeError are ValueErrors
        what = "it nests too deeply" if isinstance(error, RecursionError) else str(error)
        raise FormatError(f"{path} is not a valid JSON document: {what}.") from error
    return document


def read_header(path: Path) -> dict[str, TensorSpec]:
    """Read type and shape of every tensor in a safetensors file, without loading any.

    Raises
    ------
    FormatError
        If it is not such a file, or its size is not the one its header states.
    OSError
        If it cannot be read.
    """
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER, size - 8):
            raise FormatError(f"{path} has no safetensors header. Copy the file again.")
        document = parse_json(file.read(length), path)
    if not isinstance(document, dict) or len(document) > MAX_TENSORS:
        raise FormatError(f"The header of {path} does not describe tensors. Copy the file again.")
    entries = {name: value for name, value in document.items() if name != "__metadata__"}
    spans = {name: _tensor_spec(path, name, value) for name, value in entries.items()}
    end = 0
    for begin, stop, _ in sorted(spans.values()):
        if begin != end:
            raise FormatError(f"The tensors in {path} leave a gap, or overlap, at byte {end}. Copy the file again.")
        end = stop
    if 8 + length + end != size:
        raise FormatError(f"Expected {8 + length + end} bytes in {path}. Got {size}. Copy the file again.")
    return {name: spec for name, (_, _, spec) in spans.items()}


def _tensor_spec(path: Path, name: str, value: object) -> tuple[int, int, TensorSpec]:
    """Return begin, end and spec of a tensor, and require that they agree."""
    parts = value if isinstance(value, dict) else {}
    kind: Any = parts.get("dtype")
    shape: Any = parts.get("shape")
    offsets: Any = parts.get("data_offsets")
    whole = isinstance(kind, str) and kind in BYTES and _is_whole(shape) and _is_whole(offsets)
    if not whole or len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) * BYTES[kind]:
        raise FormatError(
            f"Expected type, shape and offsets of the tensor {name[:80]!r} in {path}. Got {str(value)[:200]}."
        )
    return offsets[0], offsets[1], TensorSpec(kind, tuple(shape))


def _is_whole(values: Any) -> bool:
    return isinstance(values, list) and len(values) <= 16 and all(type(one) is int and one >= 0 for one in values)


def _reject_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("an object has a key twice")
    return document


def _require_safe_values(value: object, depth: int, refused: re.Pattern[str]) -> None:
    if depth > MAX_JSON_DEPTH:
        raise ValueError(f"it is more than {MAX_JSON_DEPTH} levels deep")
    if isinstance(value, dict):
        for name, inner in value.items():
            _require_safe_values(name, depth, refused)
            _require_safe_values(inner, depth + 1, refused)
    elif isinstance(value, list):
        for inner in value:
            _require_safe_values(inner, depth + 1, refused)
    elif isinstance(value, str) and refused.search(value.translate(LINES)):
        raise ValueError("it contains control characters")
    elif isinstance(value, int) and abs(value) >= 1 << 63:
        raise ValueError("it contains a number that is too large")
