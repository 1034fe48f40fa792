"""Check a two-dimensional zarr array on disk before zarr allocates it: shape, type, codecs, and size of every chunk."""

import math
import stat
from collections.abc import Collection, Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from lrmil.errors import FormatError
from lrmil.io.untrusted import read_json

BYTES = {"int32": 4, "float32": 4, "float16": 2, "uint8": 1, "bool": 1}
MAX_CHUNK = 256 << 20  # bytes
MAX_CHUNKS = 1_000_000
FREE = 256 << 20  # bytes that an array may take whatever its files take
MAX_RATIO = 100  # bytes in memory for a byte on disk above that: embeddings compress to a half, never so far
FRAME = b"\x28\xb5\x2f\xfd"  # Zstandard
MAX_FRAME_HEADER = 18


def require_safe_array(folder: Path, *, types: Collection[str]) -> int:
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
    except ValueError as error:  # pydantic's ValidationError is one
        reason = " ".join(str(error).split())[:300]
        raise FormatError(f"Expected an array as lrmil writes it in {folder}. Got another: {reason}.") from error
    expected = math.prod(chunk) * BYTES[kind]
    counts = [math.ceil(length / side) for length, side in zip(shape, chunk, strict=True)]
    if expected > MAX_CHUNK or max(*counts, math.prod(counts)) > MAX_CHUNKS:
        raise FormatError(f"Expected chunks of a usual size in {folder}. Got {chunk} of {shape}.")
    sizes = list(_chunk_sizes(folder, counts, expected))
    whole = math.prod(shape) * BYTES[kind]
    if whole > max(FREE, sum(sizes) * MAX_RATIO):
        raise FormatError(f"Expected the data of {whole} bytes in {folder}. Got files of {sum(sizes)} bytes.")
    return len(sizes)


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Chunks(_Strict):
    chunk_shape: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2)]


class _ChunkGrid(_Strict):
    name: Literal["regular"]
    configuration: _Chunks


class _Separator(_Strict):
    separator: Literal["/"] = "/"


class _ChunkKeys(_Strict):
    name: Literal["default"]
    configuration: _Separator = _Separator()


class _LittleEndian(_Strict):
    endian: Literal["little"]


class _Level(_Strict):
    level: Annotated[int, Field(ge=-100_000, le=22)] = 0
    checksum: bool = False


class _Bytes(_Strict):
    name: Literal["bytes"]
    configuration: _LittleEndian


class _Zstd(_Strict):
    name: Literal["zstd"]
    configuration: _Level = _Level()


class _Description(_Strict):
    """An array as lrmil writes it, so that zarr meets nothing else."""

    zarr_format: Literal[3]
    node_type: Literal["array"]
    shape: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)]
    data_type: str
    chunk_grid: _ChunkGrid
    chunk_key_encoding: _ChunkKeys
    codecs: tuple[_Bytes, _Zstd]
    fill_value: Literal["NaN"] | bool | Annotated[float, Field(ge=0, le=1)]
    attributes: dict[str, object] = {}
    dimension_names: Annotated[list[str | None], Field(min_length=2, max_length=2)] | None = None
    storage_transformers: Annotated[list[object], Field(max_length=0)] = []


def _description(document: object, types: Collection[str]) -> tuple[list[int], list[int], str]:
    """Shape, shape of a chunk and type; everything else must be as lrmil writes it."""
    if isinstance(document, dict) and isinstance(document.get("codecs"), list):
        document = {**document, "codecs": tuple(document["codecs"])}  # what JSON has no word for
    found = _Description.model_validate(document)
    if found.data_type not in types:
        raise ValueError(f"its type is {found.data_type[:80]}")
    if found.fill_value == "NaN" and not found.data_type.startswith("float"):
        raise ValueError("its empty cells are no numbers")
    return found.shape, found.chunk_grid.configuration.chunk_shape, found.data_type


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
            size = _frame_size(file.read(MAX_FRAME_HEADER))
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
