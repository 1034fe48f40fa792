"""Reading of a labels table: encodings, spreadsheets, rows that are counted as a person sees them."""

import time
from pathlib import Path

import openpyxl
import pytest

from lrmil.cohorts.cohort import validate_cohort
from lrmil.cohorts.labels import TableOptions, read_labels
from lrmil.errors import CohortError
from support.cohort_tables import HEADER, ROWS, check, checked, only, replaced


class TestReading:
    @pytest.mark.parametrize("separator", [",", ";", "\t"])
    @pytest.mark.parametrize("newline", ["\n", "\r\n"])
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
    def test_text_tables(self, folder: Path, separator: str, newline: str, encoding: str) -> None:
        (folder / "Müller.svs").touch()
        lines = [line.replace(",", separator) for line in [HEADER, *ROWS, "Müller,p12,tumour"]]
        table = folder.parent / "labels.csv"
        table.write_bytes((newline.join(lines) + newline).encode(encoding))
        report = validate_cohort(folder, table)
        assert report.problems == ()
        assert "Müller" in checked(report).by_id

    def test_ids_stay_text(self, tmp_path: Path) -> None:
        names = ["001", "1e5", "1.50", "007", "TRUE", "1_000"]
        for name in names:
            (tmp_path / f"{name}.svs").touch()
        rows = [f"{name},00{n},{n % 2}" for n, name in enumerate(names)]
        table = tmp_path / "labels.tsv"
        table.write_text("\n".join([HEADER, *rows]).replace(",", "\t"))
        cohort = checked(validate_cohort(tmp_path, table, folds=3))
        assert sorted(cohort.by_id) == sorted(names)
        assert cohort.by_id["1e5"].case_id == "001" and cohort.by_id["1e5"].label == "1"

    def test_xlsx_keeps_text_and_shows_padded_numbers(self, tmp_path: Path) -> None:
        book = openpyxl.Workbook()
        sheet = book.worksheets[0]
        sheet.append(["slide_id", "case_id", "label"])
        for n in range(8):
            (tmp_path / f"00{n}.svs").touch()
            sheet.append([f"00{n}" if n else 0, n, " yes " if n % 2 else "no"])
        sheet.cell(2, 1).number_format = "000"
        for column, value in enumerate(["ghost", "p9", "no"], start=1):
            sheet.cell(12, column).value = value
        book.save(tmp_path / "labels.xlsx")
        report = validate_cohort(tmp_path, tmp_path / "labels.xlsx", folds=3)
        assert {problem.row for problem in report.problems} == {12}, "blank rows are counted and left out"
        sheet.delete_rows(12)
        book.save(tmp_path / "labels.xlsx")
        cohort = checked(validate_cohort(tmp_path, tmp_path / "labels.xlsx", folds=3))
        assert [slide.slide_id for slide in cohort.slides] == [f"00{n}" for n in range(8)]
        assert cohort.classes == ("no", "yes") and cohort.by_id["003"].case_id == "3"

    def test_spaces_are_trimmed_and_commas_may_be_quoted(self, folder: Path) -> None:
        rows = [row.replace("tumour", ' "tumour, invasive"').replace(",", " , ", 1) for row in ROWS]
        assert checked(check(folder, rows, " slide_id ,case_id, label")).classes == ("normal", "tumour, invasive")

    def test_blank_rows_do_not_shift_the_row_numbers(self, folder: Path) -> None:
        problem = only(check(folder, [*ROWS[:3], "", ",,", *ROWS[3:], "ghost,p,normal"]))
        assert problem.row == 16

    def test_too_many_values_in_a_row(self, folder: Path) -> None:
        problem = only(check(folder, replaced(2, ROWS[2] + ",more")))
        assert (problem.row, problem.severity) == (4, "error") and "quotes" in problem.hint

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("absent.csv", None, "no labels table"),
            ("empty.csv", b"", "empty"),
            ("blank.csv", b"\n , \n", "empty"),
            ("headless.csv", b",,\ns00,p00,normal\n", "first row"),
            ("binary.csv", b"PK\x03\x04\x00\x00", "binary"),
            ("quote.csv", b'slide_id,label\n"s00,normal\n', "cannot be read"),
            ("broken.xlsx", b"not a workbook", "cannot be read"),
            ("old.xls", b"whatever", "Save it as CSV"),
        ],
    )
    def test_what_is_no_table(self, folder: Path, name: str, content: bytes | None, message: str) -> None:
        table = folder.parent / name
        if content is not None:
            table.write_bytes(content)
        with pytest.raises(CohortError, match=message):
            validate_cohort(folder, table)


@pytest.mark.parametrize(
    ("header", "values"),
    [("label,fold", "{odd},{n}"), ("label,site", "{half},here"), ("label,fold", "{half},{half}")],
    ids=["fold", "label", "both"],
)
def test_columns_of_ten_thousands_of_values_take_seconds(folder: Path, header: str, values: str) -> None:
    """Where names stand in place of labels, folds or sites, what is checked for each of them must not look at all."""
    rows = [f"s{n:02},p{n}," + values.format(n=n, odd=n % 2, half=n // 2) for n in range(20_000)]
    start = time.process_time()
    assert not check(folder, rows, f"slide_id,case_id,{header}").ok
    assert time.process_time() - start < 10  # 1 s where nothing else runs


@pytest.mark.parametrize("column", ["label", "split", "fold"])
def test_an_empty_cell_is_not_quoted(column: str, tmp_path: Path) -> None:
    filled = {"slide_id": "b", "label": "yes", column: "train"}
    empty = {**filled, "slide_id": "a", column: ""}
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(",".join(row) for row in (filled, filled.values(), empty.values())) + "\n")
    problems = [problem for problem in read_labels(path, TableOptions()).problems if problem.column == column]
    assert any("got nothing." in problem.message for problem in problems)
    assert not any("''" in problem.message for problem in problems)
