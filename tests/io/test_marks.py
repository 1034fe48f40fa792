"""The marks of a file: read without trust, and never through a link."""

import io
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from lrmil.io.marks import HEAD, csv_header, has_format, hash_from, head_of, holds_only, is_empty_folder, png_texts
from lrmil.io.marks import toml_of as toml_document


def test_a_link_has_no_mark(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"format": "lrmil.run/1"}')
    (tmp_path / "link.json").symlink_to(tmp_path / "a.json")
    assert has_format(tmp_path / "a.json", "lrmil.run/") and not has_format(tmp_path / "link.json", "lrmil.run/")
    assert head_of(tmp_path / "link.json") == b"" and head_of(tmp_path) == b""


@pytest.mark.parametrize("document", ['{"x": 1, "format": "lrmil.run/1"}', '\n {"format" : "lrmil.run/2", "x": [1}'])
def test_a_format_is_found_wherever_it_stands_also_in_a_damaged_document(tmp_path: Path, document: str) -> None:
    (tmp_path / "a.json").write_text(document)
    assert has_format(tmp_path / "a.json", "lrmil.run/") and not has_format(tmp_path / "a.json", "lrmil.bundle/")


def test_texts_of_a_png_are_those_before_its_pixels() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Software", "lrmil 1")
    texts.add_text("Comment", "a: b")
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2)).save(buffer, "png", pnginfo=texts)
    data = buffer.getvalue()
    assert png_texts(data) == [("Software", "lrmil 1"), ("Comment", "a: b")]
    assert png_texts(data[1:]) == []


@given(st.binary(max_size=60))
def test_no_bytes_after_the_start_of_a_png_raise(data: bytes) -> None:
    assert all(len(one) == 2 for one in png_texts(b"\x89PNG\r\n\x1a\n" + data))


def test_a_folder_holds_only_what_is_named_or_left_by_a_desktop(tmp_path: Path) -> None:
    names = re.compile(r"0|0/c|zarr\.json")
    assert is_empty_folder(tmp_path)
    (tmp_path / "0").mkdir()
    for name in ("0/c", "zarr.json", ".DS_Store"):
        (tmp_path / name).write_bytes(b"")
    assert holds_only(tmp_path, names) and not is_empty_folder(tmp_path)
    (tmp_path / "notes.txt").write_bytes(b"")
    assert not holds_only(tmp_path, names)


@given(data=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_raise(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(data)
    assert isinstance(toml_document(path), dict) and isinstance(csv_header(path), list)


def test_a_hash_counts_from_its_start_and_a_head_has_an_end(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * HEAD + b"rest")
    (tmp_path / "b").write_bytes(b"rest")
    assert hash_from(path, HEAD) == hash_from(tmp_path / "b", 0) != hash_from(path, 0)
    assert len(head_of(path)) == HEAD and hash_from(tmp_path / "absent", 0) == ""
