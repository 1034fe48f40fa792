"""Spreadsheets: numbers as they are shown, other sheets, formulas without a value."""

import datetime
import re
import time
import zipfile
from pathlib import Path

import openpyxl
import pytest

from lrmil.cohorts.labels import read_labels
from lrmil.cohorts.mpp_table import read_mpp_table
from lrmil.errors import CohortError
from lrmil.io.tables import read_records
from lrmil.slides.checksums import read_checksums
from support.workbooks import saved

PLAIN = [["slide_id", "label"], ["001", "a"], ["1e5", "b"]]


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
