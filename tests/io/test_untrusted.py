"""Files of strangers: whatever they state is checked before it is believed."""

import json
import os
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from lrmil.errors import FormatError
from lrmil.io.untrusted import TensorSpec, parse_json, read_header, read_json, require_plain


def plain(depth: int) -> st.SearchStrategy[object]:
    leaf = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
    return st.recursive(leaf, lambda inner: st.lists(inner) | st.dictionaries(st.just("a"), inner), max_leaves=depth)


@given(plain(20))
def test_plain_documents_are_read_as_they_are(document: object) -> None:
    assert parse_json(json.dumps(document).encode(), Path("a.json")) == document


@given(st.binary(max_size=200) | st.text(alphabet='{}[]":,\\uNaInf0123456789-e\x1b ').map(str.encode))
def test_no_bytes_raise_another_error(data: bytes) -> None:
    try:
        parse_json(data, Path("a.json"))
    except FormatError as error:
        assert "a.json" in str(error)


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e999", '{"a": 1, "a": 2}', '"\\ud800"', '"\\u0007"', "9" * 30])
def test_what_json_readers_disagree_about_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match=r"a\.json.*JSON document"):
        parse_json(text.encode(), Path("a.json"))


def test_nesting_has_an_end() -> None:
    parse_json(b"[" * 30 + b"]" * 30, Path("a.json"))
    for depth in (40, 100_000):
        with pytest.raises(FormatError, match=r"levels deep|too deeply"):
            parse_json(b"[" * depth + b"]" * depth, Path("a.json"))


def test_a_document_is_no_larger_than_asked(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps("x" * 5000))
    assert read_json(tmp_path / "a.json", max_bytes=6000) == "x" * 5000
    with pytest.raises(FormatError, match="at most 4 KiB"):
        read_json(tmp_path / "a.json", max_bytes=4096)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    for read in (read_json, read_header, require_plain):
        with pytest.raises(FormatError, match="plain file"):
            read(tmp_path / "a.json")


def write(path: Path, header: object, size: int = 0) -> Path:
    data = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(data)) + data + bytes(size))
    return path


def test_a_header_tells_types_and_shapes(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2, 3), "b": torch.zeros(0, dtype=torch.int64)}, tmp_path / "a", {"key": "text"})
    assert read_header(tmp_path / "a") == {"a": TensorSpec("F32", (2, 3)), "b": TensorSpec("I64", (0,))}


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [10**15], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, -8]},
        {"dtype": "F32", "shape": [2.0], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [True, 2], "data_offsets": [0, 8]},
        {"dtype": "pickle", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2]},
        {"dtype": "F32", "shape": [1] * 100, "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
        None,
    ],
    ids=str,
)
def test_a_header_that_contradicts_itself_is_refused(tmp_path: Path, entry: object) -> None:
    with pytest.raises(FormatError):
        read_header(write(tmp_path / "a", {"a": entry}, 8))


@given(st.binary(max_size=64))
def test_no_header_raises_another_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "header"
    path.write_bytes(data)
    with pytest.raises(FormatError):
        read_header(path)


@pytest.mark.parametrize("length", [0, 1, 2**63, 2**64 - 1, 10**9])
def test_a_header_of_a_false_length_is_refused(tmp_path: Path, length: int) -> None:
    (tmp_path / "a").write_bytes(struct.pack("<Q", length) + b"{}")
    with pytest.raises(FormatError, match="safetensors header"):
        read_header(tmp_path / "a")
