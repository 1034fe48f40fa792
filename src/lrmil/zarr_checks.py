"""Check a two-dimensional zarr array on disk before zarr allocates it: shape, type, codecs, and size of every chunk."""

import math
import stat
from collections.abc import Collection, Iterator
from itertools import product
from pathlib import Path
from typing import Any

from lrmil.errors import FormatError
from lrmil.untrusted import read_json

BYTES = {"int32": 4, "float32": 4, "float16": 2, "uint8": 1, "bool": 1}
LARGEST_CHUNK = 256 << 20  # bytes
MOST_CHUNKS = 1_000_000
FREE = 256 << 20  # bytes that an array may take whatever its files take
HIGHEST_RATIO = 100  # bytes in memory for a byte on disk above that: embeddings compress to a half, never so far
FRAME = b"\x28\xb5\x2f\xfd"  # Zstandard
LONGEST_FRAME_HEADER = 18


def check_array(folder: Path, *, types: Collection[str]) -> int:
    """Refuse an array that zarr should not open; give the number of chunks that are there.

    Raises
    ------
    FormatError
        If its description is another than lrmil writes, a chunk would grow to another size than it states, leads out of
        the folder or is no file, or if the whole would take far more memory than its files explain.
    OSError
        If it is not there.
    """
    if folder.is_symlink() or (folder / "zarr.json").is_symlink():
        raise FormatError(f"Expected an array in {folder}. Got a link to another place; copy the files themselves.")
    document = read_json(folder / "zarr.json", printable=False)
    try:
        shape, chunk, kind = _description(document, types)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"Expected an array as lrmil writes it in {folder}. Got another: {error!r}.") from error
    expected = math.prod(chunk) * BYTES[kind]
    counts = [math.ceil(length / side) for length, side in zip(shape, chunk, strict=True)]
    if expected > LARGEST_CHUNK or math.prod(counts) > MOST_CHUNKS:
        raise FormatError(f"Expected chunks of a usual size in {folder}. Got {chunk} of {shape}.")
    sizes = list(_chunk_sizes(folder, counts, expected))
    whole = math.prod(shape) * BYTES[kind]
    if whole > max(FREE, sum(sizes) * HIGHEST_RATIO):
        raise FormatError(f"Expected the data of {whole} bytes in {folder}. Got files of {sum(sizes)} bytes.")
    return len(sizes)


def _description(document: Any, types: Collection[str]) -> tuple[list[int], list[int], str]:
    """Shape, shape of a chunk and type; everything else must be as lrmil writes it."""
    shape, kind = document["shape"], document["data_type"]
    grid, keys = document["chunk_grid"], document["chunk_key_encoding"]
    chunk = grid["configuration"]["chunk_shape"]
    codecs = [codec["name"] for codec in document["codecs"]]
    separator = keys.get("configuration", {}).get("separator", "/")
    usual = (document["zarr_format"], document["node_type"], grid["name"], keys["name"], separator)
    if usual != (3, "array", "regular", "default", "/") or document.get("storage_transformers"):
        raise ValueError("it is laid out in another way")
    if codecs != ["bytes", "zstd"] or document["codecs"][0].get("configuration") != {"endian": "little"}:
        raise ValueError(f"its codecs are {codecs}")
    if kind not in types:
        raise ValueError(f"its type is {kind}")
    if not all(type(number) is int and number >= 0 for number in (*shape, *chunk)) or 0 in chunk:
        raise ValueError(f"its shape is {shape} in chunks of {chunk}")
    if len(shape) != 2 or len(chunk) != 2:
        raise ValueError("it is no two-dimensional array")
    return shape, chunk, kind


def _chunk_sizes(folder: Path, counts: list[int], expected: int) -> Iterator[int]:
    """Bytes on disk of each chunk that is there."""
    for row, column in product(*map(range, counts)):
        path = folder / "c" / str(row) / str(column)
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(status.st_mode) or not path.resolve().is_relative_to(folder.resolve()):
            raise FormatError(f"Expected a chunk within {folder}. Got a link, a pipe or a folder at {path.name}.")
        with path.open("rb") as file:
            size = _frame_size(file.read(LONGEST_FRAME_HEADER))
        if size != expected:
            raise FormatError(f"Expected a chunk of {expected} bytes in {path}. Got one of {size}; it is damaged.")
        yield status.st_size


def _frame_size(data: bytes) -> int | None:
    """Bytes that a Zstandard frame says it grows to (RFC 8878, 3.1.1.1); None where it does not say so."""
    if data[:4] != FRAME or len(data) < 6:
        return None
    flags = data[4]
    single, width = flags >> 5 & 1, (0, 2, 4, 8)[flags >> 6]
    width = width or single
    start = 5 + (1 - single) + (0, 1, 2, 4)[flags & 3]
    field = data[start : start + width]
    if not width or len(field) < width:
        return None
    return int.from_bytes(field, "little") + (256 if width == 2 else 0)
