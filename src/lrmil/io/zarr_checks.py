"""Check a two-dimensional zarr array on disk before zarr allocates memory: shape, type, codecs, size of every chunk."""

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
FREE = 256 << 20  # bytes that an array may always take in memory
MAX_RATIO = 100  # bytes in memory per byte on disk, above `FREE`: embeddings compress to about a half
FRAME = b"\x28\xb5\x2f\xfd"  # Zstandard
MAX_FRAME_HEADER = 18


def require_safe_array(folder: Path, *, types: Collection[str]) -> int:
    """Require that zarr can open an array safely, and return the number of chunks on disk.

    Parameters
    ----------
    folder
        The folder of the array, with its zarr.json.
    types
        Data types that are accepted, among the keys of `BYTES`.

    Raises
    ------
    FormatError
        If lrmil does not write such arrays, a chunk has another size than stated, lies outside the folder or is not a
        plain file, or the array takes far more memory than its files explain.
    OSError
        If it does not exist.
    """
    if folder.is_symlink() or (folder / "zarr.json").is_symlink():
        raise FormatError(f"The array {folder} is a link. Replace it by the files themselves.")
    document = read_json(folder / "zarr.json", printable=False)
    try:
        shape, chunk, kind = _description(document, types)
    except ValueError as error:  # pydantic's ValidationError is one
        reason = " ".join(str(error).split())[:300]
        raise FormatError(f"{folder} is not an array that lrmil wrote: {reason}.") from error
    expected = math.prod(chunk) * BYTES[kind]
    counts = [math.ceil(length / side) for length, side in zip(shape, chunk, strict=True)]
    if expected > MAX_CHUNK or max(*counts, math.prod(counts)) > MAX_CHUNKS:
        raise FormatError(
            f"Expected at most {MAX_CHUNKS:,} chunks of {MAX_CHUNK >> 20} MiB in {folder}. Got {chunk} of {shape}."
        )
    sizes = list(_chunk_sizes(folder, counts, expected))
    whole = math.prod(shape) * BYTES[kind]
    if whole > max(FREE, sum(sizes) * MAX_RATIO):
        raise FormatError(f"Expected files with data for {whole} bytes in {folder}. Got {sum(sizes)} bytes.")
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
    """Description of an array that lrmil writes; zarr opens no other."""

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
    """Return shape, chunk shape and data type; everything else must be as lrmil writes it."""
    if isinstance(document, dict) and isinstance(document.get("codecs"), list):
        document = {**document, "codecs": tuple(document["codecs"])}  # JSON has no tuples
    found = _Description.model_validate(document)
    if found.data_type not in types:
        raise ValueError(f"its data type is {found.data_type[:80]}")
    if found.fill_value == "NaN" and not found.data_type.startswith("float"):
        raise ValueError("its fill value is NaN, and its data type is not a float")
    return found.shape, found.chunk_grid.configuration.chunk_shape, found.data_type


def _chunk_sizes(folder: Path, counts: list[int], expected: int) -> Iterator[int]:
    """Yield the bytes on disk of each existing chunk."""
    for row, column in product(*map(range, counts)):
        path = folder / "c" / str(row) / str(column)
        try:
            status = path.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(status.st_mode) or not path.resolve().is_relative_to(folder.resolve()):
            raise FormatError(f"The chunk {row}/{column} of {folder} is a link, a pipe or a folder, not a plain file.")
        with path.open("rb") as file:
            size = _frame_size(file.read(MAX_FRAME_HEADER))
        if size != expected:
            raise FormatError(f"Expected a chunk of {expected} bytes in {path}. Got {size}. The file is damaged.")
        yield status.st_size


def _frame_size(data: bytes) -> int | None:
    """Return the decompressed size that a Zstandard frame states (RFC 8878, 3.1.1.1); None if it states none."""
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
