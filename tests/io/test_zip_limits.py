"""A workbook of a stranger is refused by its directory, before it is unfolded."""

import io
import re
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest

from lrmil.errors import CohortError
from lrmil.io import workbooks
from lrmil.io.tables import read_records, read_table

ROWS = [["slide_id", "label"], ["a", "yes"], ["b", "no"]]
SHEET = "xl/worksheets/sheet1.xml"
ZEROS = bytes(1 << 20)


def workbook(path: Path) -> Path:
    book = openpyxl.Workbook()
    for row in ROWS:
        book.active.append(row)  # type: ignore[union-attr]
    book.save(path)
    return path


def rebuilt(path: Path, change: Callable[[zipfile.ZipFile, str, bytes], None]) -> Path:
    """Write a workbook again, each part by `change`."""
    with zipfile.ZipFile(workbook(path)) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            change(archive, name, data)
    return path


def with_bomb(path: Path, megabytes: int, name: str = SHEET) -> Path:
    """Write a workbook of which one part unfolds to so many megabytes."""

    def change(archive: zipfile.ZipFile, part: str, data: bytes) -> None:
        if part != name:
            archive.writestr(part, data)
            return
        with archive.open(part, "w", force_zip64=True) as file:
            head, end = data[:-20], data[-20:]
            file.write(head + b"<!--")
            for _ in range(megabytes):
                file.write(ZEROS.replace(b"\0", b" "))
            file.write(b"-->" + end)

    return rebuilt(path, change)


def refuse_to_unfold(monkeypatch: pytest.MonkeyPatch) -> None:
    def unfold(*arguments: object, **options: object) -> None:
        raise AssertionError("it was unfolded")

    monkeypatch.setattr(workbooks.openpyxl, "load_workbook", unfold)
    monkeypatch.setattr(zipfile.ZipFile, "read", unfold)


@pytest.mark.parametrize("name", [SHEET, "xl/workbook.xml", "xl/styles.xml"])
def test_a_part_that_unfolds_to_much_is_refused_before_it_does(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_bomb(tmp_path / "a.xlsx", 300, name)
    assert path.stat().st_size < 1 << 20
    refuse_to_unfold(monkeypatch)
    with pytest.raises(CohortError, match=rf"{re.escape(name)}' expands to 300 MiB"):
        read_table(path)


def test_a_ratio_that_no_sheet_has_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = with_bomb(tmp_path / "a.xlsx", 40)
    refuse_to_unfold(monkeypatch)
    with pytest.raises(CohortError, match=r"expands from \d+ KiB to 40 MiB"):
        read_table(path)


def test_many_parts_that_are_small_each_are_refused_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = workbook(tmp_path / "a.xlsx")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for number in range(30):
            archive.writestr(f"xl/media/{number}.bin", ZEROS * 14)
    refuse_to_unfold(monkeypatch)
    with pytest.raises(CohortError, match="expands to 420 MiB"):
        read_table(path)


def test_a_million_parts_are_too_many(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx")
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(10_001):
            archive.writestr(f"xl/media/{number}", b"")
    with pytest.raises(CohortError, match="parts, more than 10000"):
        read_table(path)


@pytest.mark.parametrize("stated", [0, 100])
def test_a_part_that_lies_about_its_size_is_not_unfolded_beyond_it(tmp_path: Path, stated: int) -> None:
    path = with_bomb(tmp_path / "a.xlsx", 300)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
        start, number = archive.start_dir, archive.namelist().index(SHEET)
    for _ in range(number):  # entries of the directory: APPNOTE.TXT 4.3.12
        start += 46 + sum(struct.unpack_from("<HHH", data, start + 28))
    struct.pack_into("<L", data, start + 24, stated)
    path.write_bytes(bytes(data))
    begin = time.monotonic()
    with pytest.raises(CohortError, match="cannot be read as a table"):
        read_table(path)
    assert time.monotonic() - begin < 30


def test_two_parts_of_one_name_are_refused(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(SHEET, b"<worksheet/>")
    with pytest.raises(CohortError, match="same name"):
        read_table(path)


def test_a_password_is_told(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx")
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        data[archive.start_dir + 8] |= 1  # the flag of the first entry of the directory
    path.write_bytes(bytes(data))
    with pytest.raises(CohortError, match="password"):
        read_table(path)
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    with pytest.raises(CohortError, match=r"password, or it is a legacy \.xls"):
        read_table(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path: Path, method: int) -> None:
    def change(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
        archive.writestr(name, data, method)

    with pytest.raises(CohortError, match="compression"):
        read_table(rebuilt(tmp_path / "a.xlsx", change))


@pytest.mark.parametrize("data", [b"", b"PK", b"PK\x05\x06" + bytes(18), b"slide_id,label\na,yes\n"])
def test_what_is_no_archive_is_one_sentence(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.xlsx").write_bytes(data)
    with pytest.raises(CohortError, match="cannot be read as a table"):
        read_table(tmp_path / "a.xlsx")


@pytest.mark.parametrize("cell", ['<row r="999999999"><c r="A999999999"><v>1</v></c></row>', None])
def test_cells_that_lie_far_off_have_an_end(tmp_path: Path, cell: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbooks, "MAX_CELLS", 100_000)
    rows = cell or "".join(f'<row r="{n}"><c r="XFD{n}"><v>1</v></c></row>' for n in range(4, 40))

    def change(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
        archive.writestr(name, data.replace(b"</sheetData>", rows.encode() + b"</sheetData>"))

    with pytest.raises(CohortError, match="more than 100,000 cells"):
        read_table(rebuilt(tmp_path / "a.xlsx", change))


def test_entities_that_grow_are_no_table(tmp_path: Path) -> None:
    grown = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    head = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "{"x" * 1000}">{grown}]>'.encode()

    def change(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
        swapped = head + data.split(b"?>")[-1].replace(b"yes", b"&a9;") if b"yes" in data else data
        archive.writestr(name, swapped)

    begin = time.monotonic()
    with pytest.raises(CohortError):
        read_table(rebuilt(tmp_path / "a.xlsx", change))
    assert time.monotonic() - begin < 30


def test_a_large_table_of_repeated_words_is_read(tmp_path: Path) -> None:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    sheet.append(ROWS[0])
    for number in range(60_000):
        sheet.append([f"slide-{number}", "yes"])
    book.save(tmp_path / "a.xlsx")
    assert len(read_records(tmp_path / "a.xlsx")) == 60_001
