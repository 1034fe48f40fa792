"""A sealed table is ours as it was written, and nobody's once anything in it changed."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.io.sealed_tables import is_sealed, sealed_text
from lrmil.io.tables import is_readable, read_records, visible_text

MARK, HEADER = "lrmil.test/1", ("slide_id", "label")
ROWS = [["a", "yes"], ["=b", "no, not"]]
cells = st.text(max_size=12) | st.sampled_from(
    ["=1+1", "'=x", "a\r\nb", '"', ",", ";", "\u00a0", "\0", " a", "@", "\u200b"]
)


def write(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_bytes(text.encode())
    return path


@given(st.lists(st.tuples(cells.filter(is_readable), cells.filter(is_readable)), max_size=4))
def test_what_is_written_is_read_and_ours(rows: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), sealed_text(MARK, HEADER, rows))
        assert is_sealed(path, MARK, HEADER)
        assert [tuple(row[:2]) for row in read_records(path)[1:]] == rows


@given(st.text(max_size=20))
def test_what_is_visible_of_a_text_can_be_written(text: str) -> None:
    assert is_readable(visible_text(text)) or "\0" in text


@given(st.data())
def test_any_changed_byte_makes_it_the_users(data: st.DataObject) -> None:
    whole = sealed_text(MARK, HEADER, ROWS).encode()
    place = data.draw(st.integers(0, len(whole) - 1))
    kind = data.draw(st.sampled_from(["cut", "changed", "added"]))
    other = bytes([data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))])
    edited = {
        "cut": whole[:place] + whole[place + 1 :],
        "changed": whole[:place] + other + whole[place + 1 :],
        "added": whole[:place] + other + whole[place:],
    }[kind]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        path.write_bytes(edited)
        same = read_header(edited) == read_header(whole) and edited.partition(b"\n")[2] == whole.partition(b"\n")[2]
        assert is_sealed(path, MARK, HEADER) is same  # such as quotes around the name of a column


def read_header(data: bytes) -> list[str]:
    import csv

    try:
        return next(csv.reader([data.partition(b"\n")[0].decode("utf-8-sig", errors="replace")]), [])
    except csv.Error:  # a carriage return within the line
        return ["no header"]


@pytest.mark.parametrize(
    "content", [b"", b"slide_id,label\na,yes\n", b"x", b"\xff" * 70_000, b"slide_id,label,lrmil.test/1:\n"]
)
def test_a_table_of_a_person_is_not_ours(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    assert not is_sealed(tmp_path / "table.csv", MARK, HEADER)


def test_nor_is_one_with_other_columns_a_link_or_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, sealed_text(MARK, HEADER, ROWS))
    assert not is_sealed(path, "lrmil.other/1", HEADER) and not is_sealed(path, MARK, HEADER[:1])
    (tmp_path / "link.csv").symlink_to(path)
    assert not is_sealed(tmp_path / "link.csv", MARK, HEADER) and not is_sealed(tmp_path / "none.csv", MARK, HEADER)
