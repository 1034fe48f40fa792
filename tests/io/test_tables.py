"""Tables as people save them: text stays what it was, whatever the program, and anything else is one sentence."""

import datetime
import re
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lrmil.cohorts.labels import read_labels
from lrmil.cohorts.mpp_table import read_mpp_table
from lrmil.errors import CohortError
from lrmil.io.safe_csv import csv_text
from lrmil.io.tables import read_records
from lrmil.slides.checksums import read_checksums

FUZZ = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
PLAIN = [["slide_id", "label"], ["001", "a"], ["1e5", "b"]]


def written(folder: Path, data: bytes | str, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


class TestText:
    def test_line_ends_of_an_old_mac(self, tmp_path: Path) -> None:
        assert read_records(written(tmp_path, "slide_id,label\r001,a\r1e5,b\r")) == PLAIN

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_the_separator_that_excel_writes_into_the_first_line(self, tmp_path: Path, end: str) -> None:
        assert read_records(written(tmp_path, f"sep=;{end}slide_id;label{end}001;a{end}1e5;b{end}")) == PLAIN
        assert read_records(written(tmp_path, f"sep=|{end}slide_id|label{end}001|a{end}1e5|b")) == PLAIN

    def test_spaces_that_nobody_sees(self, tmp_path: Path) -> None:
        text = "slide_id\u00a0,\ufefflabel\n\u200b001\u00a0, a\u202f\n\t1e5 ,b\u2060\nA\u00a07,b\n"
        assert read_records(written(tmp_path, text)) == [*PLAIN, ["A 7", "b"]]

    def test_the_code_page_of_western_windows(self, tmp_path: Path) -> None:
        text = "slide_id,label\nMüller–1,€\n"
        assert read_records(written(tmp_path, text.encode("cp1252")))[1] == ["Müller–1", "€"]
        undefined = b"slide_id,label\nM\xfcller,\x81\n"  # not in that code page
        assert read_records(written(tmp_path, undefined))[1][0] == "Müller"

    @pytest.mark.parametrize("encoding", ["utf-16-le", "utf-32", "utf-32-be"])
    def test_other_encodings_are_refused(self, tmp_path: Path, encoding: str) -> None:
        with pytest.raises(CohortError, match="binary data"):
            read_records(written(tmp_path, "slide_id,label\n001,a\n".encode(encoding)))

    def test_long_digits_stay_digits(self, tmp_path: Path) -> None:
        digits = "12345678901234567890"
        assert read_records(written(tmp_path, f"slide_id,label\n{digits},a\n"))[1] == [digits, "a"]

    def test_rows_of_other_lengths_are_kept_as_they_are(self, tmp_path: Path) -> None:
        assert read_records(written(tmp_path, "slide_id,label\na\nb,x,y\n")) == [["slide_id", "label"], ["a"], [*"bxy"]]

    def test_an_endless_cell_is_no_table(self, tmp_path: Path) -> None:
        with pytest.raises(CohortError, match="cannot be read as a table"):
            read_records(written(tmp_path, f"slide_id,label\n{'a' * 200_000},b\n"))

    def test_a_folder_is_no_table(self, tmp_path: Path) -> None:
        (tmp_path / "labels.csv").mkdir()
        with pytest.raises(CohortError, match="There is no table"):
            read_records(tmp_path / "labels.csv")

    def test_a_hundred_thousand_rows_take_seconds(self, tmp_path: Path) -> None:
        body = "".join(f"s{n},p{n},{n % 2}\n" for n in range(100_000))
        table = written(tmp_path, "slide_id,case_id,label\n" + body)
        start = time.process_time()
        labels = read_labels(table)
        assert len(labels.rows) == 100_000 and not labels.problems
        assert time.process_time() - start < 20  # 1.5 s where nothing else runs


class TestWorkbook:
    def test_numbers_are_written_as_the_sheet_shows_them(self, tmp_path: Path) -> None:
        book = openpyxl.Workbook()
        sheet = book.worksheets[0]
        values = ["x", 1e20, 12345678901234567890, 123456789012, 1.0, 0.1 + 0.2, True, datetime.date(2024, 1, 5), -7]
        for value in values:
            sheet.append([value])
        book.save(tmp_path / "labels.xlsx")
        shown = [cells[0] for cells in read_records(tmp_path / "labels.xlsx")]
        long = "1.23456789012346E+19"
        assert shown == ["x", "1E+20", long, "123456789012", "1", "0.3", "TRUE", "2024-01-05", "-7"]

    def test_the_size_that_a_file_claims_is_not_believed(self, tmp_path: Path) -> None:
        """A column formatted down to the last row makes a sheet claim a million rows of 16,384 cells."""
        book = openpyxl.Workbook()
        for row in PLAIN:
            book.worksheets[0].append(row)
        book.save(tmp_path / "small.xlsx")
        with zipfile.ZipFile(tmp_path / "small.xlsx") as small, zipfile.ZipFile(tmp_path / "big.xlsx", "w") as big:
            for name in small.namelist():
                text = re.sub(rb'<dimension ref="[^"]*"', b'<dimension ref="A1:XFD1048576"', small.read(name))
                assert name != "xl/worksheets/sheet1.xml" or b"XFD1048576" in text
                big.writestr(name, text)
        start = time.process_time()
        assert read_records(tmp_path / "big.xlsx") == PLAIN
        assert time.process_time() - start < 5

    def test_a_cell_that_only_looks_like_a_formula_is_its_text(self, tmp_path: Path) -> None:
        book = openpyxl.Workbook()
        for row in [["slide_id", "label"], ["+a", "-"], ["'=b", "@c"]]:
            book.worksheets[0].append(row)
        book.save(tmp_path / "labels.xlsx")
        assert read_records(tmp_path / "labels.xlsx")[1:] == [["+a", "-"], ["=b", "@c"]]


class TestQuotes:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ('slide_id,label\n001,a\n"002,b\n003,c\n', "in row 3 a quote opens and never closes"),
            (
                'slide_id,label\n001,a\n"002,b\n"003",c\n',
                "in row 3 a quote opens and the next quote does not",
            ),
            ('slide_id,"label\n001,a\n', "in row 1 a quote opens and never closes"),
            (
                'sep=;\nslide_id;label\n"00\n1";a\n"002;b\n',
                r"in row 3 \(line 5 of the file\) a quote opens",
            ),
            (f'slide_id,label\n"002,b\n{"003,c" * 40_000}', "in row 2 a cell has more than 131,072 characters"),
        ],
    )
    def test_a_quote_that_is_not_closed_is_told_with_its_row(self, tmp_path: Path, text: str, said: str) -> None:
        with pytest.raises(CohortError, match=said):
            read_records(written(tmp_path, text))


def saved(path: Path, sheets: dict[str, list[list[object]]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def with_cells(path: Path, **cells: str) -> Path:
    """Write cells of the first sheet anew, as XML, for what openpyxl does not write."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = parts["xl/worksheets/sheet1.xml"].decode()
    for cell, xml in cells.items():
        sheet, count = re.subn(rf'<c r="{cell}".*?</c>', f'<c r="{cell}" {xml}</c>', sheet)
        assert count == 1
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, sheet if name == "xl/worksheets/sheet1.xml" else data)
    return path


class TestSheets:
    def test_other_sheets_with_rows_are_a_warning(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "x.xlsx", {"train": [*PLAIN], "empty": [], "test": [["slide_id"], ["9"]]})
        labels = read_labels(path)
        assert [row.slide_id for row in labels.rows] == ["001", "1e5"]
        (problem,) = labels.problems
        assert problem.severity == "warning" and "delete the others" in problem.hint
        assert (
            problem.message
            == "The labels table 'x.xlsx' has 2 sheets with rows. Only the first, 'train', is read; 'test' is not."
        )

    def test_one_sheet_with_rows_needs_no_word(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "x.xlsx", {"train": [*PLAIN], "Sheet2": [], "Sheet3": [[None, None]]})
        assert read_labels(path).problems == ()

    def test_missing_columns_name_the_sheet_and_the_others(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "x.xlsx", {"Info": [["made by"], ["us"]], "Labels": [*PLAIN]})
        place = r"made by.* \(its first sheet, 'Info'; the other sheets, 'Labels', are not read\)"
        messages = [problem.message for problem in read_labels(path).problems if problem.severity == "error"]
        assert len(messages) == 2 and all(re.search(place, message) for message in messages)
        with pytest.raises(CohortError, match=place.replace("made by.*", ".*")):
            read_mpp_table(path, ["001"])
        with pytest.raises(CohortError, match=place):
            read_checksums(path)

    def test_an_empty_first_sheet_is_named(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "x.xlsx", {"Info": [], "Labels": [*PLAIN]})
        with pytest.raises(CohortError, match=r"'Info'.*'Labels'.*is empty"):
            read_labels(path)

    def test_a_hidden_sheet_is_not_the_first(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "x.xlsx", {"lists": [["a"], ["b"]], "Labels": [*PLAIN]})
        book = openpyxl.load_workbook(path)
        book["lists"].sheet_state = "hidden"
        book.active = 1
        book.save(path)
        assert read_records(path) == PLAIN
        assert "Only the first, 'Labels', is read; 'lists' is not" in read_labels(path).problems[0].message

    def test_a_workbook_of_charts_alone_is_one_sentence(self, tmp_path: Path) -> None:
        book = openpyxl.Workbook()
        book.remove(book.worksheets[0])
        book.create_chartsheet("chart")
        book.save(tmp_path / "x.xlsx")
        with pytest.raises(CohortError, match="cannot be read as a table"):
            read_records(tmp_path / "x.xlsx")


class TestFormulas:
    def test_one_that_was_never_computed_is_told_with_its_rows(self, tmp_path: Path) -> None:
        rows: list[list[object]] = [["slide_id", "label"], *([f"s{n}", '=IF(1=1,"a","b")'] for n in range(12))]
        with pytest.raises(CohortError) as caught:
            read_labels(saved(tmp_path / "x.xlsx", {"Sheet": rows}))
        message = str(caught.value)
        assert "in rows 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more" in message
        assert "spreadsheet program" in message

    @pytest.mark.parametrize("column", ["fold", "split", "mpp"])
    def test_an_optional_column_of_them_is_not_left_out_silently(self, tmp_path: Path, column: str) -> None:
        rows: list[list[object]] = [["slide_id", "label", column], ["a", "x", "=1"], ["b", "y", "=1"]]
        with pytest.raises(CohortError, match=r"formulas .* in rows 2, 3\."):
            read_labels(saved(tmp_path / "x.xlsx", {"Sheet": rows}))

    def test_a_column_that_is_not_used_may_have_them(self, tmp_path: Path) -> None:
        rows: list[list[object]] = [["slide_id", "label", "note"], ["a", "x", "=1+1"], ["b", "y", None]]
        assert read_labels(saved(tmp_path / "x.xlsx", {"Sheet": rows})).problems == ()

    def test_tables_of_resolutions_and_checksums(self, tmp_path: Path) -> None:
        with pytest.raises(CohortError, match=r"formulas .* in row 2\."):
            read_mpp_table(saved(tmp_path / "x.xlsx", {"S": [["slide_id", "mpp"], ["a", "=1/4"]]}), ["a"])
        with pytest.raises(CohortError, match=r"formulas .* in row 2\."):
            read_checksums(saved(tmp_path / "y.xlsx", {"S": [["file", "md5"], ["=1", "0" * 32]]}))
        with pytest.raises(CohortError, match=r"formulas .* in row 1\."):
            read_labels(saved(tmp_path / "z.xlsx", {"S": [["slide_id", "=A1"], ["a", "x"]]}))

    def test_what_a_spreadsheet_computed_is_its_value_also_where_that_is_empty(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "x.xlsx", {"S": [["slide_id", "label", "site"], ["a", "x", "y"], ["b", "x", "y"]]})
        formula = 't="str"><f>IF(A2="a","p","")</f>'
        with_cells(path, B2=f"{formula}<v>p</v>", C2=f"{formula}<v></v>")
        labels = read_labels(path)
        assert labels.problems == ()
        assert [(row.label, row.site) for row in labels.rows] == [("p", None), ("x", "y")]


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)


@FUZZ
@given(data=st.binary(max_size=300), suffix=st.sampled_from([".csv", ".tsv", ".xlsx"]))
@example(data=b"PK\x05\x06" + b"\x00" * 18, suffix=".xlsx")  # an empty archive
@example(data=b'"', suffix=".csv")
@example(data=b"\xff\xfea", suffix=".csv")
@example(data=b"sep=\n", suffix=".csv")
def test_any_bytes_are_a_table_or_one_sentence(tmp_path: Path, data: bytes, suffix: str) -> None:
    table = written(tmp_path, data, f"labels{suffix}")
    try:
        labels = read_labels(table)
    except CohortError as error:
        assert str(tmp_path) in str(error)
        return
    assert all(row.slide_id for row in labels.rows)


@FUZZ
@given(
    rows=st.lists(st.lists(CELL, min_size=2, max_size=4), max_size=5),
    separator=st.sampled_from([b",", b";", b"\t"]),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_any_text_with_a_header_is_a_table_or_one_sentence(
    tmp_path: Path, rows: list[list[str]], separator: bytes, end: bytes, encoding: str
) -> None:
    lines = ["slide_id,label,case_id,mpp".replace(",", separator.decode())]
    lines += [separator.decode().join(cells) for cells in rows]
    try:
        read_labels(written(tmp_path, end.decode().join(lines).encode(encoding)))
    except CohortError as error:
        assert re.search("save the table again|Save it again", str(error))


@FUZZ
@given(rows=st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=5))
@example(rows=[["=1+1", "'=a", "+cmd|' /C calc'!A0"]])
def test_a_table_that_is_written_comes_back(tmp_path: Path, rows: list[list[str]]) -> None:
    """But for what reading takes away around a cell, and spaces that only look different."""
    invisible = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u200b": "", "\u2060": "", "\ufeff": ""})
    rows = [["slide_id", "label", "note"], *rows]
    stripped = [[cell.translate(invisible).strip() for cell in row] for row in rows]
    assert read_records(written(tmp_path, csv_text(stripped))) == stripped


READERS: dict[str, Callable[[Path], object]] = {
    "labels table": read_labels,
    "um/px table": lambda path: read_mpp_table(path, ["001", "1e5"]),
    "list of checksums": read_checksums,
    "table": read_records,
}


class TestWhichTable:
    """Every message says which of the tables of a command it is about."""

    @pytest.mark.parametrize("what", READERS)
    @pytest.mark.parametrize(
        ("name", "data"),
        [
            ("none.csv", None),
            ("empty.csv", ""),
            ("header.csv", "\n001,a\n"),
            ("quotes.csv", 'slide_id,label\n"001,a\n'),
            ("binary.csv", b"\x00\x01\x02"),
            ("damaged.xlsx", b"PK no workbook"),
        ],
    )
    def test_of_a_file_that_is_no_table(self, what: str, name: str, data: bytes | str | None, tmp_path: Path) -> None:
        path = tmp_path / name if data is None else written(tmp_path, data, name)
        with pytest.raises(CohortError) as caught:
            READERS[what](path)
        assert f"{what} " in str(caught.value) and name in str(caught.value)
        assert str(caught.value).count(name) == 1

    @pytest.mark.parametrize("what", ["labels table", "um/px table", "table"])  # any file may be a list of checksums
    def test_of_a_file_of_another_kind(self, what: str, tmp_path: Path) -> None:
        with pytest.raises(CohortError, match=rf"{what}.*'notes\.docx'"):
            READERS[what](written(tmp_path, "slide_id,label\n", "notes.docx"))

    @pytest.mark.parametrize("what", ["labels table", "um/px table", "list of checksums"])
    def test_of_formulas_without_values(self, what: str, tmp_path: Path) -> None:
        header = ["slide_id", "label", "mpp", "filename", "md5"]
        saved(tmp_path / "x.xlsx", {"one": [list(header), ["001", "=A1", "=A1", "a.svs", "=A1"]]})
        with pytest.raises(CohortError, match=f"The {what} '.*x.xlsx' has formulas"):
            READERS[what](tmp_path / "x.xlsx")


@pytest.mark.parametrize(
    "text",
    [
        "slide_id,power\n001,20\n",
        "slide_id,mpp,um/px\n001,0.5,0.5\n",
        "slide_id,mpp\n001,none such\n",
        "slide_id,mpp\nelsewhere,0.5\n",
    ],
)
def test_what_is_wrong_in_a_table_of_resolutions_names_that_table(text: str, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"in (each row of )?the um/px table '"):
        read_mpp_table(written(tmp_path, text, "mpp.csv"), ["001"])


@pytest.mark.parametrize("text", ["no checksum\n", "\n", "# only a comment\n", "filename,md5\n"])
def test_what_is_wrong_in_a_list_of_checksums_names_that_list(text: str, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="list of checksums '"):
        read_checksums(written(tmp_path, text, "sums.txt" if "," not in text else "sums.csv"))
